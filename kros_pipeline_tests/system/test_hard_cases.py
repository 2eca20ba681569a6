"""What an archive meets in the long run: slow doors, runs that overtake each other, days that cannot be mended."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from kros_pipeline.core import schemas
from kros_pipeline.core.days import end_of, start_of
from kros_pipeline.core.errors import ObjectExists, RequestRefused
from kros_pipeline.core.statuses import ExtensionStatus
from kros_pipeline.operations.backlog import find_backlog
from kros_pipeline.sandbox import Fault, Faults
from kros_pipeline.source.call_parsing import without_urls
from kros_pipeline.source.krosai import KrosAI, Page, Window
from kros_pipeline.source.plans import PLANS
from kros_pipeline.source.rate_limiter import RateLimiter
from kros_pipeline.steps.reconciliation import reconcile_day
from kros_pipeline.steps.recording_archiver import merged
from kros_pipeline_tests.operations.test_backlog import NOW, checked
from kros_pipeline_tests.support.accounts import AFTER_GRACE, DAY, PLAIN, WITHIN_GRACE, MakeAccount

WINDOW = Window(start_of(DAY), end_of(DAY))


def rules(tmp_path: Any, **days: int) -> str:
    """A rules file in which every rule flags every call."""
    path = tmp_path / "rules.yaml"
    path.write_text(json.dumps({"rules": [{"id": name, "extend_days": count} for name, count in days.items()]}))
    return str(path)


# The list.


class Refusing:
    """A server that refuses a page behind the end, as some do where others show an empty one."""

    def __init__(self, total: int):
        self.total = total
        self.asked: list[int] = []

    def list_page(self, window: Window, offset: int, page_number: int) -> Page:
        self.asked.append(offset)
        if offset >= self.total:
            raise RequestRefused("status 404")
        return dataclasses.replace(
            Page([], [], self.total, 100), unparsed=[row(n) for n in range(offset, min(offset + 100, self.total))]
        )


def row(number: int) -> Any:
    from kros_pipeline.source.krosai import UnparsedRow

    return UnparsedRow(f"call_{number}", None, "{}", "for the pager every row is alike")


@pytest.mark.parametrize("total", [100, 200])
def test_a_refused_page_behind_the_end_is_the_end(total: int) -> None:
    server: Any = Refusing(total)
    assert sum(page.row_count for page in KrosAI.pages(server, WINDOW)) == total
    assert server.asked[-1] == total


def test_a_refusal_before_the_end_is_told() -> None:
    server: Any = Refusing(0)
    with pytest.raises(RequestRefused):
        list(KrosAI.pages(server, WINDOW))


# The pace. The clock moves only by what is slept.


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_a_server_that_is_slower_than_its_plan_is_asked_at_its_own_pace_to_the_end() -> None:
    clock = Clock()
    rate_limiter = RateLimiter(50, None, lambda: clock.now, clock.sleep)
    tokens, refilled_at, refusals = 1.0, 0.0, 0
    for _ in range(500):
        while True:
            rate_limiter.wait_for_turn()
            tokens, refilled_at = min(1.0, tokens + (clock.now - refilled_at) * 10), clock.now
            if tokens >= 1:
                tokens -= 1
                rate_limiter.on_success()
                break
            refusals += 1
            assert rate_limiter.on_throttled(0.0) < 10, "it looked like a closed door"
    assert refusals < 150, "five times too fast would be refused four times of five"


def test_answers_to_what_was_sent_before_the_door_closed_close_it_no_more() -> None:
    rate_limiter = RateLimiter(50, None, lambda: 0.0, lambda _: None)
    assert [rate_limiter.on_throttled(1.0) for _ in range(32)] == [1] * 32


# Recordings.


def test_a_recording_that_was_listed_and_is_shown_no_more_is_lost_after_the_grace_days_and_waited_for_within(
    account: MakeAccount,
) -> None:
    our = account(PLAIN, now=WITHIN_GRACE, fresh=True)
    [call, *_] = our.krosai.expected_calls(str(DAY))
    our.krosai.set_faults(Faults(storage_missing=Fault(calls=(call["id"],))))
    our.run_day()
    our.krosai.set_faults(Faults())
    our.krosai.delete_recording(call["id"])
    our.now = AFTER_GRACE
    assert our.run_day().verdict.verdict == "incomplete"
    statuses = {line["call_id"]: line["status"] for line in our.ctx.tables.rows(schemas.RECORDINGS, DAY)}
    assert statuses[call["id"]] == "lost"


@pytest.mark.parametrize("known", ["lost", "failed", "refused"])
def test_what_was_found_out_is_not_forgotten_by_a_run_that_had_no_time_to_look(known: str) -> None:
    before = {"status": known, "sha256": None, "attempts": 1}
    after = {"status": "pending", "sha256": None, "attempts": 4}
    assert merged(before, after) is before
    assert merged(after, before) == before | {"attempts": 4}  # attempts that were made stay made


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_url_that_storage_does_not_accept_is_minted_anew(account: MakeAccount, status: int) -> None:
    our = account(PLAIN)
    our.krosai.set_faults(Faults(storage_error=Fault(value=status, attempts=1)))
    assert our.run_day().verdict.verdict == "complete"
    assert our.requests()["recording"] == len(our.krosai.expected_calls(str(DAY)))


# Extensions.


def test_two_wishes_that_the_plan_cuts_to_the_same_days_are_one_request(account: MakeAccount, tmp_path: Any) -> None:
    our = account(PLAIN, KROSAI_PLAN="pro")
    our.run_day(KROS_FLAG_RULES=rules(tmp_path, a=365))
    our.run_day(KROS_FLAG_RULES=rules(tmp_path, a=365, b=400))
    assert set(our.krosai.counters()["extend_requests_by_call"].values()) == {1}
    assert PLANS["pro"].maximum_retention_days == 90


def test_a_call_in_doubt_is_not_extended_by_another_rule(account: MakeAccount, tmp_path: Any) -> None:
    our = account(PLAIN)
    our.krosai.set_faults(Faults(extend_lost=Fault()))
    our.run_day(KROS_FLAG_RULES=rules(tmp_path, b=365))
    our.krosai.set_faults(Faults())
    our.run_day(KROS_FLAG_RULES=rules(tmp_path, a=365, b=365))
    assert set(our.krosai.counters()["extend_requests_by_call"].values()) == {1}
    rows = our.ctx.tables.rows(schemas.RETENTION_EXTENSIONS, DAY)
    assert {line["status"] for line in rows} == {ExtensionStatus.UNCONFIRMED}


def test_doubts_outlive_the_journal_that_they_are_from(account: MakeAccount, tmp_path: Any) -> None:
    our = account(PLAIN)
    our.krosai.set_faults(Faults(extend_lost=Fault()))
    our.run_day(KROS_FLAG_RULES=rules(tmp_path, b=365))
    our.krosai.set_faults(Faults())
    for key in our.archive.objects("state/extensions/"):
        our.archive.delete(key)
    our.run_day(KROS_FLAG_RULES=rules(tmp_path, b=365))
    assert set(our.krosai.counters()["extend_requests_by_call"].values()) == {1}


def test_an_intent_whose_answer_was_lost_is_our_own_and_is_sent(
    account: MakeAccount, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    our = account(PLAIN)
    ctx = our.open(KROS_FLAG_RULES=rules(tmp_path, a=365))
    put: Callable[..., Any] = ctx.store.put

    def put_twice(key: str, body: Any, **how: Any) -> Any:
        version = put(key, body, **how)
        if key.startswith("state/extensions/"):
            raise ObjectExists("as after a repeated request")
        return version

    monkeypatch.setattr(type(ctx.store), "put", lambda _, *args, **kwargs: put_twice(*args, **kwargs))
    our.run_day(KROS_FLAG_RULES=rules(tmp_path, a=365))
    rows = our.ctx.tables.rows(schemas.RETENTION_EXTENSIONS, DAY)
    assert {line["status"] for line in rows} == {ExtensionStatus.EXTENDED}


# Reconciliation.


def test_an_older_look_does_not_overwrite_a_newer_one(account: MakeAccount) -> None:
    our = account(PLAIN)
    our.run_day()
    later, earlier = AFTER_GRACE + timedelta(hours=2), AFTER_GRACE + timedelta(hours=1)
    our.now = later
    our.archive.delete(min(our.archive.objects("audio/")))
    assert reconcile_day(our.ctx, DAY).verdict.verdict == "incomplete"
    our.now = earlier
    reconcile_day(our.ctx, DAY)
    [kept] = our.ctx.tables.rows(schemas.RECONCILIATION, DAY)
    assert kept["checked_at"] == later


def test_a_day_is_not_settled_by_a_list_that_was_read_before_late_calls_could_come(account: MakeAccount) -> None:
    our = account(PLAIN, now=WITHIN_GRACE)
    assert our.run_day().verdict.verdict == "complete"
    our.now = AFTER_GRACE
    alone = reconcile_day(our.ctx, DAY)
    assert (alone.verdict.verdict, len(alone.verdict.problems)) == ("waiting", 1)
    assert "materialize the whole day" in alone.verdict.problems[0]
    assert our.run_day().verdict.verdict == "complete"


# Owed days.


def test_days_that_cannot_be_mended_do_not_keep_others_from_being_archived(account: MakeAccount) -> None:
    our = account(now=NOW)
    bad = [date(2025, 1, day) for day in (1, 2, 3, 4)]
    for hours, day in enumerate(reversed(bad)):
        checked(our.ctx, day, "incomplete", datetime(2025, 1, 19, hours, tzinfo=UTC))
    owed = find_backlog(our.ctx, date(2025, 1, 1), date(2025, 1, 8))
    assert owed == [date(2025, 1, day) for day in (5, 6, 4, 7, 8, 3, 2, 1)]


# Secrets.


@pytest.mark.parametrize(
    "query", ["X-Amz-Signature=s", "sig=s", "a=1&token=s", "Expires=1&Key-Pair-Id=s", "X-Goog-Credential=s"]
)
def test_a_url_that_opens_something_loses_its_query_whatever_its_field_is_called(query: str) -> None:
    assert without_urls({"link": f"https://cdn.example/a.mp3?{query}"}) == {"link": "https://cdn.example/a.mp3"}


def test_an_ordinary_link_stays_as_it_is() -> None:
    assert without_urls({"crm": "https://crm.example/contact?id=5"}) == {"crm": "https://crm.example/contact?id=5"}
