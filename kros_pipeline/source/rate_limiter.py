"""The rate limiter: how fast, and how often, the API may be asked; one for all threads of a run.

The quota is the account's, and shared with other runs: it is given, because it is kept in the archive.
"""

import math
import threading
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Protocol

from ..core.clock import Clock
from ..core.errors import TooManyRequests

LONGEST_WAIT_SECONDS = 60.0  # a rate limit that asks for more ends the run cleanly; the next one continues
_MAX_SLOWDOWN = 20.0
_SLOWER, _FASTER = 1.5, 0.99
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 16.0
_LONGEST_RAISED_PAUSE_SECONDS = 1.0  # a shorter pause that upstream asks for is raised to the backoff, up to this


class Quota(Protocol):
    """The account's daily quota, which runs share."""

    def take(self) -> None:
        """Count one request that is about to be sent. Raises `TooManyRequests` where the quota has none for it."""


class RateLimiter:
    """Spaces requests evenly at a rate, pauses all threads when upstream throttles, and counts against a budget."""

    def __init__(
        self,
        requests_per_second: float | None,
        requests_per_run: int | None,
        clock: Clock,
        quota: Quota | None = None,
    ):
        self._interval_seconds = 1 / requests_per_second if requests_per_second else 0.0
        self._budget, self._quota = requests_per_run, quota
        self._clock = clock
        self._lock = threading.Lock()
        self._next_at = 0.0
        self._paused_until = 0.0
        self._consecutive_pauses = 0
        self._slowdown = 1.0
        self.requests_made = 0

    def acquire(self) -> None:
        """Wait until the next request may be sent. Raises `TooManyRequests` when budget or quota is used up.

        An interrupted run sends none: raises `RunInterrupted`.
        """
        self._clock.check()
        with self._lock:
            if self._budget is not None and self.requests_made >= self._budget:
                raise TooManyRequests(f"the run's share of {self._budget:,} API requests is used up (budget)")
            self.requests_made += 1
        if self._quota is not None:
            try:
                self._quota.take()
            except BaseException:
                with self._lock:
                    self.requests_made -= 1
                raise
        while True:
            with self._lock:
                now = self._clock.monotonic()
                turn_at = max(now, self._next_at)
                self._next_at = turn_at + self._interval_seconds * self._slowdown
            if turn_at > now:
                self._clock.sleep(turn_at - now)
            with self._lock:
                if turn_at >= self._paused_until:
                    return
            # A pause began while this thread waited for its turn: it takes another one.

    def on_throttled(self, seconds: float | None) -> int:
        """Pause after a rate limit, for the `seconds` that it asked for, if any, and send more slowly from then on.

        Returns how many pauses followed each other without an accepted request. A server that is slower than its
        documentation is soon asked at its own rate.
        """
        with self._lock:
            if self._clock.monotonic() >= self._paused_until:  # else the request was sent before this pause began
                self._consecutive_pauses += 1
                self._slowdown = min(self._slowdown * _SLOWER, _MAX_SLOWDOWN)
            pauses = self._consecutive_pauses
        backoff = min(_FIRST_PAUSE_SECONDS * 2.0**pauses, _LONGEST_PAUSE_SECONDS)
        self.pause(backoff if seconds is None else max(seconds, min(backoff, _LONGEST_RAISED_PAUSE_SECONDS)))
        return pauses

    def on_success(self) -> None:
        """Send a little faster again, up to the rate of the settings: any answer but a rate limit was accepted."""
        with self._lock:
            self._consecutive_pauses = 0
            self._slowdown = max(1.0, self._slowdown * _FASTER)

    def pause(self, seconds: float) -> None:
        """Let no thread send before that many seconds have passed."""
        with self._lock:
            self._paused_until = max(self._paused_until, self._clock.monotonic() + seconds)
            self._next_at = max(self._next_at, self._paused_until)


def retry_after_seconds(value: str | None, *, date: str | None, now: datetime) -> float | None:
    """Return the seconds of a `Retry-After`: a number, perhaps with a fraction, or an HTTP date; None if neither.

    An HTTP date is compared with the server's own clock, the header `Date`, or with `now` where it sent none.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        until = parse_http_date(value)
        return None if until is None else max(0.0, (until - (parse_http_date(date) or now)).total_seconds())
    return seconds if seconds >= 0 and not math.isnan(seconds) else None


def parse_http_date(text: str | None) -> datetime | None:
    """Parse the date of an HTTP header; None where there is none, or it cannot be read."""
    try:
        parsed = parsedate_to_datetime(text) if text else None
    except (ValueError, OverflowError):
        return None
    return parsed and parsed.replace(tzinfo=parsed.tzinfo or UTC)
