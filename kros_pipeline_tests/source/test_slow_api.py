"""The rate limiter finds the rate of an API that is slower than its plan."""

from __future__ import annotations

from kros_pipeline.source.rate_limiter import RateLimiter


class Clock:
    """A clock that moves only by what is slept."""

    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_an_api_below_the_rate_of_its_plan_is_asked_at_the_rate_that_it_accepts() -> None:
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
            assert rate_limiter.on_throttled(0.0) < 10, "the limiter took it for an exhausted quota"
    assert refusals < 150, "at five times the accepted rate, four of five requests would be refused"


def test_refusals_of_requests_that_were_already_sent_do_not_lengthen_the_wait() -> None:
    rate_limiter = RateLimiter(50, None, lambda: 0.0, lambda _: None)
    assert [rate_limiter.on_throttled(1.0) for _ in range(32)] == [1] * 32
