"""Gathers the evidence of a day: what the source said, what the tables say and what the bucket holds.

Sets are compared in both directions, and both sides are read a batch at a time. Of the tables, only the ids of calls
that are named in the verdict are kept in memory; of the list and the bucket, digests. The objects that no row names are
listed once more, to name them: mostly there are none.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import date, datetime

from ..archive.acknowledgements import acknowledged_call_keys
from ..archive.listings import read_listing
from ..archive.object_store import ObjectStore
from ..archive.parquet import Partition
from ..archive.reviewed_calls import reviews_of_erased_calls
from ..archive.tables import Tables
from ..archive.tombstones import MAX_AGE_SECONDS, Tombstones
from ..core import schemas
from ..core.days import grace_ends_at, grace_is_over, parse_time
from ..core.digest_set import DigestSet
from ..core.errors import UnreadableListing, UnreadablePartition
from ..core.evidence import Evidence
from ..core.listing import Listing
from ..core.object_keys import audio_prefix, call_key, call_key_in
from ..core.object_sizes import ObjectSizes
from ..core.reason_kinds import kind_of_reason
from ..core.sorted_lookup import outer_join
from ..core.statuses import OPEN_EXTENSIONS, UNSAFE_RECORDINGS, RecordingStatus
from .recording_rows import ASKED_TOO_LATE, NOT_TRIED, find_only_answer
from .text_evidence import add_texts

_READ_TABLES = tuple(table for table in schemas.TABLES.values() if table is not schemas.RECONCILIATION)

_Opened = Mapping[str, Partition | None]
"""The readable tables of a day, by name: None where there is no partition."""


def gather_evidence(
    day: date, *, store: ObjectStore, tables: Tables, tombstones: Tombstones, now: datetime, lookback_days: int
) -> Evidence:
    """Read everything that the verdict on a day needs. `now` is the time of the check.

    What cannot be read as what it should be is part of the evidence. Raises `ArchiveError` only where the archive does
    not answer.
    """
    listing, problem = _read_listing(day, store)
    pseudonyms = tombstones.pseudonyms()
    stored = ObjectSizes((entry.key, entry.size_bytes) for entry in store.list(audio_prefix(day)))
    evidence = Evidence(
        listing=listing,
        unreadable_listing=problem,
        grace_ends_at=grace_ends_at(day, lookback_days),
        grace_is_over=grace_is_over(day, now, lookback_days),
        listed_before_late_data=_was_listed_early(day, listing, now, lookback_days),
        erased=len(tombstones.pseudonyms_of(day, max_age_seconds=MAX_AGE_SECONDS)),
        objects=len(stored),
        object_bytes=stored.total_bytes,
    )
    with _open_tables(day, tables, evidence) as opened:
        evidence.table_versions = {name: partition.version for name, partition in opened.items() if partition}
        with _note_unreadable(evidence):
            _add_calls(opened, listing, evidence)
        with _note_unreadable(evidence):
            acknowledged = acknowledged_call_keys(store, day)
            _add_recordings(opened, stored, acknowledged, store.full_key(""), evidence)
            if stored.has_left and schemas.RECORDINGS.name in opened:
                keys = (entry.key for entry in store.list(audio_prefix(day)))
                evidence.objects_unknown = [key for key in keys if stored.is_left(key)]
        for table, without_row, without_call in (
            (schemas.RECORDINGS, evidence.calls_without_recording_row, evidence.recordings_without_call),
            (schemas.TRANSCRIPTS, evidence.calls_without_transcript_row, evidence.transcripts_without_call),
        ):
            with _note_unreadable(evidence):
                _compare_with_calls(opened, table, without_row, without_call)
        with _note_unreadable(evidence):
            add_texts(opened, evidence, now)
        with _note_unreadable(evidence):
            _add_decisions(opened, evidence)
        if evidence.calls:
            evidence.missing_tables += [name for name, partition in opened.items() if partition is None]
        elif "calls" in opened and opened["calls"] is None:
            evidence.missing_tables.append("calls")
    unknown, evidence.objects_unknown = evidence.objects_unknown, []
    moved = tables.moved.keys_of(day)
    for key in unknown:
        named = call_key_in(key) or ""
        if tombstones.matches(named, pseudonyms):
            evidence.objects_of_erased_calls.append(key)
        elif named not in moved:  # otherwise an earlier day has the call, and its recording
            evidence.objects_unknown.append(key)
    evidence.objects_of_erased_calls += reviews_of_erased_calls(store, day, tombstones, pseudonyms)
    return evidence


def _read_listing(day: date, store: ObjectStore) -> tuple[Listing | None, str]:
    """Return the listing of the day; or why it cannot be read."""
    try:
        return read_listing(store, day), ""
    except UnreadableListing as error:
        return None, f"{error}: materialize the whole day."


def _was_listed_early(day: date, listing: Listing | None, now: datetime, lookback_days: int) -> bool:
    """Return whether the grace days are over, and the list was last read before they were."""
    listed_at = parse_time(listing.listed_at) if listing is not None else None
    return (
        listed_at is not None
        and grace_is_over(day, now, lookback_days)
        and not grace_is_over(day, listed_at, lookback_days)
    )


@contextmanager
def _open_tables(day: date, tables: Tables, evidence: Evidence) -> Iterator[_Opened]:
    opened: dict[str, Partition | None] = {}
    with ExitStack() as stack:
        for table in _READ_TABLES:
            with _note_unreadable(evidence):
                opened[table.name] = stack.enter_context(tables.opened(table, day))
        yield opened


@contextmanager
def _note_unreadable(evidence: Evidence) -> Iterator[None]:
    """Add a sentence to the evidence where a table turns out to be unreadable, here or in the middle of its rows."""
    try:
        yield
    except UnreadablePartition as error:
        sentence = f"{error}."
        if sentence not in evidence.unreadable:
            evidence.unreadable.append(sentence)


def _add_calls(opened: _Opened, listing: Listing | None, evidence: Evidence) -> None:
    """Count the calls, and those of the list and of webhook deliveries that the table does not have."""
    if "calls" not in opened:
        return
    calls = opened["calls"]

    def count_ids() -> Iterator[str]:
        for row in calls.rows(("call_id",)) if calls else ():
            evidence.calls += 1
            yield row["call_id"]

    known = DigestSet(count_ids())
    if listing is not None and listing.call_digests is not None:
        evidence.lost_calls = len(DigestSet.unpack(listing.call_digests) - known)
    if listing is not None and listing.witnessed_digests is not None:
        evidence.witnessed_calls = len(DigestSet.unpack(listing.witnessed_digests) - known)


def _add_recordings(
    opened: _Opened, stored: ObjectSizes, acknowledged: Collection[str], prefix: str, evidence: Evidence
) -> None:
    """Compare the table `recordings` with the audio in the bucket, and find the recordings that are not safe."""
    if "recordings" not in opened:
        return
    evidence.unsafe = {str(status): [] for status in UNSAFE_RECORDINGS}
    recordings = opened["recordings"]
    columns = (
        "call_id", "status", "reason", "object_key", "size_bytes", "duration_seconds", "defects", "quarantine_key",
    )  # fmt: skip
    for row in recordings.rows(columns) if recordings else ():
        evidence.recordings[row["status"]] += 1
        if row["reason"] in ASKED_TOO_LATE:
            evidence.asked_too_late.append(row["call_id"])
        if row["status"] == RecordingStatus.ARCHIVED:
            evidence.audio_seconds += row["duration_seconds"] or 0.0
            if row["defects"] is not None:
                evidence.add_defects(row["call_id"], row["defects"])
            key = (row["object_key"] or "").removeprefix(prefix)
            size_bytes = stored.take(key)
            if size_bytes is None:
                evidence.objects_missing.append(key)
            elif size_bytes != row["size_bytes"]:
                evidence.objects_of_other_size.append(key)
        elif row["status"] == RecordingStatus.PENDING:
            _add_pending_recording(row["reason"], evidence)
        elif row["status"] in UNSAFE_RECORDINGS:
            is_acknowledged = call_key(row["call_id"]) in acknowledged
            if row["quarantine_key"] is not None and not is_acknowledged:
                evidence.quarantined.append(row["call_id"])
            if is_acknowledged:
                evidence.acknowledged.append(row["call_id"])
            else:
                evidence.unsafe[row["status"]].append(row["call_id"])
                evidence.unsafe_kinds.setdefault(row["status"], Counter())[kind_of_reason(row["reason"])] += 1


def _add_decisions(opened: _Opened, evidence: Evidence) -> None:
    """Count the flags, and the extensions that upstream refused or of which nobody knows whether it acted."""
    flagged, extensions = opened.get(schemas.FLAGGED_CALLS.name), opened.get(schemas.RETENTION_EXTENSIONS.name)
    evidence.flags = flagged.row_count if flagged is not None else 0
    for row in extensions.rows(("status", "reason", "settled_at")) if extensions is not None else ():
        if row["status"] in OPEN_EXTENSIONS and row["settled_at"] is None:
            evidence.open_extensions.setdefault(row["status"], Counter())[kind_of_reason(row["reason"])] += 1


def _add_pending_recording(reason: str | None, evidence: Evidence) -> None:
    """Count a pending recording by what it waits for: a second answer, late data, or a run that can try it."""
    first = find_only_answer(reason)
    if first is not None:
        evidence.add_answered_once(schemas.RECORDINGS.name, first.at)
    elif evidence.grace_is_over or NOT_TRIED in (reason or ""):
        evidence.pending_by_error += 1


def _compare_with_calls(opened: _Opened, table: schemas.Table, without_row: list[str], without_call: list[str]) -> None:
    """Find the calls without a row in a table, and the rows of that table without a call."""
    if not {"calls", table.name} <= opened.keys():
        return
    ids = [partition.rows(("call_id",)) if partition else () for partition in (opened["calls"], opened[table.name])]
    for call, row in outer_join(*ids):
        if row is None and call is not None:
            without_row.append(call["call_id"])
        elif call is None and row is not None:
            without_call.append(row["call_id"])
