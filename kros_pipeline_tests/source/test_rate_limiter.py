"""One rate and one budget for all threads of a run, on a clock that only sleeping moves."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kros_pipeline.core.clock import Clock
from kros_pipeline.core.errors import TooManyRequests
from kros_pipeline.source.rate_limiter import RateLimiter, retry_after_seconds

NOW = datetime(2025, 1, 10, 10, tzinfo=UTC)


@dataclass
class Seconds:
    """Time that passes while somebody sleeps, and never otherwise. `on_sleep` happens at a sleep's start, once."""

    now: float = 1_000.0
    on_sleep: list[Callable[[], object]] = field(default_factory=list)

    @property
    def clock(self) -> Clock:
        return Clock(now=lambda: NOW, monotonic=lambda: self.now, sleep=self.sleep)

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        wakes_at = self.now + seconds
        if self.on_sleep:
            self.on_sleep.pop()()
        self.now = max(self.now, wakes_at)


def limiter_on(time: Seconds, per_second: float | None = 4, budget: int | None = None) -> RateLimiter:
    return RateLimiter(per_second, budget, time.clock)


def acquire_times(limiter: RateLimiter, time: Seconds, count: int) -> list[float]:
    """The seconds from the start at which each of so many requests may be sent."""
    times = []
    for _ in range(count):
        limiter.acquire()
        times.append(time.now - 1_000.0)
    return times


def standing_clock(slept: list[float]) -> Clock:
    """A clock that stands still, so that each sleep is as long as its turn is away."""
    return Clock(now=lambda: NOW, monotonic=lambda: 1_000.0, sleep=slept.append)


# Spacing.


@pytest.mark.parametrize(
    ("per_second", "expected"),
    [(4, [0, 0.25, 0.5, 0.75]), (0.5, [0, 2, 4, 6]), (None, [0, 0, 0, 0])],
)
def test_requests_are_spaced_evenly_and_the_first_does_not_wait(
    per_second: float | None, expected: list[float]
) -> None:
    time = Seconds()
    assert acquire_times(limiter_on(time, per_second), time, 4) == expected


def test_idle_time_is_not_made_up_for_by_a_burst() -> None:
    time = Seconds()
    limiter = limiter_on(time)
    acquire_times(limiter, time, 2)
    time.now += 60
    assert acquire_times(limiter, time, 3) == [60.25, 60.5, 60.75]


def test_threads_share_one_rate() -> None:
    slots: list[float] = []
    limiter = RateLimiter(4, None, standing_clock(slots))
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: limiter.acquire(), range(100)))
    assert sorted(slots) == [turn * 0.25 for turn in range(1, 100)]


# Budget.


def test_the_budget_is_used_to_the_last_request_and_not_beyond() -> None:
    time = Seconds()
    limiter = limiter_on(time, budget=3)
    acquire_times(limiter, time, 3)
    before = time.now
    for _ in range(2):
        with pytest.raises(TooManyRequests, match="share of 3 API requests is used up"):
            limiter.acquire()
    assert (limiter.requests_made, time.now) == (3, before)


def test_without_a_budget_requests_are_counted_all_the_same() -> None:
    time = Seconds()
    limiter = limiter_on(time, None)
    acquire_times(limiter, time, 1_000)
    assert limiter.requests_made == 1_000


def test_threads_share_one_budget() -> None:
    limiter = RateLimiter(None, 50, standing_clock([]))
    refused = threading.Semaphore(0)

    def ask(_: int) -> bool:
        try:
            limiter.acquire()
        except TooManyRequests:
            refused.release()
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(ask, range(80))) == 50
    assert limiter.requests_made == 50


# Pauses.


def test_a_pause_holds_every_request_and_the_spacing_goes_on_after_it() -> None:
    time = Seconds()
    limiter = limiter_on(time)
    acquire_times(limiter, time, 1)
    limiter.pause(10)
    assert acquire_times(limiter, time, 3) == [10, 10.25, 10.5]


def test_a_pause_holds_even_without_a_rate() -> None:
    time = Seconds()
    limiter = limiter_on(time, None)
    limiter.pause(1.5)
    assert acquire_times(limiter, time, 2) == [1.5, 1.5]


@pytest.mark.parametrize(("first", "second", "ends"), [(10, 3, 10), (3, 10, 10), (0, 0, 0)])
def test_the_longest_pause_counts(first: float, second: float, ends: float) -> None:
    time = Seconds()
    limiter = limiter_on(time)
    limiter.pause(first)
    limiter.pause(second)
    assert acquire_times(limiter, time, 1) == [ends]


@pytest.mark.parametrize(("per_second", "expected"), [(4, [10, 10.25]), (0.2, [10, 15])])
def test_a_request_that_waits_already_when_a_pause_begins_is_held_too(per_second: float, expected: list[float]) -> None:
    time = Seconds()
    limiter = limiter_on(time, per_second)
    acquire_times(limiter, time, 1)

    def pause_twice() -> None:
        limiter.pause(10)
        limiter.pause(3)

    time.on_sleep.append(pause_twice)
    assert acquire_times(limiter, time, 2) == expected
    assert limiter.requests_made == 3


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
        # absurd: the caller judges them
        *(("86400", 86_400.0), ("1e9", 1e9), ("inf", float("inf")), ("1" + "0" * 400, float("inf"))),
        # neither
        *((text, None) for text in ("-1", "-0.5", "nan", "-inf", "", " ", "soon", "1,5", "1.5s", "0x10", "10:00")),
        *((text, None) for text in ("Fri, 99 Jan 2025 10:00:00 GMT", "Fri, 10 Jan 99999999999 10:00:00 GMT")),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date_or_nothing(value: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(value, date=None, now=NOW) == seconds


@given(st.text() | st.from_regex(r"(Fri, )?\d{1,3} (Jan|Foo) -?\d{1,12} \d{1,3}:\d\d(:\d\d)? ?([+-]\d{1,9}|GMT|EST)?"))
@example("Fri, 10 Jan 9999 23:59:59 -2359")
@example("Fri, 10 Jan 0001 00:00:00 +2359")
def test_no_retry_after_breaks_the_client_or_turns_time_back(value: str) -> None:
    seconds = retry_after_seconds(value, date=None, now=NOW)
    assert seconds is None or seconds >= 0


@pytest.mark.parametrize(
    ("date", "seconds"),
    [
        ("Fri, 10 Jan 2025 10:00:10 GMT", 20.0),
        ("Fri, 10 Jan 2025 10:00:40 GMT", 0.0),
        # no date at all: our own clock is what there is
        (None, 30.0),
        ("", 30.0),
        ("soon", 30.0),
    ],
)
def test_a_date_is_compared_with_the_servers_own_clock_where_it_shows_it(date: str | None, seconds: float) -> None:
    assert retry_after_seconds("Fri, 10 Jan 2025 10:00:30 GMT", date=date, now=NOW) == seconds


@given(st.none() | st.text(), st.text())
@example("Fri, 10 Jan 0001 00:00:00 +2359", "Fri, 10 Jan 9999 23:59:59 -2359")
def test_no_date_header_breaks_the_client(date: str | None, value: str) -> None:
    seconds = retry_after_seconds(value, date=date, now=NOW)
    assert seconds is None or seconds >= 0


# Throttling.


def test_a_server_that_is_slower_than_its_plan_is_asked_at_its_own_rate() -> None:
    time = Seconds()
    limiter = limiter_on(time, per_second=50)
    tokens, refilled_at, refusals = 1.0, time.now, 0
    for _ in range(500):
        while True:
            limiter.acquire()
            tokens, refilled_at = min(1.0, tokens + (time.now - refilled_at) * 10), time.now  # ten a second
            if tokens >= 1:
                tokens -= 1
                limiter.on_success()
                break
            refusals += 1
            assert limiter.on_throttled(0.0) < 10, "as many pauses in a row would end the run"
    assert refusals < 150, "five times too fast, four of five would be refused"


def test_answers_to_requests_from_before_a_pause_begin_no_other() -> None:
    limiter = RateLimiter(50, None, standing_clock([]))
    assert [limiter.on_throttled(1.0) for _ in range(32)] == [1] * 32


@pytest.mark.parametrize(
    ("asked_seconds", "paused_seconds"),
    [
        # as long as it asks for, and never next to nothing
        (5.0, [5.0, 5.0, 5.0]),
        (0.0, [0.2, 0.4, 0.8, 1.0, 1.0]),
        # twice as long each time where it asks for nothing, up to a limit
        (None, [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 16.0, 16.0]),
    ],
)
def test_each_pause_is_as_long_as_asked_for_or_longer_than_the_one_before(
    asked_seconds: float | None, paused_seconds: list[float]
) -> None:
    time = Seconds()
    limiter = limiter_on(time, None)
    for number, seconds in enumerate(paused_seconds, start=1):
        limiter.acquire()
        before = time.now
        assert limiter.on_throttled(asked_seconds) == number
        limiter.acquire()
        assert time.now - before == pytest.approx(seconds)
