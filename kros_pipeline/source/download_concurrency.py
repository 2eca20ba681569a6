"""How many downloads run at once: fewer where the storage throttles, one more after each round that it accepted.

Additive increase and multiplicative decrease (AIMD), as TCP does it: the storage's limit is known nowhere else.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ..core.clock import Clock

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 60.0
_LONGEST_RAISED_PAUSE_SECONDS = 1.0  # a shorter pause that the storage asks for is raised to the backoff, up to this
_MAX_PAUSED_SECONDS = 120.0


class DownloadConcurrency:
    """Limits the downloads of all threads, to `most` at first and at most."""

    def __init__(self, most: int, clock: Clock):
        self._most, self._limit, self._clock = most, float(most), clock
        self._running = self._pauses = 0
        self._paused_until = 0.0
        self._paused_seconds = 0.0  # since the last download that was accepted
        self._changed = threading.Condition()

    @contextmanager
    def turn(self, *, is_resumed: bool = False) -> Iterator[None]:
        """Wait until one more download may run, and run it.

        A resumed one waits for pauses only: it holds memory for which downloads that run may be waiting.
        """
        self._acquire(is_resumed=is_resumed)
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def on_accepted(self) -> None:
        """Let more run at once: one more after as many downloads as run."""
        with self._changed:
            self._limit = min(float(self._most), self._limit + 1 / self._limit)
            self._paused_seconds, self._pauses = 0.0, 0
            self._changed.notify_all()

    def on_throttled(self, seconds: float | None) -> bool:
        """Halve the limit, and pause for the `seconds` that the storage asks for, if it does.

        Returns whether to try again: False where it asks for more than a minute, or where it accepted nothing during
        pauses of two minutes in all.
        """
        with self._changed:
            if (seconds or 0.0) > _LONGEST_PAUSE_SECONDS or self._paused_seconds > _MAX_PAUSED_SECONDS:
                return False
            now = self._clock.monotonic()
            if now >= self._paused_until:  # else the request was sent before this pause began
                backoff = min(_FIRST_PAUSE_SECONDS * 2.0**self._pauses, _LONGEST_PAUSE_SECONDS)
                pause = backoff if seconds is None else max(seconds, min(backoff, _LONGEST_RAISED_PAUSE_SECONDS))
                self._limit = max(1.0, self._limit / 2)
                self._pauses += 1
                self._paused_seconds += pause
                self._paused_until = now + pause
            return True

    def _acquire(self, *, is_resumed: bool) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: is_resumed or self._running < max(1, int(self._limit)))
                wait = self._paused_until - self._clock.monotonic()
                if wait <= 0:
                    self._running += 1
                    return
            self._clock.sleep(wait)
