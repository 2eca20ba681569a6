"""The clock of a run, as a value: whatever waits or reads the time is given one, and tests give their own."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime


class RunInterrupted(KeyboardInterrupt):
    """The run was terminated: a thread that waits, or begins another piece of work, stops here.

    It is no `Exception`: no step may keep it as the outcome of a call. It is a `KeyboardInterrupt`, because Dagster
    ends a run on it, where it reaches the main thread.
    """


def _do_nothing() -> None:
    """Stand for a clock that nobody interrupts."""


@dataclass(frozen=True)
class Clock:
    """Read the time and wait. `now` is aware and UTC; `monotonic` and `sleep` are in seconds.

    After `interrupt`, `sleep` and `check` raise `RunInterrupted` in every thread.
    """

    now: Callable[[], datetime]
    monotonic: Callable[[], float]
    sleep: Callable[[float], None]
    interrupt: Callable[[], None] = _do_nothing
    check: Callable[[], None] = _do_nothing
