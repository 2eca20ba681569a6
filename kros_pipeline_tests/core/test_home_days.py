"""Which day keeps a call whose `created_at` moves, or that two days have."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest

from kros_pipeline.core.calls import Call
from kros_pipeline.core.home_days import HomeDays, find_home_days

DAY = date(2025, 1, 10)
BEFORE, AFTER = DAY - timedelta(days=1), DAY + timedelta(days=1)


def call_on(day: date, call_id: str = "call_a") -> Call:
    at = datetime.combine(day, time(12), UTC)
    values: dict[str, Any] = dict.fromkeys(Call.__dataclass_fields__)
    values |= {"call_id": call_id, "call_date": day, "created_at": at, "has_recording": True, "listed_at": at}
    return Call(**values)


def find(
    archived: Mapping[date, set[str]],
    *,
    listed: date | None = None,
    other: date | None = None,
    may_be_added: bool = True,
) -> HomeDays:
    return find_home_days(
        DAY,
        {"call_a": call_on(DAY)} if listed else {},
        {other: {"call_a": call_on(other)}} if other else {},
        archived=lambda day: frozenset(archived.get(day, ())),
        may_be_added=lambda _: may_be_added,
    )


def test_a_new_call_is_its_days() -> None:
    assert list(find({}, listed=DAY).kept) == ["call_a"]


@pytest.mark.parametrize("home", [BEFORE, AFTER])
def test_a_call_keeps_the_day_that_archived_it_first(home: date) -> None:
    homes = find({home: {"call_a"}}, listed=DAY)
    assert not homes.kept and not homes.added and not homes.removed
    assert homes.updated[home]["call_a"].call_date == home
    assert homes.updated[home]["call_a"].created_at.date() == DAY


@pytest.mark.parametrize("moved_to", [BEFORE, AFTER])
def test_a_call_of_the_day_stays_where_its_time_moves_away(moved_to: date) -> None:
    homes = find({DAY: {"call_a"}}, other=moved_to)
    assert homes.kept["call_a"].call_date == DAY and homes.kept["call_a"].created_at.date() == moved_to
    assert not homes.added


def test_of_two_days_that_have_a_call_the_earlier_keeps_it() -> None:
    later = find({BEFORE: {"call_a"}, DAY: {"call_a"}}, listed=DAY)
    assert later.removed == {"call_a": BEFORE} and not later.kept
    earlier = find({DAY: {"call_a"}, AFTER: {"call_a"}}, listed=DAY)
    assert list(earlier.kept) == ["call_a"] and earlier.doubled == {AFTER} and not earlier.removed


@pytest.mark.parametrize("other", [BEFORE, AFTER])
def test_a_call_of_another_day_is_added_there_or_left_to_its_own_run(other: date) -> None:
    assert find({}, other=other).added[other]["call_a"].call_date == other
    assert not find({}, other=other, may_be_added=False).added
    assert not find({other: {"call_a"}}, other=other).added


@pytest.mark.parametrize(
    ("other", "holder"), [(AFTER, AFTER + timedelta(days=1)), (BEFORE, BEFORE - timedelta(days=1))]
)
def test_a_call_of_another_day_that_a_day_beside_it_keeps_is_not_added(other: date, holder: date) -> None:
    homes = find({holder: {"call_a"}}, other=other)
    assert not homes.added and list(homes.updated) == [holder]
