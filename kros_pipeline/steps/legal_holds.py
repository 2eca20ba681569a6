"""S3 legal holds on the recordings of flagged calls: the archive's own copy is kept from deletion.

A hold is of one version, and so is its marker in `state/held/`: a recording that was hidden or deleted, and is then
fetched anew, is held anew. A hold is lifted by hand, in S3. It is not placed again: the version has its marker. Until
it is lifted, `erase_calls` refuses the call by name.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from datetime import date

from ..archive.audit_log import AuditEvent, AuditLog
from ..archive.capabilities import read_capabilities
from ..archive.governance import Governance
from ..archive.json_objects import create_json, list_names
from ..archive.object_store import ObjectStore
from ..archive.tables import Tables
from ..core import schemas
from ..core.clock import Clock
from ..core.errors import ArchiveDenied, ArchiveError, UnreadablePartition
from ..core.object_keys import audio_key, audio_prefix, call_key, held_key, held_prefix
from ..core.worker_threads import worker_threads

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
    try:
        latest, counts = _list_versions(day, governance) if flagged else ({}, Counter[str]())
    except ArchiveDenied as error:
        return [f"Nothing is held, because the credentials may not list versions (s3:ListBucketVersions): {error}."]
    to_hold = _select(day, flagged, held, latest, counts)
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
            governance.place_legal_hold(key, latest[key])
            governance.tag_as_flagged(key)
        except ArchiveDenied as error:
            return f"The bucket does not allow legal hold or tags: {error}"
        except ArchiveError as error:
            return f"{call_key(call_id)} is not held: {error}."
        audit.record(AuditEvent.HELD, call_id)
        return None

    def mark(call_id: str) -> None:
        version_id = latest[audio_key(day, call_id)]
        create_json(store, held_key(day, call_id, version_id), {"held_at": clock.now().isoformat()})

    with worker_threads(threads, "legal-holds", clock) as pool:
        sentences = dict(zip(to_hold, pool.map(hold, to_hold), strict=True))
        audit.write()  # before the markers: a marked call is not held again, and so gets no further audit line
        list(pool.map(mark, [call_id for call_id, sentence in sentences.items() if sentence is None]))
    return sorted({sentence for sentence in sentences.values() if sentence})[:_MAX_SENTENCES]


def _list_versions(day: date, governance: Governance) -> tuple[dict[str, str], Counter[str]]:
    """Return the latest version of each recording that is there, by its key, and how many versions it has."""
    versions = [version for version in governance.versions(audio_prefix(day)) if not version.is_marker]
    latest = {version.key: version.version_id for version in versions if version.is_latest}
    return latest, Counter(version.key for version in versions)


def _select(
    day: date, flagged: set[str], held: Collection[str], latest: Mapping[str, str], counts: Mapping[str, int]
) -> list[str]:
    """Return the flagged calls whose latest version has no marker.

    Version 0.1.0 wrote a marker for the call: it is that of the version, if there is but one.
    """

    def is_held(call_id: str, key: str) -> bool:
        marker = held_key(day, call_id, latest[key]).removeprefix(held_prefix(day)).removesuffix(".json")
        return marker in held or (counts[key] == 1 and call_key(call_id) in held)

    keys = {call_id: audio_key(day, call_id) for call_id in flagged}
    return sorted(call_id for call_id, key in keys.items() if key in latest and not is_held(call_id, key))
