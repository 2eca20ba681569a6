"""The seven assets of a day. Each body passes to its step what the step uses, and reports what it did.

The assets before `reconciliation` save what they have, and a red check says what is missing: `reconciliation` decides
whether that fails the day. Only where a person must act before recordings or transcripts can be had do these fail by
themselves, once they are materialized; extensions never move the verdict. Steps are imported where they run: Dagster
loads the definitions often, and their libraries take a second.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import dagster as dg

from .catalog import OWNERS, personal_data_tags, place_metadata, table_metadata
from .checks import (
    EXTENSIONS_CHECK,
    LIST_CHECK,
    RECORDINGS_TRIED_CHECK,
    TRANSCRIPTS_ASKED_CHECK,
    day_check_specs,
    reconciliation_check_results,
)
from .core import schemas
from .core.statuses import DayVerdict
from .launch_configs import ExtensionsConfig, ReconciliationConfig, RecordingsConfig
from .reporting import explain_day, observe_day, sample_table, step_run
from .resources import Archive
from .runbook import runbook_metadata, with_runbook_link
from .step_checks import (
    describe_extensions,
    describe_recordings,
    describe_transcripts,
    describe_unanswered,
    describe_untried,
)

KROSAI_POOL = "krosai"  # limit 1, for the assets that ask the API: parallel runs share its rate


def daily_assets(
    days: dg.DailyPartitionsDefinition,
    code_versions: Mapping[str, str] | None = None,
    archive_url: str | None = None,
) -> list[dg.AssetsDefinition]:
    """Make the assets, partitioned by `days`; their pages show where they are below `archive_url`.

    `code_versions`, by the asset's name, say by which grammar and which rules a table is made: Dagster shows the days
    of another version as stale.
    """
    versions = code_versions or {}

    def asset(
        table: schemas.Table, deps: list[str], *, asks_krosai: bool = True, has_dry_run: bool = False
    ) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
        return dg.asset(
            name=table.name,
            description=with_runbook_link(table.description, table.name),
            partitions_def=days,
            deps=deps,
            group_name="archive",
            kinds={"s3", "parquet"},
            owners=OWNERS,
            tags=personal_data_tags(table),
            metadata=table_metadata(table) | place_metadata(archive_url, table) | runbook_metadata(table.name),
            pool=KROSAI_POOL if asks_krosai else None,
            code_version=versions.get(table.name),
            check_specs=day_check_specs(table, days),
            output_required=not has_dry_run,
        )

    @asset(schemas.CALLS, [])
    def calls(context: dg.AssetExecutionContext, archive: Archive) -> dg.MaterializeResult:
        from .steps.calls import list_calls
        from .steps.list_reader import describe_dialect

        with step_run(context, archive) as run:
            ctx = run.ctx
            report, listing = list_calls(
                run.day,
                first_day=days.start.date(),
                source=ctx.source,
                store=ctx.store,
                tables=ctx.tables,
                tombstones=ctx.tombstones,
                identity=ctx.identity,
                open_audit=lambda day: ctx.audit_log(day, "calls"),
                clock=ctx.clock,
                lookback_days=ctx.settings.lookback_days,
                retention_days=ctx.settings.source.retention_days,
                download_workers=ctx.settings.download_workers,
                log=ctx.log,
                default_country=ctx.settings.source.default_country,
            )
        problem = " ".join([*listing.problems, *sorted(set(listing.unparsed))])
        shown: dict[str, Any] = {
            "dialect": describe_dialect(ctx.source, has_date_filter=listing.pages is None)
            if report.counts["pages"]
            else "not asked: another day's run has read the list"
        }
        if listing.oddities:
            shown["oddities"] = listing.oddities
        done = f"{report.counts['pages']} pages were read, and the list is proved: {listing.listed_total} calls."
        return run.materialize(report, LIST_CHECK, problem, done, shown)

    @asset(schemas.RECORDINGS, ["calls"])
    def recordings(context: dg.AssetExecutionContext, config: RecordingsConfig, archive: Archive) -> Iterator[Any]:
        from .steps.recordings import archive_recordings

        with step_run(context, archive) as run:
            ctx = run.ctx
            report = archive_recordings(
                run.day,
                source=ctx.source,
                store=ctx.store,
                tables=ctx.tables,
                tombstones=ctx.tombstones,
                audit=ctx.audit_log(run.day, "recordings"),
                clock=ctx.clock,
                lookback_days=ctx.settings.lookback_days,
                retention_days=ctx.settings.source.retention_days,
                download_workers=ctx.settings.download_workers,
                log=ctx.log,
                call_ids=config.call_ids,
            )
            ctx.moved_recordings += report.counts["archived_now"]
            ctx.moved_bytes += report.counts["bytes_archived_now"]
        yield run.materialize(
            report, RECORDINGS_TRIED_CHECK, describe_untried(run.day, report), describe_recordings(report)
        )
        run.fail_if_person_must_act(report)

    @asset(schemas.TRANSCRIPTS, ["calls"])
    def transcripts(context: dg.AssetExecutionContext, archive: Archive) -> Iterator[Any]:
        from .steps.transcripts import fetch_transcripts

        with step_run(context, archive) as run:
            ctx = run.ctx
            report = fetch_transcripts(
                run.day,
                source=ctx.source,
                store=ctx.store,
                tables=ctx.tables,
                tombstones=ctx.tombstones,
                clock=ctx.clock,
                lookback_days=ctx.settings.lookback_days,
                retention_days=ctx.settings.source.retention_days,
                ask_every_transcript=ctx.settings.ask_every_transcript,
                download_workers=ctx.settings.download_workers,
                log=ctx.log,
                roles=ctx.settings.speaker_roles,
            )
        yield run.materialize(
            report, TRANSCRIPTS_ASKED_CHECK, describe_unanswered(run.day, report), describe_transcripts(report)
        )
        run.fail_if_person_must_act(report)

    @asset(schemas.UTTERANCES, ["transcripts"], asks_krosai=False)
    def utterances(context: dg.AssetExecutionContext, archive: Archive) -> dg.MaterializeResult:
        from .steps.utterances import split_utterances

        with step_run(context, archive, asks_krosai=False) as run:
            report = split_utterances(
                run.day,
                tables=run.ctx.tables,
                roles=run.ctx.settings.speaker_roles,
                shows_changes=run.is_backfill,
            )
            run.reconcile_after_backfill(report)
        return dg.MaterializeResult(metadata=run.metadata(report))

    @asset(schemas.FLAGGED_CALLS, ["utterances"], asks_krosai=False)
    def flagged_calls(context: dg.AssetExecutionContext, archive: Archive) -> dg.MaterializeResult:
        from .steps.flagged_calls import flag_calls

        with step_run(context, archive, asks_krosai=False) as run:
            report = flag_calls(run.day, tables=run.ctx.tables, rules=run.ctx.rules)
            run.reconcile_after_backfill(report)
        return dg.MaterializeResult(metadata=run.metadata(report))

    @asset(schemas.RETENTION_EXTENSIONS, ["flagged_calls"], has_dry_run=True)
    def retention_extensions(
        context: dg.AssetExecutionContext, config: ExtensionsConfig, archive: Archive
    ) -> Iterator[Any]:
        from .steps.retention_extensions import extend_retention

        with step_run(context, archive, is_dry_run=config.dry_run) as run:
            ctx = run.ctx
            report = extend_retention(
                run.day,
                source=ctx.source,
                store=ctx.store,
                tables=ctx.tables,
                tombstones=ctx.tombstones,
                audit=ctx.audit_log(run.day, "extensions"),
                clock=ctx.clock,
                dry_run=config.dry_run,
                resend=config.resend,
                settle=config.settle,
                run_id=context.run.root_run_id or context.run.run_id,  # a run that Dagster repeats is the same order
            )
        sample = {"would be sent": sample_table(report.would_send)} if report.would_send else None
        problem, done = " ".join(report.to_do), describe_extensions(report)
        if config.dry_run:
            yield from run.observe_dry_run(
                schemas.RETENTION_EXTENSIONS, report, EXTENSIONS_CHECK, problem, done, sample
            )
        else:
            yield run.materialize(report, EXTENSIONS_CHECK, problem, done, sample)

    @asset(schemas.RECONCILIATION, ["recordings", "retention_extensions"])
    def reconciliation(
        context: dg.AssetExecutionContext, config: ReconciliationConfig, archive: Archive
    ) -> Iterator[Any]:
        from .steps.independent_counters import read_counters
        from .steps.legal_holds import place_legal_holds
        from .steps.reconciliation import acknowledge_calls, reconcile_day

        with step_run(context, archive) as run:
            ctx = run.ctx
            acknowledge_calls(
                run.day, config.acknowledged_call_ids, store=ctx.store, tables=ctx.tables, clock=ctx.clock
            )
            hold_problems = place_legal_holds(
                run.day,
                is_wanted=ctx.settings.legal_hold,
                store=ctx.store,
                governance=ctx.governance,
                tables=ctx.tables,
                audit=ctx.audit_log(run.day, "hold"),
                clock=ctx.clock,
                threads=ctx.settings.download_workers,
            )
            counters = read_counters(run.day, ctx.source, ctx.log)
            result = reconcile_day(
                run.day,
                store=ctx.store,
                tables=ctx.tables,
                tombstones=ctx.tombstones,
                clock=ctx.clock,
                lookback_days=ctx.settings.lookback_days,
                retention_days=ctx.settings.source.retention_days,
                counters=counters,
                hold_problems=hold_problems,
                api_requests=ctx.source.requests_made,
            )
        verdict = result.verdict
        check_results = reconciliation_check_results(verdict, result.summaries)
        metadata = explain_day(result) | run.metadata(result.report)
        yield observe_day(run.day, result)
        if verdict.verdict == DayVerdict.INCOMPLETE:
            yield from check_results
            # Not materialized: so Dagster counts the day as failed, and a backfill of "failed and missing" takes it.
            raise dg.Failure(
                description=f"{run.day} is incomplete. {' '.join(verdict.problems)} {result.next_step}",
                metadata=metadata | runbook_metadata("incomplete"),
                allow_retries=False,
            )
        ctx.quota.on_day_done()
        yield dg.MaterializeResult(metadata=metadata, check_results=check_results)

    return [calls, recordings, transcripts, utterances, flagged_calls, retention_extensions, reconciliation]
