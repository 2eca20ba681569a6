"""One pace for all threads of a run, on a clock that only sleeping moves."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kros_pipeline.core.errors import TooManyRequests
from kros_pipeline.source.rate_limiter import RateLimiter, retry_after_seconds

NOW = datetime(2025, 1, 10, 10, tzinfo=UTC)


@dataclass
class Clock:
    """Time that passes while somebody sleeps, and never otherwise. `on_sleep` happens at a sleep's start, once."""

    now: float = 1_000.0
    on_sleep: list = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        wakes_at = self.now + seconds
        if self.on_sleep:
            self.on_sleep.pop()()
        self.now = max(self.now, wakes_at)


def pace_of(clock: Clock, per_second: float | None = 4, budget: int | None = None) -> RateLimiter:
    return RateLimiter(per_second, budget, clock, clock.sleep)


def turns(rate_limiter: RateLimiter, clock: Clock, count: int) -> list[float]:
    times = []
    for _ in range(count):
        rate_limiter.wait_for_turn()
        times.append(clock.now - 1_000.0)
    return times


# Spacing.


@pytest.mark.parametrize(
    ("per_second", "expected"),
    [(4, [0, 0.25, 0.5, 0.75]), (0.5, [0, 2, 4, 6]), (None, [0, 0, 0, 0])],
)
def test_requests_are_spaced_evenly_and_the_first_does_not_wait(per_second: float | None, expected: list[float]):
    clock = Clock()
    assert turns(pace_of(clock, per_second), clock, 4) == expected


def test_a_pause_is_not_made_up_for_by_a_burst():
    clock = Clock()
    rate_limiter = pace_of(clock)
    turns(rate_limiter, clock, 2)
    clock.now += 60
    assert turns(rate_limiter, clock, 3) == [60.25, 60.5, 60.75]


def test_threads_share_one_pace():
    slots: list[float] = []
    rate_limiter = RateLimiter(
        4, None, lambda: 1_000.0, slots.append
    )  # a clock that stands still: each sleep is its turn's distance
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: rate_limiter.wait_for_turn(), range(100)))
    assert sorted(slots) == [turn * 0.25 for turn in range(1, 100)]


# Budget.


def test_the_share_of_a_run_is_used_to_the_last_request_and_not_beyond():
    clock = Clock()
    rate_limiter = pace_of(clock, budget=3)
    turns(rate_limiter, clock, 3)
    before = clock.now
    for _ in range(2):
        with pytest.raises(TooManyRequests, match="share of 3 API requests is used up"):
            rate_limiter.wait_for_turn()
    assert (rate_limiter.requests_made, clock.now) == (3, before)


def test_without_a_budget_requests_are_counted_all_the_same():
    clock = Clock()
    rate_limiter = pace_of(clock, None)
    turns(rate_limiter, clock, 1_000)
    assert rate_limiter.requests_made == 1_000


def test_threads_share_one_budget():
    rate_limiter = RateLimiter(None, 50, lambda: 1_000.0, lambda seconds: None)
    refused = threading.Semaphore(0)

    def ask(_: int) -> bool:
        try:
            rate_limiter.wait_for_turn()
        except TooManyRequests:
            refused.release()
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(ask, range(80))) == 50
    assert rate_limiter.requests_made == 50


# The closed door.


def test_a_closed_door_holds_everybody_and_the_spacing_goes_on_behind_it():
    clock = Clock()
    rate_limiter = pace_of(clock)
    turns(rate_limiter, clock, 1)
    rate_limiter.close_for(10)
    assert turns(rate_limiter, clock, 3) == [10, 10.25, 10.5]


def test_a_closed_door_holds_even_without_a_rate():
    clock = Clock()
    rate_limiter = pace_of(clock, None)
    rate_limiter.close_for(1.5)
    assert turns(rate_limiter, clock, 2) == [1.5, 1.5]


@pytest.mark.parametrize(("first", "second", "opens"), [(10, 3, 10), (3, 10, 10), (0, 0, 0)])
def test_the_longest_silence_counts(first: float, second: float, opens: float):
    clock = Clock()
    rate_limiter = pace_of(clock)
    rate_limiter.close_for(first)
    rate_limiter.close_for(second)
    assert turns(rate_limiter, clock, 1) == [opens]


@pytest.mark.parametrize(("per_second", "expected"), [(4, [10, 10.25]), (0.2, [10, 15])])
def test_who_was_already_waiting_when_the_door_closed_is_held_too(per_second: float, expected: list[float]):
    clock = Clock()
    rate_limiter = pace_of(clock, per_second)
    turns(rate_limiter, clock, 1)
    clock.on_sleep.append(lambda: (rate_limiter.close_for(10), rate_limiter.close_for(3)))
    assert turns(rate_limiter, clock, 2) == expected
    assert rate_limiter.requests_made == 3


# Retry-After.


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        # seconds, which KrosAI sends with a fraction
        *(("1.5", 1.5), ("0", 0.0), ("120", 120.0), (" 2 ", 2.0), ("0.001", 0.001)),
        # an HTTP date, in each of its three forms; one that is over means now
        ("Fri, 10 Jan 2025 10:00:30 GMT", 30.0),
        ("Friday, 10-Jan-25 10:00:30 GMT", 30.0),
        ("Fri Jan 10 10:00:30 2025", 30.0),
        ("Fri, 10 Jan 2025 11:01:00 +0100", 60.0),
        ("Fri, 10 Jan 2025 09:00:00 GMT", 0.0),
        # absurd, and for the caller to judge
        *(("86400", 86_400.0), ("1e9", 1e9), ("inf", float("inf")), ("1" + "0" * 400, float("inf"))),
        # neither
        *((text, None) for text in ("-1", "-0.5", "nan", "-inf", "", " ", "soon", "1,5", "1.5s", "0x10", "10:00")),
        *((text, None) for text in ("Fri, 99 Jan 2025 10:00:00 GMT", "Fri, 10 Jan 99999999999 10:00:00 GMT")),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date_or_nothing(value: str | None, seconds: float | None):
    assert retry_after_seconds(value, now=NOW) == seconds


@given(st.text() | st.from_regex(r"(Fri, )?\d{1,3} (Jan|Foo) -?\d{1,12} \d{1,3}:\d\d(:\d\d)? ?([+-]\d{1,9}|GMT|EST)?"))
@example("Fri, 10 Jan 9999 23:59:59 -2359")
@example("Fri, 10 Jan 0001 00:00:00 +2359")
def test_no_retry_after_breaks_the_client_or_turns_time_back(value: str):
    seconds = retry_after_seconds(value, now=NOW)
    assert seconds is None or seconds >= 0


def test_a_date_is_compared_with_the_present_where_no_time_is_given():
    in_an_hour = datetime.now(UTC) + timedelta(hours=1)
    assert 3_500 < (retry_after_seconds(in_an_hour.strftime("%a, %d %b %Y %H:%M:%S GMT")) or 0) <= 3_600
