"""The retention of Dagster's runs: what is older than 90 days, and shows nothing that the UI still needs, is deleted.

Dagster deletes ticks by itself (`retention` in dagster.yaml), but never a run: the hourly look makes 9,000 a year, each
with its events. A run's events are also what the UI shows of an asset's partition. So a run of a day is kept,
whatever its age, until a younger one has made all that it made: no day turns to "missing" in the UI.
"""

from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from .jobs import DAILY_ARCHIVE

DELETE_OLD_RUNS = "delete_old_runs"
KEPT_DAYS = 90
_BATCH = 500
_PARTITION = "dagster/partition"
_FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


def delete_old_runs_job() -> dg.JobDefinition:
    """Make the job that deletes old runs: it touches Dagster's storage, and neither the archive nor KrosAI."""

    @dg.op(name="delete_runs")
    def delete_runs(context: dg.OpExecutionContext) -> None:
        deleted, kept = delete_runs_before(context.instance, datetime.now(UTC) - timedelta(days=KEPT_DAYS))
        context.add_output_metadata({"deleted runs": deleted, "older runs kept, because they show a day": kept})

    @dg.job(
        name=DELETE_OLD_RUNS,
        description=f"Deletes Dagster's runs that are older than {KEPT_DAYS} days, and keeps those that the UI needs "
        "to show a day. The archive keeps its own records: nothing of them is touched.",
    )
    def delete_old_runs() -> None:
        delete_runs()

    return delete_old_runs


def old_runs_schedule(job: dg.JobDefinition) -> dg.ScheduleDefinition:
    """Delete old runs every night, when nothing else is due."""
    return dg.ScheduleDefinition(
        name="old_runs_schedule",
        job=job,
        cron_schedule="50 1 * * *",
        description=f"Deletes Dagster's runs that are older than {KEPT_DAYS} days.",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )


def delete_runs_before(instance: dg.DagsterInstance, before: datetime) -> tuple[int, int]:
    """Delete the finished runs that were created before a time. Returns how many were deleted, and how many kept."""
    deleted = kept = 0
    for record in list(_finished_before(instance, before)):  # a deleted run is no cursor
        if _is_shown(instance, record):
            kept += 1
        else:
            instance.delete_run(record.dagster_run.run_id)
            deleted += 1
    return deleted, kept


def _finished_before(instance: dg.DagsterInstance, before: datetime) -> Iterator[dg.RunRecord]:
    """Yield each finished run that was created before a time."""
    finished, cursor = dg.RunsFilter(statuses=_FINISHED, created_before=before), None
    while records := instance.get_run_records(finished, limit=_BATCH, cursor=cursor):
        yield from records
        cursor = records[-1].dagster_run.run_id


def _is_shown(instance: dg.DagsterInstance, record: dg.RunRecord) -> bool:
    """Return whether the UI may show a day by this run: no younger one has succeeded that made all that it made."""
    day = record.dagster_run.tags.get(_PARTITION)
    if day is None:
        return False
    succeeded = dg.RunsFilter(job_name=DAILY_ARCHIVE, tags={_PARTITION: day}, statuses=[dg.DagsterRunStatus.SUCCESS])
    return not any(
        younger.storage_id > record.storage_id and _covers(younger.dagster_run, record.dagster_run)
        for younger in instance.get_run_records(succeeded)
    )


def _covers(younger: dg.DagsterRun, older: dg.DagsterRun) -> bool:
    """Return whether a run made every asset that an older one made.

    A run that Dagster continues from its failure makes the rest only: both together show the day.
    """
    pairs: tuple[tuple[Collection[Any] | None, Collection[Any] | None], ...] = (
        (younger.step_keys_to_execute, older.step_keys_to_execute),
        (younger.asset_selection, older.asset_selection),
    )
    return all(not made or (made_before and set(made_before) <= set(made)) for made, made_before in pairs)
