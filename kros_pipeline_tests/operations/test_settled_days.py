"""Settled days are looked at again: a few each night, each of them before upstream deletes it, within a budget."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from kros_pipeline.core import schemas
from kros_pipeline.core.listing import PageSpan
from kros_pipeline.core.object_keys import table_key
from kros_pipeline.operations.day_states import DayState
from kros_pipeline.operations.settled_days import select_days_to_repeat
from kros_pipeline_tests.operations.test_backlog import checked
from kros_pipeline_tests.support.accounts import DAY, VARIED, MakeAccount
from kros_pipeline_tests.support.steps import find_backlog, find_days_to_repeat

TODAY = date(2025, 6, 1)


def state(checked_on: date, calls: int = 0, **changes: Any) -> DayState:
    row = dict.fromkeys(schemas.RECONCILIATION.column_names) | {
        "verdict": "complete", "calls": calls, "listed_total": calls,
        "checked_at": datetime(checked_on.year, checked_on.month, checked_on.day, 5, 20, tzinfo=UTC), **changes,
    }  # fmt: skip
    return DayState(row, is_recorded=True)


def settled_from(first: date, last: date, calls: int = 0) -> dict[date, DayState]:
    """Days that were settled four days after each, and not looked at since."""
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    return {day: state(day + timedelta(days=4), calls) for day in days}


def select(states: dict[date, DayState], **settings: Any) -> list[date]:
    given = {"today": TODAY, "retention_days": None, "lookback_days": 3, "requests_per_day": None} | settings
    return select_days_to_repeat(states, **given)


@pytest.mark.parametrize(("days", "selected"), [(1, 1), (28, 1), (29, 2), (56, 2), (280, 10)])
def test_a_28th_of_the_days_is_selected_the_oldest_first(days: int, selected: int) -> None:
    states = settled_from(TODAY - timedelta(days=days + 40), TODAY - timedelta(days=41))
    assert select(states) == sorted(states)[:selected]


# Night after night: each day has a turn before upstream deletes it, whatever the retention.
@pytest.mark.parametrize(("retention_days", "turns"), [(7, 1), (30, 2), (90, 3), (365, 11)])
def test_each_day_has_its_turns_before_upstream_deletes_it(retention_days: int, turns: int) -> None:
    first = TODAY - timedelta(days=2 * retention_days)
    checks: dict[date, list[date]] = {}
    for night in range(3 * retention_days):
        today = TODAY + timedelta(days=night)
        states = {today - timedelta(days=age): DayState() for age in range(1, retention_days + 1)}
        for day in [day for day in states if day >= first and (today - day).days > 3]:
            states[day] = state(max([day + timedelta(days=4), *checks.get(day, [])]))
        for day in select(states, today=today, retention_days=retention_days):
            checks.setdefault(day, []).append(today)
    whole_life = [TODAY + timedelta(days=number) for number in range(retention_days)]  # days that were seen all along
    for day in whole_life:
        assert len(checks[day]) >= turns, day
        assert max(checks[day]) < day + timedelta(days=retention_days), "after that, it may be gone"
        assert max(checks[day]) >= day + timedelta(days=retention_days - max(2, retention_days // 4)), "near its end"


@pytest.mark.parametrize(
    ("requests_per_day", "calls", "selected"),
    [
        (1_000, 0, 5),  # 5 % of 1,000 are 50 requests: five days of ten
        (1_000, 100, 4),
        (1_000, 101, 4),
        (1_000, 2_000, 1),
        (1_000, 5_000, 0),
        (50_000, 5_000, 10),
        (None, 5_000, 10),
    ],
)
def test_at_most_5_percent_of_the_plans_requests_are_spent(
    requests_per_day: int | None, calls: int, selected: int
) -> None:
    states = settled_from(TODAY - timedelta(days=320), TODAY - timedelta(days=41), calls)
    assert len(select(states, requests_per_day=requests_per_day)) == selected


def test_a_day_that_is_too_large_for_the_budget_leaves_room_for_others() -> None:
    states = settled_from(TODAY - timedelta(days=320), TODAY - timedelta(days=41))
    oldest = min(states)
    states[oldest] = state(oldest, 100_000)
    assert select(states, requests_per_day=1_000) == sorted(states)[1:6]


@pytest.mark.parametrize(
    "other",
    [
        DayState(),
        state(TODAY - timedelta(days=50), verdict="waiting"),
        state(TODAY - timedelta(days=50), verdict="incomplete"),
        state(TODAY - timedelta(days=50), listed_total=None),
        state(TODAY - timedelta(days=59)),  # within its grace days
        state(TODAY - timedelta(days=27)),
        DayState(state(TODAY - timedelta(days=50)).row, is_recorded=False),
        DayState(state(TODAY - timedelta(days=50)).row, deleted=["calls"], is_recorded=True),
    ],
    ids=["never", "waiting", "incomplete", "unproved", "early", "lately", "unrecorded", "changed"],
)
def test_days_that_are_owed_or_were_checked_lately_are_not_selected(other: DayState) -> None:
    day = TODAY - timedelta(days=60)
    assert select({day: state(TODAY - timedelta(days=50))}) == [day]
    assert select({day: other}) == []


def test_days_under_way_and_days_that_may_be_deleted_today_are_not_selected() -> None:
    day = TODAY - timedelta(days=60)
    states = {day: state(TODAY - timedelta(days=50))}
    assert select(states, under_way={day}) == []
    assert select(states, retention_days=60) == [] and select(states, retention_days=61) == [day]


# The archive.


def test_a_call_that_completes_after_the_grace_days_is_archived_at_the_days_next_turn(
    memory_account: MakeAccount,
) -> None:
    our = memory_account(now=datetime(2025, 1, 14, 5, tzinfo=UTC), fresh=True)
    our.run_day()
    late = our.krosai.add_call(f"{DAY}T23:59:00Z")
    assert find_backlog(our.ctx, DAY, DAY) == [] and find_days_to_repeat(our.ctx, DAY, DAY) == []
    our.now = datetime(2025, 2, 10, 5, 20, tzinfo=UTC)
    assert find_backlog(our.ctx, DAY, DAY) == [], "it owes nothing"
    assert find_days_to_repeat(our.ctx, DAY, DAY) == [DAY]
    assert our.run_day().verdict.verdict == "complete"
    assert our.archive.by_call("recordings", DAY)[late]["status"] == "archived"
    assert find_days_to_repeat(our.ctx, DAY, DAY) == []


def test_no_day_is_both_owed_and_repeated(memory_account: MakeAccount) -> None:
    our = memory_account(now=datetime(2025, 3, 1, tzinfo=UTC))
    our.ctx.identity.claim()
    days = [DAY + timedelta(days=number) for number in range(20)]
    for day in days:
        checked(our.ctx, day, "complete", datetime(2025, 2, 2, tzinfo=UTC))
    assert find_days_to_repeat(our.ctx, DAY, days[-1]) == [DAY]
    our.archive.delete(table_key("reconciliation", DAY))
    owed, repeated = find_backlog(our.ctx, DAY, days[-1]), find_days_to_repeat(our.ctx, DAY, days[-1])
    assert owed == [DAY] and repeated == [days[1]]


def test_a_turn_of_one_day_makes_no_neighbour_owed(memory_account: MakeAccount) -> None:
    our = memory_account(replace(VARIED, filter_by="completed_at"), now=datetime(2025, 1, 20, tzinfo=UTC))
    days = [DAY - timedelta(days=1), DAY, DAY + timedelta(days=1)]
    for day in [*days, *days]:
        our.run_day(day)
    assert find_backlog(our.ctx, days[0], days[-1]) == []


@pytest.mark.parametrize(
    ("requests_per_day", "calls", "pages", "looked_at", "selected"),
    [
        (None, 90, None, 0, 10),  # without a quota nothing is to be compared
        (1_000, 0, None, 5, 5),  # 50 requests: nothing fits behind the fifth day
        (1_000, 90, None, 4, 4),  # the 6 requests that are left are too few for any day
        (1_000, 10_000, None, 0, 0),  # by its row, no day fits
        (1_000, 90, PageSpan(1, 400, 100, None), 28, 0),  # by its row each day would, and by its listing none does
    ],
)
def test_listings_are_read_of_days_only_that_may_fit(
    requests_per_day: int | None, calls: int, pages: PageSpan | None, looked_at: int, selected: int
) -> None:
    states = settled_from(TODAY - timedelta(days=320), TODAY - timedelta(days=41), calls)
    asked: list[date] = []

    def find_pages(day: date) -> PageSpan | None:
        asked.append(day)
        return pages

    assert len(select(states, requests_per_day=requests_per_day, find_pages=find_pages)) == selected
    assert len(asked) == looked_at


# A list without a date filter costs two passes over its pages, and one in no order the whole list.
@pytest.mark.parametrize(
    ("pages", "requests"), [(None, 11), (PageSpan(900, 902, 100, True), 26), (PageSpan(1, 400, 100, None), 819)]
)
def test_the_share_of_the_quota_counts_the_pages_of_a_list_without_a_date_filter(
    pages: PageSpan | None, requests: int
) -> None:
    states = settled_from(TODAY - timedelta(days=60), TODAY - timedelta(days=60), calls=90)
    for quota, is_selected in ((requests * 20, True), (requests * 20 - 20, False)):
        assert bool(select(states, requests_per_day=quota, find_pages=lambda _: pages)) is is_selected
