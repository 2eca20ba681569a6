"""`reconciliation`: the source, the tables and the bucket, compared; one row a day."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import pyarrow as pa

from ..archive.acknowledgements import acknowledge
from ..archive.object_store import ObjectStore
from ..archive.parquet import Partition, Row, batches_of
from ..archive.table_versions import CheckedTables, record_table_versions
from ..archive.tables import Tables
from ..archive.tombstones import Tombstones
from ..core import schemas
from ..core.call_counters import CallCounter, CountedDay
from ..core.clock import Clock
from ..core.day_summary import CheckSummary, describe_next_step, summarize_checks
from ..core.errors import ArchiveError, UnknownCalls, UnreadablePartition
from ..core.evidence import Evidence
from ..core.next_look import plan_next_look
from ..core.object_keys import call_key
from ..core.redaction import redact
from ..core.statuses import UNSAFE_RECORDINGS, DayVerdict, RecordingStatus, TranscriptStatus
from ..core.verdict import Verdict, decide_verdict
from .day_evidence import gather_evidence
from .independent_counters import compare_counters
from .report import Report

_MAX_NAMED_CALLS = 5


@dataclass(frozen=True)
class ReconciliationResult:
    """The verdict, the row that was written, and what is recorded of the tables that were compared.

    `summaries` say what each check found where nothing is wrong; `next_step` is what happens next.
    """

    report: Report
    verdict: Verdict
    row: Row
    checked: CheckedTables
    summaries: Mapping[str, CheckSummary]
    next_step: str


class NotYetFailed(ArchiveError):
    """An operator acknowledged calls whose recording is not lost, failed or refused."""


def reconcile_day(
    day: date,
    *,
    store: ObjectStore,
    tables: Tables,
    tombstones: Tombstones,
    clock: Clock,
    lookback_days: int,
    retention_days: int | None,
    counters: Sequence[CallCounter],
    hold_problems: list[str],
    api_requests: int | None,
    blocked_by: str = "",
) -> ReconciliationResult:
    """Compare everything that the archive holds of a day, decide the verdict, and write the row.

    `counters` are upstream's own; they never move the verdict. `hold_problems` say why flagged recordings are
    not under legal hold. `api_requests` counts the requests of the run so far. `blocked_by` is the error that a step
    met and only a person can mend: the day is incomplete then.

    The day's present row is read first, then the time is taken, then the evidence is gathered. The row is written only
    if nobody replaced the present one meanwhile; otherwise all of it is done again. So the newer evidence decides,
    whatever the clocks of two runs say. The versions of the tables are recorded last: where a run is killed before
    that, the day is owed.
    """
    results: list[ReconciliationResult] = []  # one for each attempt: the last one was written

    def build(_: Partition | None) -> Iterator[pa.RecordBatch]:
        checked_at = clock.now()
        evidence = gather_evidence(
            day, store=store, tables=tables, tombstones=tombstones, now=checked_at, lookback_days=lookback_days
        )
        evidence.unheld, evidence.blocked_by = hold_problems, blocked_by
        calls = evidence.calls + evidence.erased
        evidence.counter_differences = compare_counters(day, counters, evidence.listing, calls=calls, store=store)
        verdict = decide_verdict(evidence)
        row = _make_row(day, evidence, verdict) | {
            "stats_total": next((counter.value for counter in counters if counter.name.startswith("stats.")), None),
            "checked_at": checked_at,
            "api_requests": api_requests,
        }
        next_look = plan_next_look(
            day,
            evidence,
            verdict.verdict,
            now=checked_at,
            lookback_days=lookback_days,
            retention_days=retention_days,
        )
        is_settled = verdict.verdict == DayVerdict.COMPLETE and evidence.grace_is_over
        counted = CountedDay(calls, {counter.name: counter.value for counter in counters}, is_settled)
        checked = CheckedTables(evidence.table_versions, next_look, counted)
        results.append(
            ReconciliationResult(
                Report(counts=_counts_of(row)),
                verdict,
                row,
                checked,
                summarize_checks(evidence, counters, next_look),
                describe_next_step(
                    day,
                    verdict.verdict,
                    evidence,
                    next_look,
                    retention_days=retention_days,
                    today=checked_at.date(),
                ),
            )
        )
        return batches_of(schemas.RECONCILIATION, [row])

    with tables.transaction(schemas.RECONCILIATION, day, replaces_unreadable=True) as own:
        written = own.commit(build)
        own_version = own.present.version if own.present is not None else ""
    result = results[-1]
    result.report.written = written
    checked = result.checked
    versions = {**checked.versions, schemas.RECONCILIATION.name: own_version}
    record_table_versions(store, day, versions, checked.next_look, checked.counted)
    return result


def _make_row(day: date, evidence: Evidence, verdict: Verdict) -> Row:
    recordings, transcripts, listing = evidence.recordings, evidence.transcripts, evidence.listing
    # Rows without a call count, too: less is not expected because the table `calls` has lost rows.
    calls_recorded = max(evidence.calls, recordings.total() + len(evidence.calls_without_recording_row))
    calls_transcribed = max(evidence.calls, transcripts.total() + len(evidence.calls_without_transcript_row))
    return {
        "call_date": day,
        "verdict": verdict.verdict,
        "listed_total": listing.listed_total if listing is not None and listing.proved else None,
        "calls": evidence.calls,
        "erased": evidence.erased,
        "recordings_expected": calls_recorded - recordings[RecordingStatus.NOT_RECORDED],
        "recordings_archived": recordings[RecordingStatus.ARCHIVED],
        "recordings_pending": recordings[RecordingStatus.PENDING],
        "recordings_lost": recordings[RecordingStatus.LOST],
        "recordings_failed": recordings[RecordingStatus.FAILED] + recordings[RecordingStatus.REFUSED],
        "objects_in_bucket": evidence.objects,
        "bytes_in_bucket": evidence.object_bytes,
        "transcripts_expected": calls_transcribed - transcripts[TranscriptStatus.NONE],
        "transcripts_kept": transcripts[TranscriptStatus.KEPT],
        "transcripts_pending": transcripts[TranscriptStatus.PENDING],
        "utterances": evidence.utterances,
        "problems": verdict.problems,
        "audio_seconds": evidence.audio_seconds,
    }


def _counts_of(row: Row) -> dict[str, int]:
    names = [name for name in schemas.RECONCILIATION.column_names if name != "api_requests"]  # reported for every step
    return {name: row[name] for name in names if isinstance(row[name], int)}


def acknowledge_calls(
    day: date, call_ids: Collection[str], *, store: ObjectStore, tables: Tables, clock: Clock
) -> None:
    """Record that an operator knows that the recordings of these calls are not safe: they fail the day no more.

    Ids are the calls' own, or the keys by which they are shown. Raises `UnknownCalls` for those of no call of the day,
    and `NotYetFailed` for those whose recording is not lost, failed or refused now: what is acknowledged before it
    fails would be hidden when it does. Nothing is recorded then.
    """
    if not call_ids:
        return
    ids = (row["call_id"] for row in tables.rows(schemas.CALLS, day, ("call_id",)))
    named = {name: call_id for call_id in ids for name in (call_id, call_key(call_id))}
    unknown = set(call_ids) - named.keys()
    if unknown:
        names = ", ".join(sorted(redact(call_id) for call_id in unknown)[:_MAX_NAMED_CALLS])
        raise UnknownCalls(f"acknowledged_call_ids: {len(unknown)} of them are no calls of {day}: {names}")
    chosen = {named[name] for name in call_ids}
    rows = tables.rows(schemas.RECORDINGS, day, ("call_id", "status"))
    not_failed = chosen - {row["call_id"] for row in rows if row["status"] in UNSAFE_RECORDINGS}
    if not_failed:
        names = ", ".join(sorted(map(call_key, not_failed))[:_MAX_NAMED_CALLS])
        raise NotYetFailed(
            f"acknowledged_call_ids: the recordings of {len(not_failed)} of them are not lost, failed or refused now: "
            f"{names}. There is nothing to acknowledge: take them out of the run config, and launch it again"
        )
    for call_id in chosen:
        acknowledge(store, day, call_id, clock.now())


def read_reconciliation(tables: Tables, day: date) -> Row | None:
    """Return the row of a day; None where it was never reconciled. Raises `UnreadablePartition`."""
    return next(iter(tables.rows(schemas.RECONCILIATION, day)), None)


def has_reconciliation(tables: Tables, day: date) -> bool:
    """Return whether a day has a row, readable or not."""
    try:
        return read_reconciliation(tables, day) is not None
    except UnreadablePartition:
        return True
