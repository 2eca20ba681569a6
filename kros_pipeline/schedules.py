"""The job of a day, and when it runs by itself."""

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from .failures import HANDLED, failure
from .resources import Archive
from .steps.owed import owed_days

JOB_NAME = "daily_archive"
_DAYS_A_TICK = 3


def daily_archive_job(assets: list[dg.AssetsDefinition]) -> Any:
    """All seven assets of one day; the checks that come with them, and none that stand alone."""
    return dg.define_asset_job(
        JOB_NAME,
        selection=dg.AssetSelection.assets(*assets),
        description="Archives one day, and proves that nothing of it is missing.",
    )


def daily_archive_schedule(job: Any) -> Any:
    """The day before, early in the morning UTC: after the three hours of the next day that are listed with it."""
    return dg.build_schedule_from_partitioned_job(
        job,
        name="daily_archive_schedule",
        description="Archives the day before.",
        hour_of_day=4,
        minute_of_hour=15,
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )


def owed_days_schedule(job: Any, days: dg.DailyPartitionsDefinition) -> dg.ScheduleDefinition:
    """Hourly: the days that the archive itself shows to be owed, nearest deletion first."""

    @dg.schedule(
        job=job,
        name="owed_days_schedule",
        cron_schedule="40 * * * *",
        description="Takes up days that are missing, failed, waiting, or were checked before late data could come.",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
    def owed(context: dg.ScheduleEvaluationContext, archive: Archive) -> Any:
        now = context.scheduled_execution_time.astimezone(UTC)
        first = datetime.fromisoformat(days.get_first_partition_key() or now.date().isoformat()).date()
        try:
            owing = owed_days(archive.open(context), first, (now - timedelta(days=1)).date())
        except HANDLED as error:
            raise failure(error) from None
        if not owing:
            return dg.SkipReason("No day owes anything.")
        tick = now.strftime("%Y-%m-%dT%H:%M")
        return [
            dg.RunRequest(run_key=f"{day.isoformat()} {tick}", partition_key=day.isoformat())
            for day in owing[:_DAYS_A_TICK]
        ]

    return owed
