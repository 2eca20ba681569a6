"""The schedules: when Dagster launches the jobs."""

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from .core.days import LISTED_BEYOND
from .failures import raise_as_dagster_failure
from .jobs import AssetJob
from .resources import Archive

_DAYS_PER_TICK = 3
_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


def daily_archive_schedule(job: AssetJob) -> Any:
    """Archive the day before, early in the morning UTC: after the three hours of the next day that are listed too."""
    return dg.build_schedule_from_partitioned_job(
        job,
        name="daily_archive_schedule",
        description="Archives the day before.",
        hour_of_day=4,
        minute_of_hour=15,
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )


def owed_days_schedule(job: AssetJob, days: dg.DailyPartitionsDefinition) -> dg.ScheduleDefinition:
    """Take up the backlog every hour: the days that the archive itself shows to be owed, nearest deletion first."""

    @dg.schedule(
        job=job,
        name="owed_days_schedule",
        cron_schedule="40 * * * *",
        description="Takes up days that are missing, failed, waiting, or were checked before late data could come.",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
    def owed(context: dg.ScheduleEvaluationContext, archive: Archive) -> dg.SkipReason | list[dg.RunRequest]:
        from .operations.backlog import find_backlog

        now = context.scheduled_execution_time.astimezone(UTC)
        first = datetime.fromisoformat(days.get_first_partition_key() or now.date().isoformat()).date()
        with raise_as_dagster_failure("the next tick looks again"):
            ctx = archive.open(context)
            backlog = find_backlog(
                first,
                (now - timedelta(days=1) - LISTED_BEYOND).date(),
                store=ctx.store,
                tables=ctx.tables,
                clock=ctx.clock,
                retention_days=ctx.settings.source.retention_days,
                lookback_days=ctx.settings.lookback_days,
            )
        unfinished_runs = context.instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED))
        under_way = {run.tags.get("dagster/partition") for run in unfinished_runs}
        due = [day for day in backlog if day.isoformat() not in under_way]
        if not due:
            return dg.SkipReason("No day owes anything that is not under way.")
        tick = now.strftime("%Y-%m-%dT%H:%M")
        return [
            dg.RunRequest(run_key=f"{day.isoformat()} {tick}", partition_key=day.isoformat())
            for day in due[:_DAYS_PER_TICK]
        ]

    return owed


def standing_checks_schedule(job: AssetJob) -> dg.ScheduleDefinition:
    """Materialize `archive` with the standing checks every hour."""
    return dg.ScheduleDefinition(
        name="standing_checks_schedule",
        job=job,
        cron_schedule="10 * * * *",
        description="Runs the standing checks.",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )


def verify_archive_schedule(job: AssetJob) -> dg.ScheduleDefinition:
    """Read audio back every night, before the daily archive."""
    return dg.ScheduleDefinition(
        name="verify_archive_schedule",
        job=job,
        cron_schedule="20 2 * * *",
        description="Reads a twenty-eighth of the archive's days back: all of it in four weeks.",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
