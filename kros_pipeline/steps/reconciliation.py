"""`reconciliation`: the source, the tables and the bucket, compared; one row a day."""

from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ..archive.tables import Partition, batches_of
from ..core import schemas
from ..core.days import end_of, grace_is_over, start_of
from ..core.errors import ApiError, ArchiveError, ObjectExists
from ..core.evidence import Evidence
from ..core.listing import Listing
from ..core.object_keys import acknowledged_key, acknowledged_prefix, audio_prefix, call_key, call_key_in
from ..core.redaction import redact
from ..core.verdict import Verdict, decide_verdict
from ..source.call_parsing import parse_time
from ..source.krosai import Window
from .calls import read_listing
from .legal_holds import place_legal_holds
from .report import Report
from .run_context import RunContext


@dataclass(frozen=True)
class ReconciliationResult:
    """The verdict, and the row that was written."""

    report: Report
    verdict: Verdict
    row: dict[str, Any]


def reconcile_day(ctx: RunContext, day: date, acknowledged_call_ids: Collection[str] = ()) -> ReconciliationResult:
    """Compares everything anew, from the archive alone but for one question about statistics, and writes the row.

    `acknowledged_call_ids` are calls whose recording an operator knows not to be safe: from now on they keep the day
    from nothing, and stay among its problems. Raises `UnknownCalls` for ids that are none of the day's.
    """
    _acknowledge(ctx, day, acknowledged_call_ids)
    stored = {entry.key: entry.size_bytes for entry in ctx.store.list(audio_prefix(day))}
    evidence = _evidence(ctx, day, stored)
    evidence.unheld = place_legal_holds(ctx, day, stored)
    verdict = decide_verdict(evidence)
    utterances = _row_count(ctx, schemas.UTTERANCES, day)
    listing = evidence.listing
    row = {
        "call_date": day,
        "verdict": verdict.verdict.value,
        "listed_total": listing.listed_total if listing is not None and listing.proved else None,
        "stats_total": _stats_total(ctx, day),
        "calls": evidence.calls,
        "erased": evidence.erased,
        "recordings_expected": evidence.calls - evidence.recordings["not_recorded"],
        "recordings_archived": evidence.recordings["archived"],
        "recordings_pending": evidence.recordings["pending"],
        "recordings_lost": evidence.recordings["lost"],
        "recordings_failed": evidence.recordings["failed"] + evidence.recordings["refused"],
        "objects_in_bucket": len(stored),
        "bytes_in_bucket": sum(stored.values()),
        "transcripts_expected": evidence.calls - evidence.transcripts["none"],
        "transcripts_kept": evidence.transcripts["kept"],
        "transcripts_pending": evidence.transcripts["pending"],
        "utterances": utterances,
        "problems": verdict.problems,
        "checked_at": ctx.now(),
    }

    def build(present: Partition | None) -> Iterator[pa.RecordBatch]:
        there = next(present.rows(), None) if present else None
        # A run that looked later knows better.
        newer = there if there is not None and there["checked_at"] > row["checked_at"] else row
        return batches_of(schemas.RECONCILIATION, [newer])

    report = Report(counts={name: value for name, value in row.items() if isinstance(value, int)})
    report.written = ctx.tables.commit(schemas.RECONCILIATION, day, build)
    return ReconciliationResult(report, verdict, row)


class UnknownCalls(ArchiveError):
    """An operator named calls that are not of the day."""


def read_reconciliation(ctx: RunContext, day: date) -> dict[str, Any] | None:
    """The row of a day; None where it was never reconciled."""
    return next(iter(ctx.tables.rows(schemas.RECONCILIATION, day)), None)


def acknowledged_calls(ctx: RunContext, day: date) -> set[str]:
    """The keys of the calls whose loss an operator has acknowledged."""
    prefix = acknowledged_prefix(day)
    return {entry.key.removeprefix(prefix).removesuffix(".json") for entry in ctx.store.list(prefix)}


def _acknowledge(ctx: RunContext, day: date, call_ids: Collection[str]) -> None:
    if not call_ids:
        return
    ids = (row["call_id"] for row in ctx.tables.rows(schemas.CALLS, day, ("call_id",)))
    named = {name: call_id for call_id in ids for name in (call_id, call_key(call_id))}  # an id is shown by its key
    unknown = set(call_ids) - named.keys()
    if unknown:
        names = ", ".join(sorted(redact(call_id) for call_id in unknown)[:5])
        raise UnknownCalls(f"acknowledged_call_ids: {len(unknown)} of them are no calls of {day}: {names}")
    for call_id in {named[name] for name in call_ids}:
        with suppress(ObjectExists):
            content = {"call_id": call_id, "acknowledged_at": ctx.now().isoformat()}
            ctx.store.put_json(acknowledged_key(day, call_id), content, only_if="absent")


def _evidence(ctx: RunContext, day: date, stored: dict[str, int]) -> Evidence:
    """`stored`: the audio that a listing of the bucket shows, key to size."""
    erased = ctx.tombstones.of_day(day)
    calls = {row["call_id"] for row in ctx.tables.rows(schemas.CALLS, day, ("call_id",))}
    recordings = ctx.tables.rows(schemas.RECORDINGS, day, ("call_id", "status", "object_key", "size_bytes"))
    acknowledged = acknowledged_calls(ctx, day)
    unsafe = [row for row in recordings if row["status"] in ("lost", "failed", "refused")]
    known, told = (
        [row for row in unsafe if (call_key(row["call_id"]) in acknowledged) is wanted] for wanted in (True, False)
    )
    prefix = ctx.store.full_key("")
    archived = {
        row["object_key"].removeprefix(prefix): row["size_bytes"] for row in recordings if row["status"] == "archived"
    }
    unknown = sorted(stored.keys() - archived.keys())
    of_erased = [key for key in unknown if ctx.tombstones.names(call_key_in(key) or "", erased)]
    listing = read_listing(ctx, day)
    evidence = Evidence(
        listing=listing,
        listed_before_late_data=_was_listed_early(ctx, day, listing),
        calls=len(calls),
        recordings=Counter(row["status"] for row in recordings),
        transcripts=Counter(),
        calls_without_recording_row=sorted(calls - {row["call_id"] for row in recordings}),
        unsafe={
            status: [row["call_id"] for row in told if row["status"] == status]
            for status in ("lost", "failed", "refused")
        },
        acknowledged=[row["call_id"] for row in known],
        objects_missing=sorted(archived.keys() - stored.keys()),
        objects_of_other_size=[key for key, size in archived.items() if stored.get(key, size) != size],
        objects_unknown=[key for key in unknown if key not in of_erased],
        erased=len(erased),
        objects_of_erased_calls=of_erased,
    )
    _weigh_texts(ctx, day, calls, evidence)
    return evidence


def _was_listed_early(ctx: RunContext, day: date, listing: Listing | None) -> bool:
    """Whether the grace days are over, and the list was last read when they were not."""
    grace = ctx.settings.lookback_days
    listed_at = parse_time(listing.listed_at) if listing is not None else None
    return grace_is_over(day, ctx.now(), grace) and listed_at is not None and not grace_is_over(day, listed_at, grace)


def _weigh_texts(ctx: RunContext, day: date, calls: set[str], evidence: Evidence) -> None:
    """Lengths of texts against lengths of turns, added up a batch at a time: no text is held."""
    missing = set(calls)
    with ctx.tables.opened(schemas.TRANSCRIPTS, day) as transcripts:
        for batch in transcripts.batches(("call_id", "status", "text")) if transcripts else ():
            missing.difference_update(batch.column("call_id").to_pylist())
            evidence.transcripts.update(batch.column("status").to_pylist())
            kept = batch.filter(pc.equal(batch.column("status"), "kept")).column("text")
            lengths = pc.utf8_length(kept)
            evidence.transcript_chars += pc.sum(lengths).as_py() or 0
            evidence.transcripts_with_text += pc.sum(pc.greater(lengths, 0)).as_py() or 0
    evidence.calls_without_transcript_row = sorted(missing)
    with ctx.tables.opened(schemas.UTTERANCES, day) as utterances:
        for batch in utterances.batches(("turn_index", "char_start", "char_end")) if utterances else ():
            spans = pc.subtract(batch.column("char_end"), batch.column("char_start"))
            evidence.utterance_chars += pc.sum(spans).as_py() or 0
            evidence.calls_with_utterances += pc.sum(pc.equal(batch.column("turn_index"), 0)).as_py() or 0


def _row_count(ctx: RunContext, table: schemas.Table, day: date) -> int:
    with ctx.tables.opened(table, day) as partition:
        return partition.row_count if partition else 0


def _stats_total(ctx: RunContext, day: date) -> int | None:
    try:
        # Whether `to_date` is inclusive is not documented: midnight itself is the next day's.
        return ctx.api.completed_total(Window(start_of(day), end_of(day) - timedelta(seconds=1)))
    except ApiError as error:
        ctx.log.info("%s: the statistics could not be read (%s)", day, error)
        return None
