"""`report_past_days`: after the loss of Dagster's database the archive itself says which days are complete."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

import kros_pipeline.steps.run_context
from kros_pipeline.archive.table_versions import list_table_versions, record_table_versions
from kros_pipeline.core import schemas
from kros_pipeline.definitions import defs
from kros_pipeline.steps.run_context import RunContext, open_run_context
from kros_pipeline_tests.operations.test_backlog import checked
from kros_pipeline_tests.support.accounts import DAY, Account, MakeAccount
from kros_pipeline_tests.support.memory_store import open_memory_archive

ASSETS = ("calls", "recordings", "transcripts", "utterances", "flagged_calls", "retention_extensions", "reconciliation")
DAYS = [DAY + timedelta(days=number) for number in range(5)]
NOW = datetime(2025, 3, 1, tzinfo=UTC)
Launch = Callable[..., dict[str, Any]]


@pytest.fixture
def our(memory_account: MakeAccount) -> Account:
    """Three complete days (the middle one has lost a table since), one that waits, and one that is incomplete."""
    our = memory_account(now=NOW, KROS_START_DATE=str(DAY))
    our.ctx.identity.claim()
    for day, verdict in zip(DAYS, ("complete", "complete", "complete", "waiting", "incomplete"), strict=True):
        checked(our.ctx, day, verdict, NOW, calls=3, recordings_archived=2, bytes_in_bucket=4_000, listed_total=3)
    [version] = [list_table_versions(our.ctx.store, schemas.RECONCILIATION.name)[DAYS[1]]]
    record_table_versions(our.ctx.store, DAYS[1], {schemas.RECONCILIATION.name: version, "calls": "gone"}, None)
    return our


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as opened:
        yield opened


@pytest.fixture
def launch(our: Account, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> Launch:
    def opened_at(texts: Any) -> RunContext:
        return open_run_context(texts, clock=our.clock, open_archive=open_memory_archive)

    def run(**config: Any) -> dict[str, Any]:
        monkeypatch.setattr(kros_pipeline.steps.run_context, "open_run_context", opened_at)
        for name, value in our.environment.items():
            monkeypatch.setenv(name, value)
        run_config = {"ops": {"report_days": {"config": config}}} if config else None
        job = defs().resolve_job_def("report_past_days")
        result = job.execute_in_process(instance=instance, run_config=run_config, raise_on_error=False)
        if not result.success:
            [event] = [event for event in result.all_events if event.is_step_failure]
            return {"failure": event.step_failure_data.user_failure_data.description}  # type: ignore[union-attr]
        [output] = [event for event in result.all_node_events if event.event_type_value == "STEP_OUTPUT"]
        return {name: value.value for name, value in output.step_output_data.metadata.items()}

    return run


def materialized(instance: dg.DagsterInstance) -> dict[str, set[str]]:
    return {name: instance.get_materialized_partitions(dg.AssetKey(name)) for name in ASSETS}


def test_the_launchpad_only_says_which_days_would_be_reported(instance: dg.DagsterInstance, launch: Launch) -> None:
    shown = launch()
    assert shown["days that would be reported"] == 2 and shown["which"] == f"{DAYS[0]}, {DAYS[2]}"
    assert "dry_run to false" in shown["what to do next"]
    assert not any(materialized(instance).values())


def test_complete_days_are_materialized_in_all_assets_and_no_other_day_is(
    instance: dg.DagsterInstance, launch: Launch
) -> None:
    shown = launch(dry_run=False)
    assert shown["days reported"] == 2
    assert shown["days that are not reported"] == "1 deleted-table, 1 waiting, 1 failed"
    assert materialized(instance) == {name: {str(DAYS[0]), str(DAYS[2])} for name in ASSETS}
    event = instance.get_latest_materialization_event(dg.AssetKey("recordings"))
    assert event is not None and event.asset_materialization is not None
    metadata = {name: value.value for name, value in event.asset_materialization.metadata.items()}
    assert metadata["recordings archived"] == 2 and metadata["bytes in bucket"] == 4_000
    assert metadata["put back from"] == "tables/reconciliation"


def test_the_checks_that_a_row_proves_are_put_back_with_their_day(instance: dg.DagsterInstance, launch: Launch) -> None:
    launch(dry_run=False, days=[str(DAYS[0])])
    [run] = instance.get_runs()
    events = [
        entry.dagster_event.asset_check_evaluation_data
        for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
        if entry.dagster_event is not None
    ]
    known = defs().resolve_asset_graph().asset_check_keys
    assert {event.asset_check_key for event in events} <= known
    assert {event.partition for event in events} == {str(DAYS[0])} and all(event.passed for event in events)
    assert {"every_recording_is_safe", "the_list_was_read_whole"} <= {event.check_name for event in events}
    # What a row does not prove stays without a result.
    assert "every_flagged_recording_is_held" not in {event.check_name for event in events}


def test_a_second_launch_reports_nothing_twice_unless_it_is_asked_to(
    instance: dg.DagsterInstance, launch: Launch
) -> None:
    launch(dry_run=False, days=[f"{DAYS[0]}..{DAYS[1]}"])
    shown = launch(dry_run=False)
    assert shown["days reported"] == 1 and shown["days that Dagster knew already"] == 1
    assert launch(dry_run=False)["days reported"] == 0
    assert launch(dry_run=False, again=True)["days reported"] == 2


def test_a_day_of_which_an_asset_was_not_reported_is_completed(instance: dg.DagsterInstance, launch: Launch) -> None:
    """The job was killed in the middle of a day."""
    instance.report_runless_asset_event(dg.AssetMaterialization("calls", partition=str(DAYS[0])))
    assert launch(dry_run=False, days=[str(DAYS[0])])["days reported"] == 1
    assert materialized(instance) == {name: {str(DAYS[0])} for name in ASSETS}


def test_only_the_days_of_the_config_are_read(our: Account, launch: Launch) -> None:
    first = launch(days=[str(DAYS[0])])["S3 requests"]
    assert launch(days=[f"{DAYS[0]}..{DAYS[4]}"])["S3 requests"] <= first + 2 * 4
    assert "2025-13" in launch(days=["2025-13-01"])["failure"]
    assert our.requests() == {}


def test_days_before_the_first_partition_are_not_reported(
    our: Account, instance: dg.DagsterInstance, launch: Launch
) -> None:
    our.environment["KROS_START_DATE"] = str(DAYS[1])
    shown = launch(dry_run=False)
    assert shown["which"] == str(DAYS[2]) and "1 before KROS_START_DATE" in shown["days that are not reported"]
