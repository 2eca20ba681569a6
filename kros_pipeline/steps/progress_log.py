"""A line of progress in the run's log, every ten seconds."""

import logging
from datetime import date

from ..core.clock import Clock

_EVERY_SECONDS = 10.0


class ProgressLog:
    """Logs how many of `total` recordings are done, with MB and MB/s."""

    def __init__(self, day: date, total: int, clock: Clock, log: logging.Logger):
        self.total = total
        self._day, self._clock, self._log = day, clock, log
        self._done = self._size_bytes = 0
        self._began_at = self._shown_at = clock.monotonic()

    def count(self, size_bytes: int) -> None:
        """Count one recording that is done."""
        self._done += 1
        self._size_bytes += size_bytes
        now = self._clock.monotonic()
        if now - self._shown_at >= _EVERY_SECONDS:
            self._shown_at = now
            mb = self._size_bytes / 1e6
            rate = mb / (now - self._began_at)
            self._log.info("%s: %d of %d recordings, %.0f MB, %.1f MB/s", self._day, self._done, self.total, mb, rate)
