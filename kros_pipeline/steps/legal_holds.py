"""S3 legal holds on the recordings of flagged calls: the archive's own copy is kept from deletion.

A hold is of one version, and so is its marker in `state/held/`: a recording that was hidden or deleted, and is then
fetched anew, is held anew. A hold is lifted by hand, in S3. It is not placed again: the version has its marker. Until
it is lifted, `erase_calls` refuses the call by name.
"""

from collections import Counter
from datetime import date
from itertools import islice

from ..archive.audit_log import AuditEvent, AuditLog
from ..archive.capabilities import read_capabilities
from ..archive.governance import Governance
from ..archive.json_objects import create_json
from ..archive.object_store import ObjectStore
from ..archive.parquet import Partition
from ..archive.tables import Tables
from ..core import schemas
from ..core.clock import Clock
from ..core.digest_set import DigestSet
from ..core.errors import ArchiveDenied, ArchiveError, UnreadablePartition
from ..core.object_keys import (
    audio_key,
    audio_prefix,
    call_key,
    call_key_in,
    held_key,
    held_key_of,
    held_prefix,
)
from ..core.worker_threads import worker_threads

_MAX_SENTENCES = 5
_CALLS_AT_ONCE = 1_000


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
    held = DigestSet(entry.key for entry in store.list(held_prefix(day)))
    try:
        with tables.opened(schemas.FLAGGED_CALLS, day) as table:
            try:
                to_hold = _find_to_hold(day, table, held, governance) if table is not None and table.row_count else {}
            except ArchiveDenied as error:
                reason = f"the credentials may not list versions (s3:ListBucketVersions): {error}"
                return [f"Nothing is held, because {reason}."]
    except UnreadablePartition as error:
        return [f"Nothing is held, because nobody knows what is flagged: {error}."]
    if not to_hold:
        return []
    if not governance.has_object_lock():
        return [
            f"KROS_LEGAL_HOLD is on, and the bucket {store.bucket} has no Object Lock: "
            f"{len(to_hold)} flagged recordings are not held."
        ]
    found = read_capabilities(store)
    if found is not None and found.erasure is not None and found.erasure.holds is False:
        return [
            f"KROS_LEGAL_HOLD is on, and the S3 server at {found.endpoint} deletes what is under legal hold "
            f"(probed on {found.erasure.probed_at.date()}): {len(to_hold)} flagged recordings are not held."
        ]

    def hold(call_id: str) -> str | None:
        key = audio_key(day, call_id)
        try:
            governance.place_legal_hold(key, to_hold[call_id])
            governance.tag_as_flagged(key)
        except ArchiveDenied as error:
            return f"The bucket does not allow legal hold or tags: {error}"
        except ArchiveError as error:
            return f"{call_key(call_id)} is not held: {error}."
        audit.record(AuditEvent.HELD, call_id)
        return None

    def mark(call_id: str) -> None:
        create_json(store, held_key(day, call_id, to_hold[call_id]), {"held_at": clock.now().isoformat()})

    sentences: list[str] = []
    left = iter(to_hold)
    with worker_threads(threads, "legal-holds", clock) as pool:
        while some := list(islice(left, _CALLS_AT_ONCE)):
            outcomes = dict(zip(some, pool.map(hold, some), strict=True))
            audit.write()  # before the markers: a marked call is not held again, and so gets no further audit line
            list(pool.map(mark, [call_id for call_id, sentence in outcomes.items() if sentence is None]))
            refusals = {sentence for sentence in outcomes.values() if sentence}
            sentences = sorted(refusals.union(sentences))[:_MAX_SENTENCES]
    return sentences


def _find_to_hold(day: date, table: Partition, held: DigestSet, governance: Governance) -> dict[str, str]:
    """Return the flagged calls whose latest version has no marker in `held`, with that version; sorted by call.

    Version 0.1.0 wrote a marker for the call: it is that of the version, if there is but one.
    """
    flagged = DigestSet(audio_key(day, row["call_id"]) for row in table.rows(("call_id",)))
    unheld: dict[str, str] = {}
    counts: Counter[str] = Counter()  # of the versions, where the call has a marker
    for version in governance.versions(audio_prefix(day)):
        if version.is_marker or version.key not in flagged:
            continue
        key = call_key_in(version.key) or ""
        if f"{held_prefix(day)}{key}.json" in held:
            counts[version.key] += 1
        if version.is_latest and held_key_of(day, key, version.version_id) not in held:
            unheld[version.key] = version.version_id
    keys = ((row["call_id"], audio_key(day, row["call_id"])) for row in table.rows(("call_id",)))
    return {call_id: unheld[key] for call_id, key in keys if key in unheld and counts[key] != 1}
