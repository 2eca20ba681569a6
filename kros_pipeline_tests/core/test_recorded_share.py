"""A day with markedly fewer recorded calls than the days before it is found, and small days are not compared."""

from datetime import date, timedelta

import pytest

from kros_pipeline.core.recorded_share import RecordedDay, find_drops

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
        ([(100, 100)] * 14 + [(100, 0)] * 7, 7),  # a day that dropped does not count for the next one
        ([(100, 100)] * 3 + [(100, 0)] * 5 + [(100, 100)], 5),  # nor does it make a good day look bad
        ([(20, 0)] * 6 + [(100, 100)] * 8 + [(100, 40)], 1),  # the median, not the mean
    ],
)
def test_a_share_below_half_of_the_median_is_a_drop(shown: list[tuple[int, int]], dropped: int) -> None:
    assert len(find_drops(days(*shown), since=LAST - timedelta(days=6))) == dropped


def test_a_drop_names_its_day_and_what_was_before() -> None:
    [drop] = find_drops(days((50, 40), (50, 50), (50, 45), (50, 10)), since=LAST)
    assert drop.recorded_day == RecordedDay(LAST, 50, 10)
    assert drop.share_before == 0.9


def test_drops_before_since_are_left_out_and_days_two_weeks_back_do_not_count() -> None:
    shown = days(*[(100, 100)] * 10, (100, 0), (100, 100))
    assert find_drops(shown, since=LAST) == []
    long_ago = [RecordedDay(LAST - timedelta(days=15), 100, 100), RecordedDay(LAST, 100, 0)]
    assert find_drops(long_ago, since=LAST) == []


def test_the_order_of_the_days_does_not_matter() -> None:
    shown = days(*[(100, 90)] * 5, (100, 1))
    assert find_drops(reversed(shown), since=LAST) == find_drops(shown, since=LAST)
