"""The asset `call_events`: there only where KROS_CALL_EVENTS is on. It never moves a day's verdict."""

import dagster as dg

from .assets import KROSAI_POOL
from .catalog import OWNERS, place_metadata, table_metadata
from .checks import EVENTS_CHECK, day_check_specs
from .core import schemas
from .reporting import step_run
from .resources import Archive
from .runbook import runbook_metadata, with_runbook_link


def call_events_asset(days: dg.DailyPartitionsDefinition, archive_url: str | None = None) -> dg.AssetsDefinition:
    """Make the asset. It runs after recordings and transcripts, which need the API's quota more."""
    table = schemas.CALL_EVENTS

    @dg.asset(
        name=table.name,
        description=with_runbook_link(table.description, table.name),
        partitions_def=days,
        deps=[schemas.RECORDINGS.name, schemas.TRANSCRIPTS.name],
        group_name="archive",
        kinds={"s3", "parquet"},
        owners=OWNERS,
        metadata=table_metadata(table) | place_metadata(archive_url, table) | runbook_metadata(table.name),
        pool=KROSAI_POOL,
        check_specs=day_check_specs(table, days),
    )
    def call_events(context: dg.AssetExecutionContext, archive: Archive) -> dg.MaterializeResult:  # type: ignore[type-arg]
        from .steps.call_events import fetch_call_events

        with step_run(context, archive) as run:
            ctx = run.ctx
            report = fetch_call_events(
                run.day,
                source=ctx.source,
                tables=ctx.tables,
                clock=ctx.clock,
                lookback_days=ctx.settings.lookback_days,
                requests_per_day=ctx.settings.source.plan.requests_per_day,
                download_workers=ctx.settings.download_workers,
                log=ctx.log,
            )
        left = report.counts["left"]
        cause = report.error or "The run's share of requests is used up, or upstream did not answer"
        problem = f"{cause}: the events of {left} calls are left for the day's next run." if left else ""
        return run.materialize(report, EVENTS_CHECK, problem, f"{run.day}: upstream answered for every call.")

    return call_events
