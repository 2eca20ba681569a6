"""Which day keeps a call whose `created_at` moves, or that two days have."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta

import pytest

from kros_pipeline.core.digest_set import DigestSet, digest_all
from kros_pipeline.core.home_days import find_home_days

DAY = date(2025, 1, 10)
BEFORE, AFTER = DAY - timedelta(days=1), DAY + timedelta(days=1)


def find(archived: Mapping[date, set[str]], created_on: date, *, may_be_added: bool = True) -> date | None:
    """The day that learns of a call that the listing of `DAY` shows with a time of another day, or of its own."""
    [unknown, home] = find_home_days(
        DAY,
        created_on,
        digest_all(["call_of_nobody", "call_a"]),
        archived=lambda day: DigestSet(archived.get(day, ())),
        may_be_added=lambda _: may_be_added,
    )
    assert unknown == (created_on if may_be_added or created_on == DAY else None)  # each call is looked at by itself
    return home


def test_a_new_call_is_its_days() -> None:
    assert find({}, DAY) == DAY
    assert find({DAY: {"call_a"}}, DAY, may_be_added=False) == DAY


@pytest.mark.parametrize("home", [BEFORE, AFTER])
def test_a_call_keeps_the_day_that_archived_it_first(home: date) -> None:
    assert find({home: {"call_a"}}, DAY) == home


@pytest.mark.parametrize("moved_to", [BEFORE, AFTER])
def test_a_call_of_the_day_stays_where_its_time_moves_away(moved_to: date) -> None:
    assert find({DAY: {"call_a"}}, moved_to) == DAY


def test_of_two_days_that_have_a_call_the_earlier_keeps_it() -> None:
    assert find({BEFORE: {"call_a"}, DAY: {"call_a"}}, DAY) == BEFORE
    assert find({DAY: {"call_a"}, AFTER: {"call_a"}}, DAY) == DAY
    assert find({BEFORE: {"call_a"}, DAY: {"call_a"}}, AFTER) == DAY
    assert find({BEFORE: {"call_a"}, DAY: {"call_a"}}, BEFORE) is None


@pytest.mark.parametrize("other", [BEFORE, AFTER])
def test_a_call_of_another_day_is_added_there_or_left_to_its_own_run(other: date) -> None:
    assert find({}, other) == other
    assert find({}, other, may_be_added=False) is None
    assert find({other: {"call_a"}}, other) is None


@pytest.mark.parametrize(
    ("other", "holder"), [(AFTER, AFTER + timedelta(days=1)), (BEFORE, BEFORE - timedelta(days=1))]
)
def test_a_call_of_another_day_that_a_day_beside_it_keeps_is_not_added(other: date, holder: date) -> None:
    assert find({holder: {"call_a"}}, other) == holder
    assert find({holder: {"call_a"}, other: {"call_a"}}, other) is None
