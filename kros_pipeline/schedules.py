"""The jobs, when they run by themselves, and who is told when one fails."""

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from .core.days import LISTED_BEYOND
from .core.errors import ExternalError
from .core.settings import BadSettings
from .failures import failure, raise_as_dagster_failure
from .resources import Archive
from .steps.settings import parse_webhook_url

JOB_NAME = "daily_archive"
VERIFICATION_JOB_NAME = "verify_archive"
STANDING_JOB_NAME = "standing_checks_job"
_DAYS_A_TICK = 3
_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


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
        from .operations.backlog import find_backlog

        now = context.scheduled_execution_time.astimezone(UTC)
        first = datetime.fromisoformat(days.get_first_partition_key() or now.date().isoformat()).date()
        with raise_as_dagster_failure("the next tick looks again"):
            owing = find_backlog(archive.open(context), first, (now - timedelta(days=1) - LISTED_BEYOND).date())
        under_way = {
            run.tags.get("dagster/partition") for run in context.instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED))
        }
        owing = [day for day in owing if day.isoformat() not in under_way]
        if not owing:
            return dg.SkipReason("No day owes anything that is not under way.")
        tick = now.strftime("%Y-%m-%dT%H:%M")
        return [
            dg.RunRequest(run_key=f"{day.isoformat()} {tick}", partition_key=day.isoformat())
            for day in owing[:_DAYS_A_TICK]
        ]

    return owed


def standing_checks_job(standing: dg.AssetChecksDefinition) -> Any:
    """The standing checks alone."""
    return dg.define_asset_job(
        STANDING_JOB_NAME,
        selection=dg.AssetSelection.checks(standing),
        description="Looks for days that are missing and recordings that upstream is about to delete.",
    )


def standing_checks_schedule(job: Any) -> dg.ScheduleDefinition:
    """Hourly."""
    return dg.ScheduleDefinition(
        name="standing_checks_schedule",
        job=job,
        cron_schedule="10 * * * *",
        description="Runs the standing checks.",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )


def verification_job(verification: dg.AssetChecksDefinition) -> Any:
    """The reading back of archived audio."""
    return dg.define_asset_job(
        VERIFICATION_JOB_NAME,
        selection=dg.AssetSelection.checks(verification),
        description="Reads archived recordings back and hashes them: by schedule a 28th of the days, by config any.",
    )


def verification_schedule(job: Any) -> dg.ScheduleDefinition:
    """Every night, before the day's own work."""
    return dg.ScheduleDefinition(
        name="verify_archive_schedule",
        job=job,
        cron_schedule="20 2 * * *",
        description="Reads a twenty-eighth of the archive's days back: all of it in four weeks.",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )


@dg.run_failure_sensor(
    name="tell_of_failures",
    description="Posts one sentence to KROS_WEBHOOK_URL, if that is set, for each failed run. It names nobody.",
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def tell_of_failures(context: dg.RunFailureSensorContext, archive: Archive) -> dg.SkipReason | None:
    """A failed day, or a red standing check, which fails its run."""
    from .operations.notifications import notify

    try:
        url = parse_webhook_url(archive.texts())
    except BadSettings as error:
        raise failure(error) from None
    if url is None:
        return dg.SkipReason("KROS_WEBHOOK_URL is not set.")
    run = context.dagster_run
    day = run.tags.get("dagster/partition", "")
    try:
        notify(url, f"{run.job_name} {day}".strip() + f" failed: {_first_sentence(context)} (run {run.run_id[:8]})")
    except ExternalError as error:
        raise failure(error) from None
    return None


def _first_sentence(context: dg.RunFailureSensorContext) -> str:
    """The first sentence of the first failure; what follows it may name calls."""
    for event in context.get_step_failure_events():
        told = event.step_failure_data.user_failure_data
        if told is not None and told.description:
            return told.description.split(". ")[0].rstrip(".") + "."
    return "Dagster shows why."
