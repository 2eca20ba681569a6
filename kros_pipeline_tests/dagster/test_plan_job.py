"""The job `plan_days` and its schedule: the plan is shown before anything is moved, and nobody has to click for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

import kros_pipeline.steps.run_context
from kros_pipeline.archive.plan_note import read_plan_note
from kros_pipeline.core.object_keys import PLAN, quota_key
from kros_pipeline.definitions import defs
from kros_pipeline.sandbox import SandboxConfig
from kros_pipeline.steps.run_context import RunContext, open_run_context
from kros_pipeline_tests.operations.test_backlog import checked
from kros_pipeline_tests.support.accounts import Account, MakeAccount
from kros_pipeline_tests.support.memory_store import open_memory_archive
from kros_pipeline_tests.support.steps import find_backlog

NOW = datetime(2025, 1, 12, 10, 40, tzinfo=UTC)
FIRST, LAST = date(2025, 1, 5), date(2025, 1, 11)  # the free plan keeps 7 days
CALLS = {"2025-01-05": 3, "2025-01-06": 120, "2025-01-07": 2, "2025-01-08": 5, "2025-01-10": 8, "2025-01-11": 4}
CONFIG = SandboxConfig(days=CALLS, variety=False, audio_seconds=(12, 20), idempotency=False)
Launch = Callable[..., dg.ExecuteInProcessResult]


@pytest.fixture
def our(memory_account: MakeAccount, monkeypatch: pytest.MonkeyPatch) -> Account:
    our = memory_account(CONFIG, now=NOW, KROSAI_PLAN="free", KROS_START_DATE="2024-12-20")

    def opened(texts: Any) -> RunContext:
        return open_run_context(texts, clock=our.clock, open_archive=open_memory_archive)

    monkeypatch.setattr(kros_pipeline.steps.run_context, "open_run_context", opened)
    for name, value in our.environment.items():
        monkeypatch.setenv(name, value)
    return our


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:  # a schedule refuses an ephemeral one
        yield instance


@pytest.fixture
def launch() -> Launch:
    def run(**config: str) -> dg.ExecuteInProcessResult:
        ops = {"ops": {"count_and_estimate": {"config": config}}}
        with dg.DagsterInstance.ephemeral() as instance:
            return defs().resolve_job_def("plan_days").execute_in_process(ops, instance=instance, raise_on_error=False)

    return run


def shown(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    [output] = [event for event in result.all_node_events if event.event_type_value == "STEP_OUTPUT"]
    return {name: value.value for name, value in output.step_output_data.metadata.items()}


def rows(result: dg.ExecuteInProcessResult) -> list[dict[str, Any]]:
    [output] = [event for event in result.all_node_events if event.event_type_value == "STEP_OUTPUT"]
    table: Any = output.step_output_data.metadata["plan"]
    return [dict(record.data) for record in table.records]


def tick(name: str, instance: dg.DagsterInstance, now: datetime = NOW) -> dg.ScheduleExecutionData:
    with dg.build_schedule_context(
        instance,
        scheduled_execution_time=now,
        resources=defs().resources,
        repository_def=defs().get_repository_def(),
    ) as context:
        return defs().resolve_schedule_def(name).evaluate_tick(context)


def test_the_plan_has_a_row_for_each_owed_day_and_totals_and_moves_nothing(our: Account, launch: Launch) -> None:
    result = launch()
    assert result.success
    totals, planned = shown(result), rows(result)
    assert [row["day"] for row in planned] == [str(FIRST + timedelta(days=number)) for number in range(7)]
    assert [row["calls"] for row in planned] == [3, 120, 2, 5, 0, 8, 4]
    assert (totals["days"], totals["calls"]) == (7, 142)
    assert totals["API requests"] == sum(row["API requests"] for row in planned)
    assert totals["audio minutes"] > 10 and 0 < totals["GB"] < 1 and totals["hours"] == 3.0 - 1
    assert totals["ends at"] == "2025-01-12 12:40 UTC, by the hourly schedule"
    assert "the archive has no past" in totals["estimated from"] and "USD" in totals["cost"]
    assert our.requests() == {"list": totals["API requests of this plan"]} and our.requests()["list"] <= 7
    assert our.archive.objects() == {}, "an archive that is nobody's yet is not written"


def test_a_day_that_is_deleted_before_its_turn_is_named_with_what_to_do(our: Account, launch: Launch) -> None:
    result = launch()
    first, totals = rows(result)[0], shown(result)
    assert first["deleted upstream on"] == "2025-01-12" and not first["in time"], "it is being deleted today"
    assert totals["days deleted before their turn"] == 1
    assert (
        "upstream deletes recordings of 1 days before their turn: 2025-01-05. Launch a backfill" in totals["what to do"]
    )


def test_an_archive_of_this_account_keeps_the_plan_for_the_order_of_its_backlog(our: Account, launch: Launch) -> None:
    our.ctx.identity.claim()
    our.ctx.identity.check()
    before = our.archive.objects()
    launch()
    assert set(our.archive.objects()) - set(before) == {PLAN, quota_key(NOW.date())}
    note = read_plan_note(our.ctx.store)
    assert note is not None and note.late_days == {FIRST} and note.made_at == NOW
    launch(first_day="2025-01-08", last_day="2025-01-09")
    assert read_plan_note(our.ctx.store) == note, "a plan of some other range is no plan of the backlog"


def test_a_range_is_planned_whatever_is_owed_of_it(our: Account, launch: Launch) -> None:
    result = launch(first_day="2025-01-08", last_day="2025-01-10")
    assert [(row["day"], row["calls"]) for row in rows(result)] == [
        ("2025-01-08", 5), ("2025-01-09", 0), ("2025-01-10", 8),
    ]  # fmt: skip
    assert rows(launch(first_day="2025-01-11"))[0]["calls"] == 4


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"first_day": "soon"}, "write them like 2025-01-10"),
        ({"first_day": "2024-12-01"}, "is not between 2024-12-20 (KROS_START_DATE) and 2025-01-11"),
    ],
)
def test_a_bad_range_is_refused_before_anything_is_asked(
    our: Account, launch: Launch, config: dict[str, str], words: str
) -> None:
    result = launch(**config)
    [failed] = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert failed.user_failure_data and words in str(failed.user_failure_data.description)
    assert our.requests() == {}


def test_the_archives_own_past_is_used_where_there_is_one(our: Account, launch: Launch) -> None:
    our.run_day(date(2025, 1, 10))
    totals = shown(launch(first_day="2025-01-06", last_day="2025-01-06"))
    assert "as in the archive's last 1 complete days" in totals["estimated from"]


def test_the_launchpad_opens_without_resource_settings() -> None:
    job = defs().resolve_job_def("plan_days")
    assert job.run_config == {"ops": {"count_and_estimate": {"config": {"first_day": "", "last_day": ""}}}}
    [op] = job.all_node_defs
    assert isinstance(op, dg.OpDefinition) and op.pool == "krosai"


# The first hours of a new account.


def test_a_new_account_is_planned_before_its_first_day_is_moved_and_nobody_clicks(
    our: Account, instance: dg.DagsterInstance
) -> None:
    skipped = tick("owed_days_schedule", instance)
    assert not skipped.run_requests
    assert str(skipped.skip_message).startswith("The archive is new, and 7 days are owed: plan_days_schedule has them")
    requested = tick("plan_days_schedule", instance).run_requests or []
    assert [request.partition_key for request in requested] == [None]
    instance.add_run(dg.DagsterRun("plan_days", status=dg.DagsterRunStatus.SUCCESS))
    assert not tick("plan_days_schedule", instance).run_requests
    requests = tick("owed_days_schedule", instance).run_requests or ()
    assert [one.partition_key for one in requests] == ["2025-01-05", "2025-01-06", "2025-01-07"]


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED])
def test_a_plan_that_failed_keeps_no_day_waiting(
    our: Account, instance: dg.DagsterInstance, status: dg.DagsterRunStatus
) -> None:
    instance.add_run(dg.DagsterRun("plan_days", status=status))
    assert tick("owed_days_schedule", instance).run_requests


def test_an_archive_that_has_days_does_not_wait_and_a_large_backlog_is_planned_once_a_day(
    our: Account, instance: dg.DagsterInstance, launch: Launch
) -> None:
    our.ctx.identity.claim()
    our.ctx.identity.check()
    assert tick("owed_days_schedule", instance).run_requests
    assert tick("plan_days_schedule", instance).run_requests
    launch()
    with dg.instance_for_test() as other:  # Dagster's database was lost: the archive has the plan
        assert not tick("plan_days_schedule", other).run_requests
        later = NOW + timedelta(hours=25)
        our.now = later
        assert tick("plan_days_schedule", other, later).run_requests


def test_a_small_backlog_is_not_planned_and_does_not_wait(
    our: Account, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KROS_START_DATE", "2025-01-09")
    assert "small" in str(tick("plan_days_schedule", instance).skip_message)
    assert len(tick("owed_days_schedule", instance).run_requests or ()) == 3


def test_a_look_for_a_large_backlog_reads_no_day(our: Account, instance: dg.DagsterInstance) -> None:
    our.ctx.identity.claim()
    for number in range(7):
        checked(our.ctx, FIRST + timedelta(days=number), "incomplete", NOW)
    before = our.ctx.store.requests_made
    assert "small" in str(tick("plan_days_schedule", instance).skip_message)
    assert our.ctx.store.requests_made - before <= 4  # is the archive ours, the last plan, and one listing


# The order under pressure.


def test_while_the_plan_has_late_days_a_failed_day_has_its_turn_by_its_deletion_and_once_in_20_hours(
    our: Account,
) -> None:
    from kros_pipeline.operations import backlog

    checked(our.ctx, date(2025, 1, 6), "incomplete", NOW - timedelta(hours=2))
    checked(our.ctx, date(2025, 1, 7), "incomplete", NOW - timedelta(hours=21))
    usual = [date(2025, 1, day) for day in (5, 8, 7, 9, 10, 6, 11)]
    assert find_backlog(our.ctx, FIRST, LAST) == usual

    def ordered(*late: date) -> list[date]:
        return list(
            backlog.find_backlog(
                FIRST,
                LAST,
                store=our.ctx.store,
                tables=our.ctx.tables,
                clock=our.clock,
                retention_days=7,
                lookback_days=3,
                late_days=late,
            )
        )

    assert ordered(date(2025, 1, 9)) == [date(2025, 1, day) for day in (5, 7, 8, 9, 10, 11, 6)]
    assert ordered(date(2024, 12, 25)) == usual, "a late day that is not owed any more presses nobody"
