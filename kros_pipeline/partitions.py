"""The daily partition, and the days that runs are about."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg

from .core.days import is_over, parse_day
from .core.redaction import redact
from .runbook import runbook_metadata
from .steps.settings import START_DATE, parse_start_date
from .steps.start_date import find_start_date, record_start_date

_BACKFILL = "dagster/backfill"
_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


def daily_partitions(
    texts: Mapping[str, str | None], home: str | None, arguments: Sequence[str] = ()
) -> dg.DailyPartitionsDefinition:
    """Make the partitions: UTC days from the first one to yesterday. `home` is DAGSTER_HOME. Raises `BadSettings`.

    Dagster fails a run of an earlier day. Upstream may still have calls of one, because their retention was extended:
    so the day that `arguments`, the command line, name is among the partitions, unless KROS_START_DATE is set.
    """
    start_date = find_start_date(texts, Path(home) if home else None, datetime.now(UTC).date())
    if parse_start_date(texts.get(START_DATE.name)) is None:
        start_date = min(start_date, find_day_by_hand(arguments) or start_date)
    return dg.DailyPartitionsDefinition(start_date=start_date.isoformat())


def find_day_by_hand(arguments: Sequence[str]) -> date | None:
    """Return the day that a command line names, as in `--tags '{"dagster/partition": "2025-01-10"}'`."""
    named = re.search(r'"dagster/partition"\s*:\s*"([^"]*)"', " ".join(arguments))
    return parse_day(named[1]) if named is not None else None


def show_earlier_days(home: str, first_archived: date, first: date) -> str:
    """Have Dagster show archived days from before the first partition. Return a sentence for the run's log."""
    record_start_date(Path(home), first_archived)
    return (
        f"The archive has days from {first_archived} on, and Dagster shows them from {first} on. It shows all of them "
        f"once its code location is loaded again; where DAGSTER_HOME does not last, or KROS_START_DATE is set, set "
        f"KROS_START_DATE={first_archived}."
    )


def day_of(context: dg.AssetExecutionContext) -> date:
    """Return the partition's day. Raises `dg.Failure` for days that Dagster would run without complaint."""
    if not context.has_partition_key:
        raise _refuse('Which day? Launch a partition, or add --tags \'{"dagster/partition": "2025-01-10"}\'.')
    day = parse_day(context.partition_key)
    if day is None:
        raise _refuse(f"{redact(context.partition_key)} is no day: write it like 2025-01-10.")
    days = context.assets_def.partitions_def
    if isinstance(days, dg.DailyPartitionsDefinition) and day < days.start.date():
        raise _refuse(
            f"{day} is before KROS_START_DATE, the first day that Dagster shows ({days.start.date()}). Set it to an "
            "earlier day, and start Dagster again."
        )
    if not is_over(day, datetime.now(UTC)):
        raise _refuse(f"{day} is not over (UTC): its calls are archived when no new one can be created on it.")
    return day


def parse_config_day(text: str) -> date | None:
    """Return the day in a job's config; None where it is empty. Raises `dg.Failure` for what is no day."""
    try:
        return date.fromisoformat(text.strip()) if text.strip() else None
    except ValueError:
        raise _refuse(f"day: {text!r} is no day; write it like 2025-01-10.") from None


def days_under_way(instance: dg.DagsterInstance) -> set[date]:
    """Return the days of the runs that are queued or running."""
    runs = instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED))
    keys = {run.tags.get("dagster/partition", "") for run in runs}
    return {day for key in keys if (day := parse_day(key)) is not None}


def backfill_is_under_way(instance: dg.DagsterInstance) -> bool:
    """Return whether a run of a backfill is queued or running."""
    return any(_BACKFILL in run.tags for run in instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED)))


def _refuse(sentence: str) -> dg.Failure:
    return dg.Failure(description=sentence, metadata=runbook_metadata("BadDays"), allow_retries=False)
