"""The daily partition, and the days that runs are about."""

import re
from datetime import UTC, date, datetime

import dagster as dg

from .core.days import is_over
from .runbook import runbook_metadata
from .steps.settings import parse_start_date

_IS_DAY = re.compile(r"\d{4}-\d\d-\d\d").fullmatch
_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


def daily_partitions(start_date: str | None) -> dg.DailyPartitionsDefinition:
    """Make the partitions: UTC days from `KROS_START_DATE` to yesterday. Raises `BadSettings`."""
    return dg.DailyPartitionsDefinition(start_date=parse_start_date(start_date).isoformat())


def day_of(context: dg.AssetExecutionContext) -> date:
    """Return the partition's day. Raises `dg.Failure` for days that Dagster would run without complaint."""
    if not context.has_partition_key:
        raise _refuse('Which day? Launch a partition, or add --tags \'{"dagster/partition": "2025-01-10"}\'.')
    day = date.fromisoformat(context.partition_key)
    days = context.assets_def.partitions_def
    if isinstance(days, dg.DailyPartitionsDefinition) and day < days.start.date():
        raise _refuse(f"{day} is before KROS_START_DATE, the first day of the archive ({days.start.date()}).")
    if not is_over(day, datetime.now(UTC)):
        raise _refuse(f"{day} is not over (UTC): its calls are archived when no new one can be created on it.")
    return day


def days_under_way(instance: dg.DagsterInstance) -> set[date]:
    """Return the days of the runs that are queued or running."""
    runs = instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED))
    keys = {run.tags.get("dagster/partition", "") for run in runs}
    return {date.fromisoformat(key) for key in keys if _IS_DAY(key)}


def _refuse(sentence: str) -> dg.Failure:
    return dg.Failure(description=sentence, metadata=runbook_metadata("BadDays"), allow_retries=False)
