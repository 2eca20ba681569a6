"""When a day has markedly fewer recorded calls than the days before it, and when that says nothing."""

from datetime import date, timedelta

import pytest

from kros_pipeline.core.recorded_share import RecordedDay, drops

LAST = date(2025, 1, 31)


def days(*shown: tuple[int, int]) -> list[RecordedDay]:
    """(calls, recorded) of days in a row, of which the last is `LAST`."""
    return [RecordedDay(LAST - timedelta(days=len(shown) - 1 - i), *counts) for i, counts in enumerate(shown)]


@pytest.mark.parametrize(
    ("shown", "dropped"),
    [
        ([(100, 90)] * 14 + [(100, 44)], 1),  # below half of the median
        ([(100, 90)] * 14 + [(100, 45)], 0),  # half is not below half
        ([(100, 90)] * 14 + [(100, 0)], 1),
        ([(100, 90)] * 14 + [(20, 0)], 1),
        ([(100, 90)] * 14 + [(19, 0)], 0),  # too few calls to tell
        ([(19, 19)] * 14 + [(100, 0)], 0),  # too few before
        ([(100, 90), (100, 0)], 1),  # one day before is enough
        ([(100, 0)], 0),  # the first day of all
        ([], 0),
        ([(100, 0)] * 15, 0),  # never recorded: nothing dropped
        ([(100, 10)] * 14 + [(100, 100)], 0),  # more is no drop
        ([(1_000, 20)] * 14 + [(1_000, 11)], 0),  # few are recorded by choice: the share is compared, not the number
        ([(100, 100)] * 14 + [(100, 0)] * 7, 7),  # a day that dropped is no measure for the next one
        ([(100, 100)] * 3 + [(100, 0)] * 5 + [(100, 100)], 5),  # nor does it make a good day look bad
        ([(20, 0)] * 6 + [(100, 100)] * 8 + [(100, 40)], 1),  # the median, not the mean
    ],
)
def test_what_is_a_drop(shown: list[tuple[int, int]], dropped: int) -> None:
    assert len(drops(days(*shown), since=LAST - timedelta(days=6))) == dropped


def test_a_drop_names_its_day_and_what_was_before() -> None:
    [drop] = drops(days((50, 40), (50, 50), (50, 45), (50, 10)), since=LAST)
    assert (drop.of.day, drop.of.calls, drop.of.recorded, drop.share_before) == (LAST, 50, 10, 0.9)


def test_old_drops_are_told_no_more_and_old_days_are_no_measure() -> None:
    shown = days(*[(100, 100)] * 10, (100, 0), (100, 100))
    assert drops(shown, since=LAST) == []
    long_ago = [RecordedDay(LAST - timedelta(days=15), 100, 100), RecordedDay(LAST, 100, 0)]
    assert drops(long_ago, since=LAST) == []


def test_the_order_of_the_days_does_not_matter() -> None:
    shown = days(*[(100, 90)] * 5, (100, 1))
    assert drops(reversed(shown), since=LAST) == drops(shown, since=LAST)
