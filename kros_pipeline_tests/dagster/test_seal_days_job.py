"""The job that seals days, through Dagster: what it shows, when it fails, and what the asset `archive` shows of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest

import kros_pipeline.steps.run_context
from kros_pipeline.archive.seal_chain import describe_head
from kros_pipeline.core.seal_keys import seal_key
from kros_pipeline.definitions import defs
from kros_pipeline.steps.run_context import RunContext
from kros_pipeline_tests.support.accounts import DAY
from kros_pipeline_tests.support.fake_days import FakeDay
from kros_pipeline_tests.support.memory_store import open_memory_run
from kros_pipeline_tests.support.sealed_days import BODIES

Launch = Callable[..., dg.ExecuteInProcessResult]


@pytest.fixture
def day() -> FakeDay:
    made = FakeDay(BODIES)
    made.run()
    return made


@pytest.fixture
def launch(monkeypatch: pytest.MonkeyPatch, day: FakeDay) -> Launch:
    def run(job_name: str, **settings: str) -> dg.ExecuteInProcessResult:
        def opened(_: Any) -> RunContext:
            ctx = open_memory_run(day.archive, day.source, day.clock, **settings)
            ctx.is_store_probed = True
            return ctx

        monkeypatch.setattr(kros_pipeline.steps.run_context, "open_run_context", opened)
        with dg.DagsterInstance.ephemeral() as instance:
            return defs().resolve_job_def(job_name).execute_in_process(instance=instance, raise_on_error=False)

    return run


def shown(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    [output] = [event for event in result.all_node_events if event.event_type_value == "STEP_OUTPUT"]
    return {name: value.value for name, value in output.step_output_data.metadata.items()}


def test_it_runs_every_hour_by_itself() -> None:
    schedule = defs().resolve_schedule_def("seal_days_schedule")
    assert (schedule.job_name, schedule.cron_schedule) == ("seal_days", "55 * * * *")
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING


def test_it_shows_what_was_sealed_and_what_is_owed(day: FakeDay, launch: Launch) -> None:
    metadata = shown(launch("seal_days", KROS_SEAL_KEY="/no/such/file.pem"))
    head = describe_head(day.open().store, day.clock)
    assert (metadata["which"], metadata["head of the chain"]) == (str(DAY), head)
    assert metadata["seals without a signature"] == 1 and "/no/such/file.pem cannot be read" in metadata["owed"]
    assert shown(launch("seal_days"))["which"] == "none"


def test_a_broken_chain_fails_it_in_a_sentence(day: FakeDay, launch: Launch) -> None:
    launch("seal_days")
    day.archive.delete(seal_key(1))
    result = launch("seal_days")
    [failed] = [event for event in result.all_node_events if event.event_type_value == "STEP_FAILURE"]
    user_failure = failed.step_failure_data.user_failure_data
    assert (
        not result.success and user_failure is not None and "seal-000001.txt is gone" in str(user_failure.description)
    )


def test_the_asset_archive_shows_the_head_of_the_chain(day: FakeDay, launch: Launch) -> None:
    launch("seal_days")
    result = launch("standing_checks_job")
    [materialized] = result.asset_materializations_for_node("archive")
    metadata = {name: value.value for name, value in materialized.metadata.items()}
    assert metadata["head of the seal chain"] == describe_head(day.open().store, day.clock)
    assert metadata["last sealed day"] == str(DAY)
