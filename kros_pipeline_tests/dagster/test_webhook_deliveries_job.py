"""The job that reads webhook deliveries, through Dagster: what it shows, and when it fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest

import kros_pipeline.steps.run_context
from kros_pipeline.definitions import defs
from kros_pipeline.sandbox import Fault, Faults
from kros_pipeline.steps.run_context import RunContext, open_run_context
from kros_pipeline_tests.support.accounts import DAY, PLAIN, Account, MakeAccount
from kros_pipeline_tests.support.memory_store import open_memory_archive
from kros_pipeline_tests.support.steps import find_backlog

NIGHT = datetime(2025, 1, 20, 3, 30, tzinfo=UTC)
Launch = Callable[[Account], dg.ExecuteInProcessResult]


@pytest.fixture
def launch(monkeypatch: pytest.MonkeyPatch) -> Launch:
    def run(our: Account) -> dg.ExecuteInProcessResult:
        def opened(texts: Any) -> RunContext:
            return open_run_context(texts, clock=our.clock, open_archive=open_memory_archive)

        monkeypatch.setattr(kros_pipeline.steps.run_context, "open_run_context", opened)
        for name, value in our.environment.items():
            monkeypatch.setenv(name, value)
        with dg.DagsterInstance.ephemeral() as instance:
            job = defs().resolve_job_def("read_webhook_deliveries")
            return job.execute_in_process(instance=instance, raise_on_error=False)

    return run


def shown(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    [output] = [event for event in result.all_node_events if event.event_type_value == "STEP_OUTPUT"]
    return {name: value.value for name, value in output.step_output_data.metadata.items()}


def open_account(memory_account: MakeAccount, *, webhook: bool) -> Account:
    our = memory_account(replace(PLAIN, webhook=webhook), now=NIGHT, fresh=True, KROS_START_DATE=str(DAY))
    our.run_day()
    return our


def test_it_runs_every_night_by_itself_and_shares_the_pool() -> None:
    schedule = defs().resolve_schedule_def("webhook_deliveries_schedule")
    assert (schedule.job_name, schedule.cron_schedule) == ("read_webhook_deliveries", "30 3 * * *")
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    [op] = defs().resolve_job_def("read_webhook_deliveries").all_node_defs
    assert isinstance(op, dg.OpDefinition) and op.pool == "krosai"


def test_it_shows_what_it_read_and_makes_the_day_owed(memory_account: MakeAccount, launch: Launch) -> None:
    our = open_account(memory_account, webhook=True)
    call_id = our.krosai.add_call(f"{DAY}T12:00:00Z")
    result = launch(our)
    assert result.success
    assert {name: value for name, value in shown(result).items() if name != "deliveries read"} == {
        "webhook deliveries": "offered",
        "deliveries that cannot be read": 0,
        "calls named": 15,
        "calls in no table": 1,
        "calls of days that were not listed yet": 3,  # of the day after; the day before is before the first partition
        "days owed": str(DAY),
        "API requests": 1 + (shown(result)["deliveries read"] - 1) // 100,
    }
    assert call_id not in str(result.all_events)
    assert find_backlog(our.ctx, DAY, DAY) == [DAY]


def test_an_account_without_a_webhook_is_no_failure(memory_account: MakeAccount, launch: Launch) -> None:
    our = open_account(memory_account, webhook=False)
    our.krosai.reset_counters()
    result = launch(our)
    assert result.success and our.requests() == {"deliveries": 1}
    metadata = shown(result)
    assert metadata["webhook deliveries"].startswith("not offered: GET /webhook-deliveries: status 404")
    assert (metadata["days owed"], metadata["API requests"]) == ("none", 1)


def test_a_rate_limit_is_no_failure_and_an_error_says_what_happens_next(
    memory_account: MakeAccount, launch: Launch
) -> None:
    our = open_account(memory_account, webhook=True)
    our.krosai.set_faults(Faults(api_rate_limited=Fault(routes=("deliveries",), value="3600")))
    result = launch(our)
    assert result.success and "3,600 seconds" in shown(result)["ended early"]
    our.krosai.set_faults(Faults(api_error=Fault(routes=("deliveries",), value=503)))
    result = launch(our)
    [event] = [event for event in result.all_events if event.is_step_failure]
    said = str(event.step_failure_data.user_failure_data.description)  # type: ignore[union-attr]
    assert not result.success and "status 503" in said and "the next night's run reads the deliveries again" in said


def test_deliveries_that_cannot_be_read_are_counted_by_their_problem(
    memory_account: MakeAccount, launch: Launch
) -> None:
    our = open_account(memory_account, webhook=True)
    our.krosai.change_config(webhook_payload="detail")
    our.krosai.set_faults(Faults(api_error=Fault(routes=("delivery",), value=404)))
    metadata = shown(launch(our))
    count = metadata["deliveries that cannot be read"]
    assert 0 < count < metadata["deliveries read"]  # those of the day before are too old to be asked for
    assert metadata["what cannot be read"].startswith(f"{count} × GET /webhook-deliveries/{{id}}: status 404")
