"""How fast, and how often, the API may be asked: one pace for all threads of a run."""

import math
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from ..core.errors import TooManyRequests

LONGEST_WAIT_SECONDS = 60.0  # a 429 that asks for more ends the run cleanly; the next one goes on
_MOST_STRETCH = 20.0


class RateLimiter:
    """Spaces requests evenly at a rate, closes for all threads when upstream says so, and counts against a budget."""

    def __init__(
        self,
        requests_per_second: float | None,
        requests_per_run: int | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ):
        self._interval_seconds = 1 / requests_per_second if requests_per_second else 0.0
        self._budget = requests_per_run
        self._clock, self._sleep = clock, sleep
        self._lock = threading.Lock()
        self._next_at = 0.0
        self._closed_until = 0.0
        self._closings = 0
        self._stretch = 1.0
        self.requests_made = 0

    def wait_for_turn(self) -> None:
        """Returns when the next request may be sent. Raises `TooManyRequests` when the run's share is used up."""
        with self._lock:
            if self._budget is not None and self.requests_made >= self._budget:
                raise TooManyRequests(f"the run's share of {self._budget:,} API requests is used up (budget)")
            self.requests_made += 1
        while True:
            with self._lock:
                now = self._clock()
                turn_at = max(now, self._next_at)
                self._next_at = turn_at + self._interval_seconds * self._stretch
            if turn_at > now:
                self._sleep(turn_at - now)
            with self._lock:
                if turn_at >= self._closed_until:
                    return
            # The door was closed while this thread waited for a turn before that: it takes another one.

    def on_throttled(self, seconds: float | None) -> int:
        """A 429, with the wait that it asked for, if any: closes the door, and goes slower from then on.

        Returns how often in a row the door was closed without anybody being let in. A server that is slower than its
        documentation is soon asked at its own pace, instead of at ours until it looks like a closed door.
        """
        with self._lock:
            if self._clock() >= self._closed_until:  # else it is an answer to what was sent before the door closed
                self._closings += 1
                self._stretch = min(self._stretch * 1.5, _MOST_STRETCH)
            closings = self._closings
        least = min(0.1 * 2.0**closings, 16.0)
        self.close_for(least if seconds is None else max(seconds, min(least, 1.0)))
        return closings

    def on_success(self) -> None:
        """Any other answer: goes a little faster again, up to the rate of the settings."""
        with self._lock:
            self._closings = 0
            self._stretch = max(1.0, self._stretch * 0.99)

    def close_for(self, seconds: float) -> None:
        """Lets no thread through before that many seconds have passed."""
        with self._lock:
            self._closed_until = max(self._closed_until, self._clock() + seconds)
            self._next_at = max(self._next_at, self._closed_until)


def retry_after_seconds(value: str | None, *, now: datetime | None = None) -> float | None:
    """The seconds of a `Retry-After`: a number, perhaps with a fraction, or an HTTP date; None if neither."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = parsedate_to_datetime(value)
        except (ValueError, OverflowError):
            return None
        seconds = (moment.replace(tzinfo=moment.tzinfo or UTC) - (now or datetime.now(UTC))).total_seconds()
        return max(0.0, seconds)
    return seconds if seconds >= 0 and not math.isnan(seconds) else None
