"""The nightly schedule that takes up settled days, through Dagster."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

import kros_pipeline.steps.run_context
from kros_pipeline.definitions import defs
from kros_pipeline.steps.run_context import RunContext, open_run_context
from kros_pipeline_tests.operations.test_backlog import checked
from kros_pipeline_tests.support.accounts import DAY, Account, MakeAccount
from kros_pipeline_tests.support.memory_store import open_memory_archive

NIGHT = datetime(2025, 3, 1, 5, 20, tzinfo=UTC)


def tick(our: Account, monkeypatch: pytest.MonkeyPatch, *, under_way: str = "") -> dg.ScheduleExecutionData:
    def opened_at(texts: Any) -> RunContext:
        return open_run_context(texts, clock=our.clock, open_archive=open_memory_archive)

    monkeypatch.setattr(kros_pipeline.steps.run_context, "open_run_context", opened_at)
    for name, value in our.environment.items():
        monkeypatch.setenv(name, value)
    with (
        dg.instance_for_test() as instance,
        dg.build_schedule_context(
            instance,
            scheduled_execution_time=NIGHT,
            resources=defs().resources,
            repository_def=defs().get_repository_def(),
        ) as context,
    ):
        if under_way:
            tags = {"dagster/partition": under_way}
            instance.add_run(dg.DagsterRun("daily_archive", status=dg.DagsterRunStatus.STARTED, tags=tags))
        return defs().resolve_schedule_def("settled_days_schedule").evaluate_tick(context)


@pytest.fixture
def our(memory_account: MakeAccount) -> Account:
    """An account with 48 days: two have their turn each night."""
    our = memory_account(now=NIGHT, KROS_START_DATE=str(DAY))
    our.ctx.identity.claim()
    return our


def settle(our: Account, checked_at: datetime) -> None:
    for number in range(48):
        checked(our.ctx, DAY + timedelta(days=number), "complete", checked_at)


def test_it_runs_every_night_by_itself_and_launches_daily_archive() -> None:
    schedule = defs().resolve_schedule_def("settled_days_schedule")
    assert schedule.job_name == "daily_archive" and schedule.cron_schedule == "20 5 * * *"
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING


def test_a_night_asks_for_the_settled_days_whose_turn_it_is(our: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(our, datetime(2025, 1, 31, tzinfo=UTC))
    requests = tick(our, monkeypatch).run_requests or ()
    assert [request.partition_key for request in requests] == ["2025-01-10", "2025-01-11"]
    assert {request.tags["kros/reason"] for request in requests} == {"listed-anew"}
    assert [request.run_key for request in requests] == ["2025-01-10 2025-03-01T05:20", "2025-01-11 2025-03-01T05:20"]
    requests = tick(our, monkeypatch, under_way="2025-01-10").run_requests or ()
    assert [request.partition_key for request in requests] == ["2025-01-11", "2025-01-12"]


def test_a_night_without_such_a_day_is_skipped_with_a_sentence(our: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(our, NIGHT)
    data = tick(our, monkeypatch)
    assert not data.run_requests and data.skip_message == "No settled day has its turn tonight."
