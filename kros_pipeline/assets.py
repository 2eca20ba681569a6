"""The seven assets of a day: each does its step and reports. What is written, and when, is the steps' to know.

`reconciliation` alone fails a day; the others save what they have, and say in a red check what is missing.
Steps are imported where they run: Dagster loads the definitions again and again, and their libraries take a second.
"""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg
from pydantic import Field

from .core import schemas
from .core.statuses import DayVerdict
from .failures import RETRIES
from .reconciliation_checks import DESCRIPTIONS, check_results
from .reporting import sample_table, step_run, table_metadata
from .resources import Archive

KROSAI_POOL = "krosai"  # limit 1: the assets that ask the API, so that runs share its rate

LIST_CHECK = "the_list_was_read_whole"
RECORDINGS_CHECK = "every_recording_was_tried"
TRANSCRIPTS_CHECK = "every_transcript_was_asked_for"
EXTENSIONS_CHECK = "every_extension_is_confirmed"


class ReconciliationConfig(dg.Config):
    """What an operator may say of a day when launching it."""

    acknowledged_call_ids: list[str] = Field(
        default=[],
        description="Calls whose recording is known not to be safe, and not to come: they fail the day no more.",
    )


class ExtensionsConfig(dg.Config):
    """What an operator may say of a day's extensions when launching `retention_extensions`."""

    dry_run: bool = Field(
        default=False,
        description="Sends nothing and writes nothing: the metadata show what would be sent.",
    )
    resend: list[str] = Field(
        default=[],
        description="Ids of unconfirmed or refused decisions, or of their calls: each is sent once more, by this run.",
    )
    settle: list[str] = Field(
        default=[],
        description="Ids of unconfirmed or refused decisions, or of their calls, that need nothing any more. What was "
        "unconfirmed is recorded as extended, by your word.",
    )


def daily_assets(days: dg.DailyPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """The assets, over a partition of days."""

    def asset(
        table: schemas.Table, deps: list[str], checks: dict[str, str], *, asks_krosai: bool = True
    ) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
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

    @asset(schemas.CALLS, [], {LIST_CHECK: "A pass over the list was proved, and every row of it was understood."})
    def calls(context: dg.AssetExecutionContext, archive: Archive) -> dg.MaterializeResult:
        from .steps.calls import list_calls

        with step_run(context, archive) as at:
            report, listing = list_calls(at.ctx, at.day)
        wrong = " ".join([*listing.problems, *sorted(set(listing.unparsed))])
        return at.materialized(report, LIST_CHECK, wrong, {"oddities": listing.oddities} if listing.oddities else None)

    @asset(
        schemas.RECORDINGS,
        ["calls"],
        {RECORDINGS_CHECK: "Nothing kept the step from trying every recording that was not safe yet."},
    )
    def recordings(context: dg.AssetExecutionContext, archive: Archive) -> dg.MaterializeResult:
        from .steps.recordings import archive_recordings

        with step_run(context, archive) as at:
            report = archive_recordings(at.ctx, at.day)
        return at.materialized(report, RECORDINGS_CHECK, str(report.error or ""))

    @asset(
        schemas.TRANSCRIPTS,
        ["calls"],
        {TRANSCRIPTS_CHECK: "Upstream answered for every transcript that had to be asked for."},
    )
    def transcripts(context: dg.AssetExecutionContext, archive: Archive) -> dg.MaterializeResult:
        from .steps.transcripts import fetch_transcripts

        with step_run(context, archive) as at:
            report = fetch_transcripts(at.ctx, at.day)
        unanswered = f"{report.problem_count} calls were not answered for." if report.problem_count else ""
        return at.materialized(report, TRANSCRIPTS_CHECK, str(report.error or unanswered))

    @asset(schemas.UTTERANCES, ["transcripts"], {}, asks_krosai=False)
    def utterances(context: dg.AssetExecutionContext, archive: Archive) -> dg.MaterializeResult:
        from .steps.transcripts import split_utterances

        with step_run(context, archive) as at:
            report = split_utterances(at.ctx, at.day)
        return dg.MaterializeResult(metadata=at.metadata(report))

    @asset(schemas.FLAGGED_CALLS, ["utterances"], {}, asks_krosai=False)
    def flagged_calls(context: dg.AssetExecutionContext, archive: Archive) -> dg.MaterializeResult:
        from .steps.flagged_calls import flag_calls

        with step_run(context, archive) as at:
            report = flag_calls(at.ctx, at.day)
        return dg.MaterializeResult(metadata=at.metadata(report))

    @asset(
        schemas.RETENTION_EXTENSIONS,
        ["flagged_calls"],
        {EXTENSIONS_CHECK: "Upstream answered every extension that was sent, and refused none."},
    )
    def retention_extensions(
        context: dg.AssetExecutionContext, config: ExtensionsConfig, archive: Archive
    ) -> dg.MaterializeResult:
        from .steps.retention_extensions import extend_retention

        with step_run(context, archive) as at:
            report = extend_retention(
                at.ctx,
                at.day,
                dry_run=config.dry_run,
                resend=config.resend,
                settle=config.settle,
                run_id=context.run.root_run_id or context.run.run_id,  # a run that Dagster repeats is the same order
            )
        sample = {"would be sent": sample_table(report.would_send)} if report.would_send else None
        return at.materialized(report, EXTENSIONS_CHECK, " ".join(report.to_do), sample)

    @asset(schemas.RECONCILIATION, ["recordings", "retention_extensions"], DESCRIPTIONS)
    def reconciliation(
        context: dg.AssetExecutionContext, config: ReconciliationConfig, archive: Archive
    ) -> Iterator[Any]:
        from .steps.reconciliation import reconcile_day

        with step_run(context, archive) as at:
            result = reconcile_day(at.ctx, at.day, config.acknowledged_call_ids)
        verdict = result.verdict
        results = check_results(verdict)
        problems = "\n".join(verdict.problems) or "none"
        metadata = {"verdict": verdict.verdict.value, "problems": problems} | at.metadata(result.report)
        if verdict.verdict is DayVerdict.INCOMPLETE:
            yield from results
            # Not materialized: Dagster counts the day as failed then, and a backfill of "failed and missing" takes it.
            raise dg.Failure(
                description=f"{at.day} is incomplete. {' '.join(verdict.problems)} "
                "After mending the cause, materialize the whole day, not from the failure.",
                metadata=metadata,
                allow_retries=False,
            )
        yield dg.MaterializeResult(metadata=metadata, check_results=results)

    return [calls, recordings, transcripts, utterances, flagged_calls, retention_extensions, reconciliation]


def _check_of_a_day(
    table: schemas.Table, name: str, description: str, days: dg.DailyPartitionsDefinition
) -> dg.AssetCheckSpec:
    """Without the partitions a good day would turn another day's red check green."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)  # the pin on dagster's minor release is for this
        return dg.AssetCheckSpec(name, asset=table.name, description=description, partitions_def=days)
