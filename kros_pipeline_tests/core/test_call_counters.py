"""Which differences of upstream's own counters weigh something."""

from __future__ import annotations

import pytest

from kros_pipeline.core.call_counters import CallCounter, CountedDay, find_higher_counters, find_signs_of_silence

COMPLETED = CallCounter("stats.completed_calls", 60, counts_completed=True)
ALL = CallCounter("stats.total_calls", 60, counts_completed=False)


def before(*agrees: bool | None, is_settled: bool = True) -> list[CountedDay | None]:
    """The days before, the nearest first: whether the counter agreed; None where nothing was recorded."""
    return [
        None if agreed is None else CountedDay(40, {COMPLETED.name: 40 if agreed else 44}, is_settled)
        for agreed in agrees
    ]


@pytest.mark.parametrize(
    ("days_before", "is_said"),
    [
        (before(True, True, True), True),
        (before(True, False, True, False, True), True),
        (before(None, True, None, True, True), True),
        (before(True, True), False),
        (before(True, True, False, False, False), False),
        (before(False, False, False, True, True, True, True), False),  # only five days count
        (before(True, True, True, True, True, is_settled=False), False),
        ([CountedDay(40, {}, is_settled=True)] * 5, False),
        ([], False),
    ],
)
def test_a_higher_counter_weighs_something_where_it_agreed_on_three_of_five_settled_days(
    days_before: list[CountedDay | None], *, is_said: bool
) -> None:
    assert bool(list(find_higher_counters([COMPLETED], 58, days_before))) is is_said


@pytest.mark.parametrize(
    ("counter", "calls", "is_said"),
    [(COMPLETED, 59, True), (COMPLETED, 60, False), (COMPLETED, 61, False), (ALL, 59, False)],
)
def test_a_counter_has_to_be_higher_and_named_for_completed_calls(
    counter: CallCounter, calls: int, *, is_said: bool
) -> None:
    days = [CountedDay(40, {COMPLETED.name: 40, ALL.name: 40}, is_settled=True)] * 5
    sentences = list(find_higher_counters([counter], calls, days))
    assert bool(sentences) is is_said
    assert all(f"shows 60 completed calls, and the archive has {calls}" in sentence for sentence in sentences)


@pytest.mark.parametrize("counter", [COMPLETED, ALL])
def test_any_counter_above_zero_is_shown_where_the_list_is_empty(counter: CallCounter) -> None:
    [sentence] = find_signs_of_silence([counter], [])
    assert f"upstream's own counters do ({counter.name}: 60)" in sentence
    assert not list(find_signs_of_silence([CallCounter("trends", 0, counts_completed=False)], []))


def test_calls_that_were_not_completed_are_no_sign() -> None:
    none_completed = CallCounter("stats.completed_calls", 0, counts_completed=True)
    assert not list(find_signs_of_silence([none_completed, ALL], []))


def calls_of(*calls: int | None) -> list[CountedDay | None]:
    return [None if count is None else CountedDay(count, {}, is_settled=False) for count in calls]


@pytest.mark.parametrize(
    ("days_before", "is_said"),
    [
        (calls_of(20, 22, 19), True),
        (calls_of(0, 0, 20, 22, 19, 18, 25), True),  # the third silent day
        (calls_of(1, 1, 1), True),
        (calls_of(20, 22), False),
        (calls_of(20, 22, 19, 18, 25, 30, 0), False),  # no calls a week before, either: a Sunday
        (calls_of(20, 22, 19, 18, 25, 30, None), True),
        (calls_of(0, 3, 0, 0, 2, 0, 1, 0), False),  # few calls at any time
        (calls_of(*[None] * 14), False),
        ([], False),
    ],
)
def test_calls_that_fell_to_nothing_are_shown(days_before: list[CountedDay | None], *, is_said: bool) -> None:
    assert bool(list(find_signs_of_silence([], days_before))) is is_said
