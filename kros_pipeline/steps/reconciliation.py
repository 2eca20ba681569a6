"""`reconciliation`: the source, the tables and the bucket, compared; one row a day."""

import logging
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import pyarrow as pa

from ..archive.acknowledgements import acknowledge
from ..archive.object_store import ObjectStore
from ..archive.parquet import Partition, Row, batches_of
from ..archive.tables import Tables
from ..archive.tombstones import Tombstones
from ..core import schemas
from ..core.clock import Clock
from ..core.days import end_of, start_of
from ..core.errors import ApiError, ArchiveError
from ..core.object_keys import audio_prefix, call_key
from ..core.redaction import redact
from ..core.statuses import RecordingStatus, TranscriptStatus
from ..core.verdict import Verdict, decide_verdict
from ..source.call_source import CallSource, Window
from .day_evidence import gather_evidence
from .report import Report

_MAX_NAMED_CALLS = 5


@dataclass(frozen=True)
class ReconciliationResult:
    """The verdict, and the row that was written."""

    report: Report
    verdict: Verdict
    row: Row


class UnknownCalls(ArchiveError):
    """An operator named calls that the day does not have."""


def list_stored_audio(day: date, store: ObjectStore) -> dict[str, int]:
    """Return the day's audio in the bucket: keys with their sizes in bytes."""
    return {entry.key: entry.size_bytes for entry in store.list(audio_prefix(day))}


def reconcile_day(
    day: date,
    stored: Mapping[str, int],
    *,
    store: ObjectStore,
    tables: Tables,
    tombstones: Tombstones,
    clock: Clock,
    lookback_days: int,
    stats_total: int | None,
    hold_problems: list[str],
) -> ReconciliationResult:
    """Compare everything that the archive holds of a day, decide the verdict, and write the row.

    `stored` is the day's audio in the bucket. `stats_total` is upstream's own count; it never moves the verdict.
    `hold_problems` say why flagged recordings are not under legal hold.
    """
    evidence = gather_evidence(
        day, stored, store=store, tables=tables, tombstones=tombstones, clock=clock, lookback_days=lookback_days
    )
    evidence.unheld = hold_problems
    verdict = decide_verdict(evidence)
    recordings, transcripts, listing = evidence.recordings, evidence.transcripts, evidence.listing
    row = {
        "call_date": day,
        "verdict": verdict.verdict,
        "listed_total": listing.listed_total if listing is not None and listing.proved else None,
        "stats_total": stats_total,
        "calls": evidence.calls,
        "erased": evidence.erased,
        "recordings_expected": evidence.calls - recordings[RecordingStatus.NOT_RECORDED],
        "recordings_archived": recordings[RecordingStatus.ARCHIVED],
        "recordings_pending": recordings[RecordingStatus.PENDING],
        "recordings_lost": recordings[RecordingStatus.LOST],
        "recordings_failed": recordings[RecordingStatus.FAILED] + recordings[RecordingStatus.REFUSED],
        "objects_in_bucket": len(stored),
        "bytes_in_bucket": sum(stored.values()),
        "transcripts_expected": evidence.calls - transcripts[TranscriptStatus.NONE],
        "transcripts_kept": transcripts[TranscriptStatus.KEPT],
        "transcripts_pending": transcripts[TranscriptStatus.PENDING],
        "utterances": _count_rows(tables, schemas.UTTERANCES, day),
        "problems": verdict.problems,
        "checked_at": clock.now(),
    }

    def build(present: Partition | None) -> Iterator[pa.RecordBatch]:
        known = next(present.rows(), None) if present else None
        is_newer = known is not None and known["checked_at"] > row["checked_at"]  # a run that checked later knows more
        return batches_of(schemas.RECONCILIATION, [known if known is not None and is_newer else row])

    report = Report(counts={name: value for name, value in row.items() if isinstance(value, int)})
    report.written = tables.commit(schemas.RECONCILIATION, day, build, replaces_unreadable=True)
    return ReconciliationResult(report, verdict, row)


def acknowledge_calls(
    day: date, call_ids: Collection[str], *, store: ObjectStore, tables: Tables, clock: Clock
) -> None:
    """Record that an operator knows that the recordings of these calls are not safe: they fail the day no more.

    Ids are the calls' own, or the keys by which they are shown. Raises `UnknownCalls` for those of no call of the day.
    """
    if not call_ids:
        return
    ids = (row["call_id"] for row in tables.rows(schemas.CALLS, day, ("call_id",)))
    named = {name: call_id for call_id in ids for name in (call_id, call_key(call_id))}
    unknown = set(call_ids) - named.keys()
    if unknown:
        names = ", ".join(sorted(redact(call_id) for call_id in unknown)[:_MAX_NAMED_CALLS])
        raise UnknownCalls(f"acknowledged_call_ids: {len(unknown)} of them are no calls of {day}: {names}")
    for call_id in {named[name] for name in call_ids}:
        acknowledge(store, day, call_id, clock.now())


def read_reconciliation(tables: Tables, day: date) -> Row | None:
    """Return the row of a day; None where it was never reconciled."""
    return next(iter(tables.rows(schemas.RECONCILIATION, day)), None)


def count_upstream(day: date, source: CallSource, log: logging.Logger) -> int | None:
    """Return how many completed calls upstream's statistics count on a day; None where they cannot be read."""
    try:
        # Whether `to_date` is inclusive is not documented: midnight itself belongs to the next day.
        return source.completed_total(Window(start_of(day), end_of(day) - timedelta(seconds=1)))
    except ApiError as error:
        log.info("%s: the statistics could not be read (%s)", day, error)
        return None


def _count_rows(tables: Tables, table: schemas.Table, day: date) -> int:
    with tables.opened(table, day) as partition:
        return partition.row_count if partition else 0
