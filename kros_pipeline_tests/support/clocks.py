"""Clocks for tests: they show the time that a test says, and do not wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime

from kros_pipeline.core.clock import Clock


def clock_without_waits(now: Callable[[], datetime]) -> Clock:
    """A clock whose `sleep` returns at once, and whose `monotonic` goes on as if this thread had waited.

    The waits of one thread do not count for another: else many of them would end a download's deadline elsewhere.
    """
    thread = threading.local()

    def slept_seconds() -> float:
        return float(getattr(thread, "slept_seconds", 0.0))

    def sleep(seconds: float) -> None:
        thread.slept_seconds = slept_seconds() + seconds

    return Clock(now=now, monotonic=lambda: time.monotonic() + slept_seconds(), sleep=sleep)


def hurried_clock(now: Callable[[], datetime], times: float = 50.0) -> Clock:
    """A clock that goes so many times as fast, for all threads alike: its waits are real, and short."""
    return Clock(now=now, monotonic=lambda: time.monotonic() * times, sleep=lambda seconds: time.sleep(seconds / times))
