"""The schedules: when Dagster launches the jobs."""

from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

import dagster as dg

from .core.backlog_plan import DAYS_PER_TICK
from .core.days import LISTED_BEYOND
from .failures import raise_as_dagster_failure
from .jobs import DAILY_ARCHIVE, AssetJob
from .partitions import days_under_way
from .plan_job import PLAN_DAYS
from .resources import Archive

if TYPE_CHECKING:
    from .operations.day_states import OwedReason
    from .steps.run_context import RunContext

_PLAN_IS_VALID = timedelta(hours=24)
REASON_TAG = "kros/reason"  # of a run: why its day is run again; the values are those of `OwedReason`, and this one
_LISTED_ANEW = "listed-anew"
_BEFORE_OTHERS = {"dagster/priority": "10"}  # in the queue: a backfill of a year may wait there; the default is 0


def daily_archive_schedule(job: AssetJob) -> Any:
    """Archive the day before, early in the morning UTC: after the three hours of the next day that are listed too."""
    return dg.build_schedule_from_partitioned_job(
        job,
        name="daily_archive_schedule",
        description="Archives the day before.",
        hour_of_day=4,
        minute_of_hour=15,
        tags=_BEFORE_OTHERS,
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )


def owed_days_schedule(job: AssetJob, days: dg.DailyPartitionsDefinition) -> dg.ScheduleDefinition:
    """Take up the backlog every hour: the days that the archive itself shows to be owed, nearest deletion first."""

    @dg.schedule(
        job=job,
        name="owed_days_schedule",
        cron_schedule="40 * * * *",
        description="Takes up days that are missing, failed, waiting or changed, or were checked before late data.",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
    def owed(context: dg.ScheduleEvaluationContext, archive: Archive) -> dg.SkipReason | list[dg.RunRequest]:
        from .operations.planning import is_large_and_new

        with raise_as_dagster_failure("the next tick looks again"):
            ctx = archive.open(context)
            backlog = _find_backlog(context, days, ctx)
            if not ctx.identity.is_claimed and is_large_and_new(backlog, ctx.store) and _awaits_plan(context.instance):
                return dg.SkipReason(
                    f"The archive is new, and {len(backlog)} days are owed: plan_days_schedule has them planned first, "
                    "so that you see what they need before anything is moved. The next tick begins."
                )
        under_way = days_under_way(context.instance)
        due = {day: str(reason) for day, reason in backlog.items() if day not in under_way}
        if not due:
            return dg.SkipReason("No day owes anything that is not under way.")
        return _run_requests(context, dict(islice(due.items(), DAYS_PER_TICK)))

    return owed


def plan_days_schedule(job: dg.JobDefinition, days: dg.DailyPartitionsDefinition) -> dg.ScheduleDefinition:
    """Plan a large backlog before its first day is moved, and anew each day while it is large."""

    @dg.schedule(
        job=job,
        name="plan_days_schedule",
        cron_schedule="5,35 * * * *",
        description="Plans the owed days of a new archive before they are moved, and a large backlog once a day.",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
    def plan(context: dg.ScheduleEvaluationContext, archive: Archive) -> dg.SkipReason | dg.RunRequest:
        from .archive.plan_note import read_plan_note
        from .operations.day_states import days_within_retention
        from .operations.planning import is_large_and_new

        now = context.scheduled_execution_time.astimezone(UTC)
        if context.instance.get_runs(dg.RunsFilter(job_name=PLAN_DAYS, created_after=now - _PLAN_IS_VALID), limit=1):
            return dg.SkipReason("A plan was made, or tried, within the last 24 hours.")
        with raise_as_dagster_failure("the next tick looks again"):
            ctx = archive.open(context)
            note = read_plan_note(ctx.store)
            if note is not None and now - note.made_at < _PLAN_IS_VALID:
                return dg.SkipReason("The archive has a plan of the last 24 hours.")
            kept = days_within_retention(*_span(context, days), ctx.clock, ctx.settings.source.retention_days)
            if not is_large_and_new(kept, ctx.store):
                return dg.SkipReason("The backlog is small: what is owed is archived within the hour.")
        return dg.RunRequest(run_key=f"plan {now:%Y-%m-%dT%H:%M}")

    return plan


def _find_backlog(
    context: dg.ScheduleEvaluationContext, days: dg.DailyPartitionsDefinition, ctx: "RunContext"
) -> "dict[date, OwedReason]":
    from .operations.planning import find_planned_backlog

    first, last = _span(context, days)
    return find_planned_backlog(
        first,
        last,
        store=ctx.store,
        tables=ctx.tables,
        clock=ctx.clock,
        retention_days=ctx.settings.source.retention_days,
        lookback_days=ctx.settings.lookback_days,
    )


def _awaits_plan(instance: dg.DagsterInstance) -> bool:
    """Return whether no plan was made yet, and no day was launched. A plan that failed is not waited for."""
    ended = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
    planned = instance.get_runs(dg.RunsFilter(job_name=PLAN_DAYS, statuses=ended), limit=1)
    return not planned and not instance.get_runs(dg.RunsFilter(job_name=DAILY_ARCHIVE), limit=1)


def settled_days_schedule(job: AssetJob, days: dg.DailyPartitionsDefinition) -> dg.ScheduleDefinition:
    """Archive settled days anew every night, after the night's daily archive: what upstream shows may have changed.

    It is a schedule of its own, because it has a budget of its own: the backlog keeps its three days an hour, and
    either can be stopped without the other.
    """

    @dg.schedule(
        job=job,
        name="settled_days_schedule",
        cron_schedule="20 5 * * *",
        description="Lists and reconciles a 28th of the settled days anew, while upstream has their recordings.",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
    def settled(context: dg.ScheduleEvaluationContext, archive: Archive) -> dg.SkipReason | list[dg.RunRequest]:
        from .operations.settled_days import find_days_to_repeat

        first, last = _span(context, days)
        with raise_as_dagster_failure("the next night looks again"):
            ctx = archive.open(context)
            due = find_days_to_repeat(
                first,
                last,
                store=ctx.store,
                tables=ctx.tables,
                clock=ctx.clock,
                retention_days=ctx.settings.source.retention_days,
                lookback_days=ctx.settings.lookback_days,
                requests_per_day=ctx.settings.source.plan.requests_per_day,
                under_way=days_under_way(context.instance),
            )
        if not due:
            return dg.SkipReason("No settled day has its turn tonight.")
        return _run_requests(context, dict.fromkeys(due, _LISTED_ANEW))

    return settled


def _span(context: dg.ScheduleEvaluationContext, days: dg.DailyPartitionsDefinition) -> tuple[date, date]:
    """Return the first and the last day that can be archived at a tick."""
    now = context.scheduled_execution_time.astimezone(UTC)
    first = datetime.fromisoformat(days.get_first_partition_key() or now.date().isoformat()).date()
    return first, (now - timedelta(days=1) - LISTED_BEYOND).date()


def _run_requests(context: dg.ScheduleEvaluationContext, due: dict[date, str]) -> list[dg.RunRequest]:
    """Return a request for each day that is due, with its reason as a tag."""
    tick = context.scheduled_execution_time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M")
    return [
        dg.RunRequest(run_key=f"{day.isoformat()} {tick}", partition_key=day.isoformat(), tags={REASON_TAG: reason})
        for day, reason in due.items()
    ]


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


def webhook_deliveries_schedule(job: dg.JobDefinition) -> dg.ScheduleDefinition:
    """Read webhook deliveries every night, before the daily archive: an account without a webhook costs one request."""
    return dg.ScheduleDefinition(
        name="webhook_deliveries_schedule",
        job=job,
        cron_schedule="30 3 * * *",
        description="Looks for completed calls that webhook deliveries name and no table has.",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
