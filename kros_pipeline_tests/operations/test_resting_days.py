"""Days that rest: they wait for late data or a second answer, and looking at them every hour would change nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from kros_pipeline.core.next_look import NextLook
from kros_pipeline.core.object_keys import table_key, table_versions_key
from kros_pipeline.core.schemas import TABLES
from kros_pipeline_tests.operations.test_backlog import NOW, checked
from kros_pipeline_tests.support.accounts import AFTER_GRACE, DAY, PLAIN, WITHIN_GRACE, Account, MakeAccount
from kros_pipeline_tests.support.steps import check_health, find_backlog

SECOND = timedelta(seconds=1)
SILENT = replace(PLAIN, days={"2025-01-10": 3}, audio_seconds=(12, 14), late_share=1.0)
GRACE_ENDS = datetime(2025, 1, 14, tzinfo=UTC)


def for_second_answers(at: datetime) -> NextLook:
    return NextLook(at, is_for_second_answers=True)


def is_due(our: Account) -> bool:
    return find_backlog(our.ctx, DAY, DAY) == [DAY]


# The order.


def test_second_looks_come_after_all_other_days_and_not_before_their_time(memory_account: MakeAccount) -> None:
    our = memory_account(now=NOW)
    first, last = date(2025, 1, 1), date(2025, 1, 8)
    checked(our.ctx, date(2025, 1, 1), "waiting", NOW, next_look=for_second_answers(NOW))
    checked(our.ctx, date(2025, 1, 2), "waiting", NOW, next_look=for_second_answers(NOW + SECOND))
    checked(our.ctx, date(2025, 1, 3), "incomplete", NOW)
    checked(our.ctx, date(2025, 1, 4), "waiting", NOW, next_look=for_second_answers(NOW - timedelta(days=3)))
    checked(our.ctx, date(2025, 1, 5), "waiting", NOW)
    checked(our.ctx, date(2025, 1, 6), "complete", NOW)
    assert find_backlog(our.ctx, first, last) == [date(2025, 1, day) for day in (5, 7, 3, 8, 1, 4)]
    our.now += SECOND
    assert find_backlog(our.ctx, first, last) == [date(2025, 1, day) for day in (5, 7, 3, 8, 1, 2, 4)]


def test_second_looks_come_in_normal_order_once_the_last_chance_begins(memory_account: MakeAccount) -> None:
    begins = datetime(2025, 4, 8, tzinfo=UTC)  # upstream keeps the day for 90 days
    our = memory_account(now=begins - SECOND)
    tomorrow = DAY + timedelta(days=1)
    checked(our.ctx, DAY, "waiting", begins - SECOND, next_look=for_second_answers(begins - timedelta(hours=1)))
    assert find_backlog(our.ctx, DAY, tomorrow) == [tomorrow, DAY]
    our.now = begins
    assert find_backlog(our.ctx, DAY, tomorrow) == [DAY, tomorrow]


# Within the grace days.


@pytest.mark.parametrize(
    ("now", "due_at"),
    [
        (WITHIN_GRACE, WITHIN_GRACE + timedelta(hours=20)),
        (GRACE_ENDS - timedelta(hours=6), GRACE_ENDS),
    ],
    ids=["for 20 hours", "until the grace days end"],
)
@pytest.mark.parametrize("late_share", [0.0, 1.0], ids=["complete", "waiting"])
def test_a_day_within_its_grace_days_rests_after_each_look(
    memory_account: MakeAccount, late_share: float, now: datetime, due_at: datetime
) -> None:
    our = memory_account(replace(SILENT, late_share=late_share), now=now)
    assert our.run_day().verdict.verdict == ("waiting" if late_share else "complete")
    assert not is_due(our)
    our.now = due_at - SECOND
    assert not is_due(our)
    our.now = due_at
    assert is_due(our)


# After them.


@pytest.fixture
def our(memory_account: MakeAccount) -> Account:
    """An account whose day rests until second answers are due, 20 hours later."""
    our = memory_account(SILENT, now=AFTER_GRACE)
    assert our.run_day().verdict.verdict == "waiting"
    assert not is_due(our)
    return our


DUE_AT = AFTER_GRACE + timedelta(hours=20)


def test_a_day_that_waits_for_second_answers_is_due_when_they_are_and_then_settled(our: Account) -> None:
    our.now = DUE_AT - SECOND
    assert not is_due(our)
    our.now = DUE_AT
    assert is_due(our)
    assert our.run_day().verdict.verdict == "complete"
    our.now += timedelta(days=30)
    assert not is_due(our)


@pytest.mark.parametrize("table", sorted(TABLES))
@pytest.mark.parametrize("is_deleted", [True, False], ids=["deleted", "replaced"])
def test_a_resting_day_whose_tables_change_is_due_at_once(our: Account, table: str, is_deleted: bool) -> None:
    key = table_key(table, DAY)
    if is_deleted:
        our.archive.delete(key)
    else:
        our.archive.write(key, our.archive.read(key))
    assert is_due(our)


@pytest.mark.parametrize(
    "next_look",
    [
        None,
        "2025-01-20T20:00:00+00:00",
        [],
        {},
        {"at": "2025-01-20T20:00:00+00:00"},
        {"at": "soon", "is_for_second_answers": True},
        {"at": None, "is_for_second_answers": True},
        {"at": 5, "is_for_second_answers": True},
        {"at": "2025-01-20T20:00:00+00:00", "is_for_second_answers": "yes"},
    ],
    ids=str,
)
def test_a_day_whose_next_look_cannot_be_read_is_due_at_once(our: Account, next_look: Any) -> None:
    key = table_versions_key(DAY)
    stored = our.archive.json(key)
    assert stored["next_look"] == {"at": "2025-01-20T20:00:00+00:00", "is_for_second_answers": True}
    our.archive.write(key, json.dumps(stored | {"next_look": next_look}).encode())
    assert is_due(our)


def test_a_waiting_day_that_an_older_version_checked_does_not_rest(our: Account) -> None:
    key = table_versions_key(DAY)
    our.archive.write(key, json.dumps({"versions": our.archive.json(key)["versions"]}).encode())
    assert is_due(our)


@pytest.mark.parametrize("now", [WITHIN_GRACE, AFTER_GRACE], ids=["within grace", "after grace"])
def test_a_day_whose_run_had_too_few_requests_is_due_at_once(memory_account: MakeAccount, now: datetime) -> None:
    our = memory_account(SILENT, now=now)
    found = our.run_day(KROSAI_REQUESTS_PER_RUN="5")
    assert found.verdict.verdict == "waiting" and "budget" in str(our.reports["fetch_transcripts"].error)
    assert is_due(our)


# Health.


def test_health_calls_a_resting_day_overdue_a_day_after_its_next_look(our: Account) -> None:
    overdue = f"{DAY} is still waiting, a day after its grace days: "
    for now in (AFTER_GRACE, DUE_AT, DUE_AT + timedelta(days=1) - SECOND):
        our.now = now
        assert check_health(our.ctx, DAY, DAY).days == []
    our.now = DUE_AT + timedelta(days=1)
    [sentence] = check_health(our.ctx, DAY, DAY).days
    assert sentence.startswith(overdue)


def test_health_calls_a_waiting_day_that_does_not_rest_overdue_at_once(memory_account: MakeAccount) -> None:
    our = memory_account(SILENT, now=AFTER_GRACE)
    our.run_day(KROSAI_REQUESTS_PER_RUN="5")
    [sentence] = check_health(our.ctx, DAY, DAY).days
    assert sentence.startswith(f"{DAY} is still waiting, a day after its grace days: ") and "budget" in sentence
