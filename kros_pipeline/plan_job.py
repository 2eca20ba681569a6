"""The job `plan_days`: what the owed days, or any range of days, hold and need. It moves nothing."""

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from .assets import KROSAI_POOL
from .core.days import LISTED_BEYOND, days_from
from .failures import raise_as_dagster_failure
from .jobs import opens_with
from .resources import Archive
from .runbook import runbook_metadata

if TYPE_CHECKING:
    from .core.backlog_plan import Capacity
    from .operations.planning import PlanReport
    from .steps.settings import Settings

PLAN_DAYS = "plan_days"
_NO_RETRY = "nothing tries it again: mend the cause, and launch the job once more; the backlog does not wait for it"
_GB = 1e9
_MAX_DAYS = 3_660
_MAX_NAMED_DAYS = 10
_COLUMNS = {
    "day": "string",
    "calls": "int",
    "API requests": "int",
    "GB": "float",
    "audio minutes": "int",
    "ends at (UTC)": "string",
    "hours from now": "float",
    "deleted upstream on": "string",
    "in time": "bool",
    "S3 requests, USD": "float",
    "estimated from": "string",
}


class PlanConfig(dg.Config):
    """Which days to plan; by default all days that are owed and that upstream still has, in the backlog's order."""

    first_day: str = Field(default="", description="The first day of a range, like 2025-01-10: before a backfill.")
    last_day: str = Field(default="", description="The last day of the range; yesterday, if it is left out.")


def plan_days_job(days: dg.DailyPartitionsDefinition) -> dg.JobDefinition:
    """Make the job that plans days, with at most one API request for each. It moves nothing."""

    @dg.op(name="count_and_estimate", pool=KROSAI_POOL)
    def count_and_estimate(context: dg.OpExecutionContext, config: PlanConfig, archive: Archive) -> None:
        from .operations.planning import find_planned_backlog, make_plan

        with raise_as_dagster_failure(_NO_RETRY):
            ctx = archive.open(context)
            # The last day of which late calls of the next three hours are listed, too.
            first, last = days.start.date(), (ctx.clock.now() - timedelta(days=1) - LISTED_BEYOND).date()
            is_of_backlog = not (config.first_day or config.last_day)
            planned = (
                list(
                    find_planned_backlog(
                        first,
                        last,
                        store=ctx.store,
                        tables=ctx.tables,
                        clock=ctx.clock,
                        retention_days=ctx.settings.source.retention_days,
                        lookback_days=ctx.settings.lookback_days,
                    )
                )
                if is_of_backlog
                else _read_range(config, first, last)
            )
            report = make_plan(
                planned,
                source=ctx.source,
                store=ctx.store,
                tables=ctx.tables,
                identity=ctx.identity,
                clock=ctx.clock,
                capacity=_read_capacity(ctx.settings),
                is_of_backlog=is_of_backlog,
            )
        metadata = _describe_plan(report)
        for name, value in metadata.items():
            if not isinstance(value, dg.TableMetadataValue):
                context.log.info(f"{name}: {value}")
        context.add_output_metadata(metadata)

    @dg.job(
        name=PLAN_DAYS,
        description="Says what the owed days need: calls, API requests, GB, minutes, hours, and what is deleted before "
        "its turn. Moves nothing; one API request a day at most.",
        config=opens_with("count_and_estimate", first_day="", last_day=""),
    )
    def plan_days() -> None:
        count_and_estimate()

    return plan_days


def _read_range(config: PlanConfig, first: date, last: date) -> list[date]:
    try:
        begin = date.fromisoformat(config.first_day) if config.first_day else first
        end = date.fromisoformat(config.last_day) if config.last_day else last
    except ValueError as error:
        raise _refuse(f"first_day, last_day: {error}; write them like 2025-01-10.") from None
    if begin > end:
        raise _refuse(f"first_day {begin} is after last_day {end}: no day is between them.")
    if begin < first or end > last:
        raise _refuse(
            f"{begin} to {end} is not between {first} (KROS_START_DATE) and {last}, the last day that is over."
        )
    if (end - begin).days >= _MAX_DAYS:
        raise _refuse(f"{begin} to {end} has more than {_MAX_DAYS:,} days: plan fewer.")
    return days_from(begin, end)


def _refuse(sentence: str) -> dg.Failure:
    return dg.Failure(description=sentence, metadata=runbook_metadata("BadDays"), allow_retries=False)


def _read_capacity(settings: "Settings") -> "Capacity":
    from .core.backlog_plan import Capacity

    source = settings.source
    return Capacity(
        requests_per_second=source.requests_per_second,
        requests_per_day=source.plan.requests_per_day,
        requests_per_run=source.requests_per_run,
        retention_days=source.retention_days,
        asks_every_transcript=settings.ask_every_transcript,
    )


def _describe_plan(report: "PlanReport") -> dict[str, Any]:
    """Return totals, what is late, on what the estimates rest, and a row for each day in the order of their turns."""
    from .core.s3_prices import LIST_PRICES, estimate_month_usd

    plan = report.plan
    size_bytes = sum(day.size_bytes for day in plan.days)
    ends_at = max((day.ends_at for day in plan.days), default=plan.made_at)
    month_usd = estimate_month_usd(size_bytes, 0, 0, plan.made_at)
    usd = sum(_requests_usd(day.recordings) for day in plan.days)
    shown: dict[str, Any] = {
        "days": len(plan.days),
        "calls": sum(day.calls for day in plan.days),
        "API requests": sum(day.api_requests for day in plan.days),
        "GB": round(size_bytes / _GB, 3),
        "audio minutes": round(sum(day.audio_seconds for day in plan.days) / 60),
        "hours": round((ends_at - plan.made_at).total_seconds() / 3600, 1),
        "ends at": f"{ends_at:%Y-%m-%d %H:%M} UTC, by the hourly schedule",
        "days deleted before their turn": len(plan.late_days),
        "cost": f"about {usd:,.2f} USD for S3 requests, then {month_usd:,.2f} USD a month for storage "
        f"({LIST_PRICES.source}, as of {LIST_PRICES.as_of})",
        "API requests of this plan": report.counts.requests,
        "estimated from": _describe_basis(report),
        "what to do": _describe_next(report),
    }
    records = [
        dg.TableRecord(
            {
                "day": str(day.day),
                "calls": day.calls,
                "API requests": day.api_requests,
                "GB": round(day.size_bytes / _GB, 3),
                "audio minutes": round(day.audio_seconds / 60),
                "ends at (UTC)": f"{day.ends_at:%Y-%m-%d %H:%M}",
                "hours from now": round((day.ends_at - plan.made_at).total_seconds() / 3600, 1),
                "deleted upstream on": str(day.deleted_on) if day.deleted_on is not None else "never",
                "in time": not day.is_late,
                "S3 requests, USD": round(_requests_usd(day.recordings), 4),
                "estimated from": day.estimated_from,
            }
        )
        for day in plan.days
    ]
    columns = [dg.TableColumn(name, kind) for name, kind in _COLUMNS.items()]
    return {**shown, "plan": dg.TableMetadataValue(records, dg.TableSchema(columns=columns))}


def _requests_usd(recordings: int) -> float:
    from .core.s3_prices import LIST_PRICES

    return recordings / 1000 * LIST_PRICES.per_1000_writes


def _describe_basis(report: "PlanReport") -> str:
    past = report.past
    rate = (
        f"{past.bytes_per_second:,.0f} bytes a second of audio, as in the archive's last {past.days} complete days"
        if past.bytes_per_second
        else "12,000 bytes a second of audio, as KrosAI documents (MP3 of 96 kbit/s); the archive has no past"
    )
    sentence = (
        f"Totals of the API's list, lengths of up to 100 calls a day, {rate}. Hours: API requests at the rate and the "
        "quota of the settings, three days an hour; downloads are not in them."
    )
    return f"{report.counts.note} {sentence}".strip()


def _describe_next(report: "PlanReport") -> str:
    plan = report.plan
    if not plan.days:
        return "Nothing is owed: nothing to do."
    late = plan.late_days
    if not late:
        return "Nothing: owed_days_schedule archives these days by itself. A backfill in the UI would be faster."
    named = ", ".join(map(str, late[:_MAX_NAMED_DAYS])) + (", …" if len(late) > _MAX_NAMED_DAYS else "")
    return (
        f"At this rate upstream deletes recordings of {len(late)} days before their turn: {named}. Launch a backfill "
        "of these days in the UI (the schedule takes three days an hour), raise KROSAI_REQUESTS_PER_SECOND and "
        "KROSAI_REQUESTS_PER_RUN up to the plan's, or have the retention extended in the KrosAI dashboard. Whatever "
        "can still be saved is: the day that is deleted next comes first."
    )
