"""Events are asked for once a call, within their own budget; they never move the verdict, and erasure covers them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from kros_pipeline.core.errors import ApiServerError, CallNotFound, TooManyRequests
from kros_pipeline.core.object_keys import table_key
from kros_pipeline.operations.erasure_request import ErasureRequest
from kros_pipeline.source.call_source import CallEvent
from kros_pipeline_tests.support.accounts import DAY, PLAIN, WITHIN_GRACE, Account, MakeAccount
from kros_pipeline_tests.support.fake_days import FakeDay
from kros_pipeline_tests.support.steps import erase_calls, fetch_call_events, find_backlog

KEY = "a key of the tests, long enough for them"


@pytest.fixture
def our(memory_account: MakeAccount) -> Account:
    our = memory_account()
    our.run_day()
    return our


def test_every_call_is_asked_for_once_and_has_its_events_in_order(our: Account) -> None:
    before = our.requests().get("events", 0)
    report = fetch_call_events(our.ctx, DAY)
    calls = our.archive.by_call("calls", DAY)
    rows = our.archive.table("call_events", DAY)
    assert report.counts == {"asked": len(calls), "without_events": 0, "left": 0}
    assert our.requests()["events"] - before == len(calls) == 8
    assert {row["call_id"] for row in rows} == calls.keys()
    assert [(row["call_id"], row["event_index"]) for row in rows] == sorted(
        (call_id, index) for call_id in calls for index in range(3)
    )
    for row in rows:
        if row["event"] == "hangup":
            assert row["occurred_at"] == calls[row["call_id"]]["completed_at"]
            assert row["hangup_cause"] in ("normal_clearing", "user_hangup", "agent_hangup")
        else:
            assert row["hangup_cause"] is None
    bytes_before = our.archive.objects("tables/call_events/")
    assert fetch_call_events(our.ctx, DAY).counts["asked"] == 0
    assert our.archive.objects("tables/call_events/") == bytes_before


def test_the_budget_is_a_tenth_of_the_plans_day_and_the_next_run_goes_on(our: Account) -> None:
    assert fetch_call_events(our.ctx, DAY, requests_per_day=35).counts == {"asked": 3, "without_events": 0, "left": 5}
    assert fetch_call_events(our.ctx, DAY, requests_per_day=35).counts["left"] == 2
    assert fetch_call_events(our.ctx, DAY, requests_per_day=35).counts == {"asked": 2, "without_events": 0, "left": 0}
    assert len({row["call_id"] for row in our.archive.table("call_events", DAY)}) == 8


def test_a_day_is_settled_without_its_events(our: Account) -> None:
    assert find_backlog(our.ctx, DAY, DAY) == []
    fetch_call_events(our.ctx, DAY, requests_per_day=10)
    assert find_backlog(our.ctx, DAY, DAY) == []
    our.archive.delete(table_key("call_events", DAY))
    assert find_backlog(our.ctx, DAY, DAY) == []
    assert our.run_day().verdict.verdict == "complete"


def test_an_erased_call_has_no_events_and_none_comes_back(our: Account) -> None:
    fetch_call_events(our.ctx, DAY)
    call_id = our.archive.table("calls", DAY)[0]["call_id"]
    ctx = our.open(KROS_ERASURE_KEY=KEY)
    erase_calls(ctx, ErasureRequest(call_ids=(call_id,), phone_number="", reason="asked for", delete_upstream=False))
    assert call_id not in {row["call_id"] for row in our.archive.table("call_events", DAY)}
    fetch_call_events(ctx, DAY)
    ids = {row["call_id"] for row in our.archive.table("call_events", DAY)}
    assert call_id not in ids and len(ids) == 7


def test_a_run_that_is_terminated_interrupts_the_threads_that_ask(
    our: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted = list[bool]()

    def end_run(call_id: str) -> list[CallEvent]:
        raise KeyboardInterrupt

    monkeypatch.setattr(our.ctx.source, "events", end_run)
    our.ctx.clock = replace(our.ctx.clock, interrupt=lambda: interrupted.append(True))
    with pytest.raises(KeyboardInterrupt):
        fetch_call_events(our.ctx, DAY)
    assert interrupted


def test_an_empty_day_has_an_empty_table(memory_account: MakeAccount) -> None:
    our = memory_account(replace(PLAIN, days={f"{DAY + timedelta(days=1)}": 1}))
    our.run_day()
    assert fetch_call_events(our.ctx, DAY).counts == {"asked": 0, "without_events": 0, "left": 0}
    assert table_key("call_events", DAY) in our.archive.objects() and our.archive.table("call_events", DAY) == []


@pytest.fixture
def day() -> Iterator[FakeDay]:
    """A day of three calls whose source a test changes."""
    made = FakeDay(dict.fromkeys("abc", b""), now=WITHIN_GRACE)
    made.run()
    yield made
    made.archive.forget()


def test_a_call_without_events_is_asked_for_once_more_after_the_grace_days(
    day: FakeDay, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def events(call_id: str) -> list[CallEvent]:
        asked.append(call_id)
        if call_id == "a":
            raise CallNotFound("status 404")
        return [] if call_id == "b" and len(asked) < 4 else [CallEvent("hangup", None, "busy", None)]

    monkeypatch.setattr(day.source, "events", events)
    assert fetch_call_events(day.open(), DAY).counts == {"asked": 3, "without_events": 2, "left": 0}
    fetch_call_events(day.open(), DAY)
    assert sorted(asked) == ["a", "b", "c"]  # within the grace days: once
    day.now += timedelta(days=10)
    fetch_call_events(day.open(), DAY)
    fetch_call_events(day.open(), DAY)
    assert sorted(asked) == ["a", "a", "b", "b", "c"]
    rows = {row["call_id"]: row["event"] for row in day.archive.table("call_events", DAY)}
    assert rows == {"a": None, "b": "hangup", "c": "hangup"}


@pytest.mark.parametrize("error", [TooManyRequests("quota"), ApiServerError("status 500")])
def test_what_upstream_did_not_answer_is_asked_for_by_the_next_run(
    day: FakeDay, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = day.source.events

    def events(call_id: str) -> list[CallEvent]:
        if call_id == "b":
            raise error
        return answer(call_id)

    monkeypatch.setattr(day.source, "events", events)
    report = fetch_call_events(day.open(), DAY)
    assert report.counts["left"] >= 1
    assert "b" not in {row["call_id"] for row in day.archive.table("call_events", DAY)}
    monkeypatch.undo()
    assert fetch_call_events(day.open(), DAY).counts["left"] == 0
    assert {row["call_id"] for row in day.archive.table("call_events", DAY)} == {"a", "b", "c"}
