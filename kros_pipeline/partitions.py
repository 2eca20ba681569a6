"""The daily partition, and the day that a run is about."""

from datetime import UTC, date, datetime

import dagster as dg

from .core.days import is_over
from .steps.settings import parse_start_date


def daily_partitions(start_date: str | None) -> dg.DailyPartitionsDefinition:
    """UTC days from `KROS_START_DATE` on; the last one is yesterday."""
    return dg.DailyPartitionsDefinition(start_date=parse_start_date(start_date).isoformat())


def day_of(context: dg.AssetExecutionContext) -> date:
    """The partition's day. Raises `dg.Failure` for any that Dagster itself would run without complaint."""
    if not context.has_partition_key:
        raise _refused('Which day? Launch a partition, or add --tags \'{"dagster/partition": "2025-01-10"}\'.')
    day = date.fromisoformat(context.partition_key)
    days = context.assets_def.partitions_def
    if isinstance(days, dg.DailyPartitionsDefinition) and day < days.start.date():
        raise _refused(f"{day} is before KROS_START_DATE, the first day of the archive ({days.start.date()}).")
    if not is_over(day, datetime.now(UTC)):
        raise _refused(f"{day} is not over (UTC): its calls are archived when no new one can be created on it.")
    return day


def _refused(sentence: str) -> dg.Failure:
    return dg.Failure(description=sentence, allow_retries=False)
