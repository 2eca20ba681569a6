"""The daily partition, and the day that a run is about."""

from datetime import UTC, date, datetime

import dagster as dg

from .core.days import is_over
from .core.settings import DEFAULT_START_DATE, parse_start_date


def daily_partitions(start_date: str | None) -> dg.DailyPartitionsDefinition:
    """UTC days from `KROS_START_DATE` on; the last one is yesterday."""
    return dg.DailyPartitionsDefinition(start_date=parse_start_date(start_date or DEFAULT_START_DATE).isoformat())


def day_of(context: dg.AssetExecutionContext) -> date:
    """The partition's day. Raises `dg.Failure` if it is not over: Dagster itself would run it without complaint."""
    day = date.fromisoformat(context.partition_key)
    if not is_over(day, datetime.now(UTC)):
        raise dg.Failure(
            description=f"{day} is not over (UTC): its calls are archived when no new one can be created on it.",
            allow_retries=False,
        )
    return day
