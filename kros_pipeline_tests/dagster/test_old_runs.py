"""Old runs are deleted from Dagster's storage, and no day turns to "missing" for it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from kros_pipeline.definitions import defs
from kros_pipeline.jobs import DAILY_ARCHIVE
from kros_pipeline.old_runs import KEPT_DAYS, delete_runs_before

DAYS = dg.DailyPartitionsDefinition("2025-01-01")
PARTITION = "dagster/partition"


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as opened:
        yield opened


def run(instance: dg.DagsterInstance, job: str, day: str | None = None, *, fails: bool = False) -> str:
    """One run of a job with this name; returns its id."""

    @dg.asset(name="calls", partitions_def=DAYS if day else None)
    def calls() -> None:
        if fails:
            raise dg.Failure("no")

    definition = dg.Definitions(assets=[calls], jobs=[dg.define_asset_job(job, [calls])]).resolve_job_def(job)
    result = definition.execute_in_process(partition_key=day, instance=instance, raise_on_error=False)
    assert result.success is not fails
    return result.run_id


def test_what_is_deleted_is_old_and_shows_no_day(instance: dg.DagsterInstance) -> None:
    superseded = run(instance, DAILY_ARCHIVE, "2025-01-01")
    failed = run(instance, DAILY_ARCHIVE, "2025-01-01", fails=True)
    newest = run(instance, DAILY_ARCHIVE, "2025-01-01")
    part_of_the_day = run(instance, "materialize", "2025-01-01")
    never_succeeded = run(instance, DAILY_ARCHIVE, "2025-01-02", fails=True)
    hourly = run(instance, "standing_checks_job")
    tomorrow = datetime.now(UTC) + timedelta(days=1)

    assert delete_runs_before(instance, tomorrow - timedelta(days=2)) == (0, 0)
    assert delete_runs_before(instance, tomorrow) == (3, 3)
    left = {each.run_id for each in instance.get_runs()}
    assert left == {newest, part_of_the_day, never_succeeded}
    assert not left & {superseded, failed, hourly}
    shown = instance.get_materialized_partitions(dg.AssetKey("calls"))
    assert shown == {"2025-01-01"}
    # Once more: nothing is left to delete.
    assert delete_runs_before(instance, tomorrow) == (0, 3)


def test_a_younger_run_of_a_part_of_the_day_does_not_replace_the_whole_one() -> None:
    """Dagster continues a run from its failure: what the first run has made is not made again."""

    @dg.asset(name="calls", partitions_def=DAYS)
    def calls() -> None: ...

    @dg.asset(name="recordings", partitions_def=DAYS, deps=[calls])
    def recordings() -> None: ...

    definitions = dg.Definitions(
        assets=[calls, recordings], jobs=[dg.define_asset_job(DAILY_ARCHIVE, [calls, recordings])]
    )
    job, tomorrow = definitions.resolve_job_def(DAILY_ARCHIVE), datetime.now(UTC) + timedelta(days=1)
    with dg.DagsterInstance.ephemeral() as instance:

        def archive(*assets: str) -> str:
            selection = [dg.AssetKey(name) for name in assets] or None
            made = job.execute_in_process(partition_key="2025-01-01", instance=instance, asset_selection=selection)
            return made.run_id

        whole = archive()
        archive("recordings")
        continued = dg.DagsterRun(
            job_name=DAILY_ARCHIVE,
            status=dg.DagsterRunStatus.SUCCESS,
            tags={PARTITION: "2025-01-01"},
            step_keys_to_execute=["recordings"],
        )
        instance.run_storage.add_run(continued)
        assert delete_runs_before(instance, tomorrow) == (1, 2)
        assert {each.run_id for each in instance.get_runs()} == {whole, continued.run_id}
        assert instance.get_materialized_partitions(dg.AssetKey("calls")) == {"2025-01-01"}

        newest = archive()
        assert delete_runs_before(instance, tomorrow) == (2, 1)
        assert {each.run_id for each in instance.get_runs()} == {newest}


def test_more_runs_than_a_page_are_deleted_at_once(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kros_pipeline.old_runs._BATCH", 1)
    hourly = {run(instance, "standing_checks_job") for _ in range(3)}
    deleted, _ = delete_runs_before(instance, datetime.now(UTC) + timedelta(days=1))
    assert deleted == 3
    assert not hourly & {each.run_id for each in instance.get_runs()}


def test_the_job_deletes_nothing_that_is_younger_than_90_days(instance: dg.DagsterInstance) -> None:
    hourly = run(instance, "standing_checks_job")
    assert defs().resolve_job_def("delete_old_runs").execute_in_process(instance=instance).success
    assert KEPT_DAYS == 90
    assert instance.get_run_by_id(hourly) is not None


def test_old_runs_are_deleted_every_night() -> None:
    [schedule] = [each for each in defs().get_repository_def().schedule_defs if each.job_name == "delete_old_runs"]
    assert (schedule.cron_schedule, schedule.default_status) == ("50 1 * * *", dg.DefaultScheduleStatus.RUNNING)


def test_a_day_that_its_machine_no_longer_works_on_ends_after_two_hours() -> None:
    assert defs().resolve_job_def(DAILY_ARCHIVE).tags["dagster/max_runtime"] == "7200"
