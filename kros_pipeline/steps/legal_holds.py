"""S3 legal holds on the recordings of flagged calls: the archive's own copy is kept from deletion.

A hold is lifted by hand, in S3. A lifted hold is not placed again, because a marker in `state/held/` says that it was
placed once. Until it is lifted, `erase_calls` refuses the call by name.
"""

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from datetime import date

from ..archive.audit_log import AuditEvent, AuditLog
from ..archive.governance import Governance
from ..archive.json_objects import create_json, list_names
from ..archive.object_store import ObjectStore
from ..archive.tables import Tables
from ..core import schemas
from ..core.clock import Clock
from ..core.errors import ArchiveDenied, ArchiveError, UnreadablePartition
from ..core.object_keys import audio_key, audio_prefix, call_key, held_key, held_prefix

_MAX_SENTENCES = 5


def place_legal_holds(
    day: date,
    *,
    is_wanted: bool,
    store: ObjectStore,
    governance: Governance,
    tables: Tables,
    audit: AuditLog,
    clock: Clock,
    threads: int,
) -> list[str]:
    """Hold and tag each archived recording of a flagged call that no earlier run held.

    `is_wanted` is `KROS_LEGAL_HOLD`: without it nothing is read or done. Returns a sentence for each reason why a
    recording is not held.
    """
    if not is_wanted:
        return []
    held = list_names(store, held_prefix(day))
    try:
        flagged = {row["call_id"] for row in tables.rows(schemas.FLAGGED_CALLS, day, ("call_id",))}
    except UnreadablePartition as error:
        return [f"Nothing is held, because nobody knows what is flagged: {error}."]
    stored = {entry.key for entry in store.list(audio_prefix(day))} if flagged else set()
    to_hold = _select(day, flagged, held, stored)
    if not to_hold:
        return []
    if not governance.has_object_lock():
        return [
            f"KROS_LEGAL_HOLD is on, and the bucket {store.bucket} has no Object Lock: "
            f"{len(to_hold)} flagged recordings are not held."
        ]

    def hold(call_id: str) -> str | None:
        key = audio_key(day, call_id)
        try:
            governance.place_legal_hold(key)
            governance.tag_as_flagged(key)
        except ArchiveDenied as error:
            return f"The bucket does not allow legal hold or tags: {error}"
        except ArchiveError as error:
            return f"{call_key(call_id)} is not held: {error}."
        audit.record(AuditEvent.HELD, call_id)
        return None

    def mark(call_id: str) -> None:
        create_json(store, held_key(day, call_id), {"held_at": clock.now().isoformat()})

    with ThreadPoolExecutor(threads, thread_name_prefix="legal-holds") as pool:
        sentences = dict(zip(to_hold, pool.map(hold, to_hold), strict=True))
        audit.write()  # before the markers: a marked call is not held again, and so gets no further audit line
        list(pool.map(mark, [call_id for call_id, sentence in sentences.items() if sentence is None]))
    return sorted({sentence for sentence in sentences.values() if sentence})[:_MAX_SENTENCES]


def _select(day: date, flagged: set[str], held: Collection[str], stored: Collection[str]) -> list[str]:
    return sorted(call_id for call_id in flagged if call_key(call_id) not in held and audio_key(day, call_id) in stored)
