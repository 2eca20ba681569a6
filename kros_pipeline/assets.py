"""The seven assets of a day: read the day, do the step, report. The tables are the steps' to write.

`reconciliation` alone fails a day; the others save what they have, and say in a red check what is missing.
"""

import warnings
from collections.abc import Iterator
from typing import Any

import dagster as dg

from .core import schemas
from .core.verdict import CHECKS, INCOMPLETE
from .failures import RETRIES
from .partitions import day_of
from .reporting import Meter, plain_failures, table_metadata
from .resources import Archive
from .steps.download import archive_recordings
from .steps.enumerate import enumerate_day
from .steps.extend import extend_retention
from .steps.flag import flag_calls
from .steps.reconcile import reconcile_day
from .steps.report import Report
from .steps.transcribe import keep_transcripts, split_utterances

KROSAI_POOL = "krosai"  # limit 1: the assets that ask the API, so that runs share its rate

LIST_CHECK = "the_list_was_read_whole"
RECORDINGS_CHECK = "every_recording_was_tried"
TRANSCRIPTS_CHECK = "every_transcript_was_asked_for"
EXTENSIONS_CHECK = "every_extension_is_confirmed"


def daily_assets(days: dg.DailyPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """The assets, over a partition of days."""

    def asset(table: schemas.Table, checks: dict[str, str], deps: list[str], *, asks_krosai: bool = True) -> Any:
        return dg.asset(
            name=table.name,
            description=table.description,
            partitions_def=days,
            deps=deps,
            group_name="archive",
            kinds={"s3", "parquet"},
            metadata=table_metadata(table),
            pool=KROSAI_POOL if asks_krosai else None,
            retry_policy=RETRIES,
            check_specs=[_check_of_a_day(table, name, text, days) for name, text in checks.items()],
        )

    @asset(schemas.CALLS, {LIST_CHECK: "A pass over the list was proved, and every row of it was understood."}, [])
    def calls(context: dg.AssetExecutionContext, archive: Archive) -> dg.MaterializeResult:
        day, work = day_of(context), archive.open(context)
        meter = Meter(work)
        with plain_failures():
            report, listing = enumerate_day(work, day)
        wrong = [*listing.problems, *sorted(set(listing.unparsed))]
        return _materialized(report, meter, LIST_CHECK, " ".join(wrong), listing.oddities)

    @asset(
        schemas.RECORDINGS,
        {RECORDINGS_CHECK: "Nothing kept the step from trying every recording that was not safe yet."},
        ["calls"],
    )
    def recordings(context: dg.AssetExecutionContext, archive: Archive) -> dg.MaterializeResult:
        day, work = day_of(context), archive.open(context)
        meter = Meter(work)
        with plain_failures():
            report = archive_recordings(work, day)
        return _materialized(report, meter, RECORDINGS_CHECK, str(report.error or ""))

    @asset(
        schemas.TRANSCRIPTS,
        {TRANSCRIPTS_CHECK: "Nothing kept the step from asking for every transcript that it needed."},
        ["calls"],
    )
    def transcripts(context: dg.AssetExecutionContext, archive: Archive) -> dg.MaterializeResult:
        day, work = day_of(context), archive.open(context)
        meter = Meter(work)
        with plain_failures():
            report = keep_transcripts(work, day)
        wrong = str(report.error or "") or (f"{report.problem_count} were not answered" if report.problem_count else "")
        return _materialized(report, meter, TRANSCRIPTS_CHECK, wrong)

    @asset(schemas.UTTERANCES, {}, ["calls", "transcripts"], asks_krosai=False)
    def utterances(context: dg.AssetExecutionContext, archive: Archive) -> dg.MaterializeResult:
        day, work = day_of(context), archive.open(context)
        meter = Meter(work)
        with plain_failures():
            report = split_utterances(work, day)
        return dg.MaterializeResult(metadata=meter.metadata(report))

    @asset(schemas.FLAGGED_CALLS, {}, ["calls", "transcripts", "utterances"], asks_krosai=False)
    def flagged_calls(context: dg.AssetExecutionContext, archive: Archive) -> dg.MaterializeResult:
        day, work = day_of(context), archive.open(context)
        meter = Meter(work)
        with plain_failures():
            report = flag_calls(work, day)
        return dg.MaterializeResult(metadata=meter.metadata(report))

    @asset(
        schemas.RETENTION_EXTENSIONS,
        {EXTENSIONS_CHECK: "Upstream answered every extension, and refused none."},
        ["flagged_calls"],
    )
    def retention_extensions(context: dg.AssetExecutionContext, archive: Archive) -> dg.MaterializeResult:
        day, work = day_of(context), archive.open(context)
        meter = Meter(work)
        with plain_failures():
            report = extend_retention(work, day)
        wrong = str(report.error or "") or "; ".join(reason for _, reason in report.problems)
        return _materialized(report, meter, EXTENSIONS_CHECK, wrong)

    @asset(schemas.RECONCILIATION, CHECKS, ["calls", "recordings", "transcripts", "utterances", "retention_extensions"])
    def reconciliation(context: dg.AssetExecutionContext, archive: Archive) -> Iterator[Any]:
        day, work = day_of(context), archive.open(context)
        meter = Meter(work)
        with plain_failures():
            result = reconcile_day(work, day)
        verdict = result.verdict
        for name in CHECKS:
            sentences = verdict.failures[name]
            yield dg.AssetCheckResult(
                passed=not sentences,
                check_name=name,
                description=" ".join(sentences) or CHECKS[name],
                metadata={"problems": sentences, "verdict": verdict.verdict},
            )
        metadata = meter.metadata(result.report) | {"verdict": verdict.verdict, "problems": verdict.problems}
        if verdict.verdict == INCOMPLETE:
            # No materialization: Dagster then counts the day as failed, and a backfill of "failed and missing" takes it.
            raise dg.Failure(
                description=f"{day} is incomplete. {' '.join(verdict.problems)} "
                "After mending the cause, materialize the whole day, not from the failure.",
                metadata=metadata,
                allow_retries=False,
            )
        yield dg.MaterializeResult(metadata=metadata)

    return [calls, recordings, transcripts, utterances, flagged_calls, retention_extensions, reconciliation]


def _check_of_a_day(
    table: schemas.Table, name: str, description: str, days: dg.DailyPartitionsDefinition
) -> dg.AssetCheckSpec:
    """Without the partitions a good day would turn another day's red check green."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)  # the pin on dagster's minor release is for this
        return dg.AssetCheckSpec(name, asset=table.name, description=description, partitions_def=days)


def _materialized(
    report: Report, meter: Meter, check_name: str, wrong: str, oddities: list[str] | None = None
) -> dg.MaterializeResult:
    metadata = meter.metadata(report)
    if oddities:
        metadata["oddities"] = oddities
    return dg.MaterializeResult(
        metadata=metadata,
        check_results=[dg.AssetCheckResult(passed=not wrong, check_name=check_name, description=wrong or None)],
    )
