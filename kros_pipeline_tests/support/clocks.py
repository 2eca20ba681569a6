"""Clocks for tests: they show the time that a test says, and do not wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime

from kros_pipeline.core.clock import Clock


def clock_without_waits(now: Callable[[], datetime]) -> Clock:
    """A clock whose `sleep` returns at once, and whose `monotonic` goes on as if it had waited."""
    slept_seconds = 0.0

    def sleep(seconds: float) -> None:
        nonlocal slept_seconds
        slept_seconds += seconds

    return Clock(now=now, monotonic=lambda: time.monotonic() + slept_seconds, sleep=sleep)
