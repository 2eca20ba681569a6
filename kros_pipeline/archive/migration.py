"""Migrates an archive that version 0.1.0 wrote (format 1) to format 2, in which every decision has a claim.

The migration is complete before a step or an erasure of this version begins. So no reader has to look in two places: a
decision without a claim was never begun. The order of writes makes it safe to kill at any point, and to run twice at
once:

1. Raise `format` in `state/archive.json`, under a condition: version 0.1.0 refuses the archive from then on.
2. Create the claims, each for the earliest day whose journal has a request that may have reached upstream. All keys of
   format 1 stay.
3. Say that the migration is done.
"""

import json
from collections.abc import Sequence

from ..core.object_keys import DECISIONS, EXTENSIONS, day_in
from ..core.statuses import NOT_SENT
from ..core.worker_threads import worker_threads
from .decision_claims import claim_decision
from .identity import (
    FORMAT,
    FORMAT_OF_VERSION_0_1_0,
    MIGRATION_DONE,
    MIGRATION_UNDER_WAY,
    ArchiveIdentity,
    update_identity,
)
from .json_objects import Content
from .object_store import ObjectStore

_THREADS = 16
_INTENT, _OUTCOME = "-intent.json", "-outcome.json"


def migrate_archive(store: ObjectStore, identity: ArchiveIdentity) -> None:
    """Migrate the archive, unless the identity, as it was read, says that it is migrated. Nothing is deleted."""
    if identity.is_migrated:
        return
    update_identity(store, _begin)
    _claim_decisions(store)
    update_identity(store, _end)
    identity.check()


def _begin(stored: Content) -> Content:
    if stored["format"] != FORMAT_OF_VERSION_0_1_0:
        return stored  # another run has begun, or has even ended
    return stored | {"format": FORMAT, "migration": MIGRATION_UNDER_WAY}


def _end(stored: Content) -> Content:
    return stored | {"migration": MIGRATION_DONE} if stored["format"] == FORMAT else stored


def _claim_decisions(store: ObjectStore) -> None:
    claimed = {entry.key.rsplit("/", 1)[1].removesuffix(".json") for entry in store.list(DECISIONS)}
    intents: dict[str, list[str]] = {}
    for entry in store.list(EXTENSIONS):  # in ascending order: by day, then by attempt
        parts = entry.key.split("/")
        if len(parts) == len(("state", "extensions", "day", "decision", "object")) and parts[4].endswith(_INTENT):
            intents.setdefault(parts[3], []).append(entry.key)

    def claim(decision_id: str) -> None:
        key = _first_that_was_sent(store, intents[decision_id])
        day, intent = day_in(key), store.read(key)
        if day is not None and intent is not None:  # else somebody else's object, or erased meanwhile
            claim_decision(store, decision_id, call_id=_field_of(intent, "call_id"), day=day)

    with worker_threads(_THREADS, "migration") as pool:
        list(pool.map(claim, sorted(intents.keys() - claimed)))


def _first_that_was_sent(store: ObjectStore, intents: Sequence[str]) -> str:
    """Return the key of the first intent of a decision whose request may have reached upstream, else the first of all.

    Version 0.1.0 sent a decision from each day that had its call. A claim of a day whose requests were surely not sent
    would hide what another day has sent, and it would be sent again.
    """
    if len({day_in(key) for key in intents}) == 1:
        return intents[0]
    for key in intents:
        outcome = store.read(key.removesuffix(_INTENT) + _OUTCOME)
        if outcome is None or _field_of(outcome, "status") != NOT_SENT:
            return key
    return intents[0]


def _field_of(body: bytes, name: str) -> str:
    """Return a field of an object; an empty text where it cannot be read, which must not stop the other decisions."""
    try:
        return str(json.loads(body)[name])
    except (ValueError, KeyError, TypeError):
        return ""
