"""Run what `make scale` measures, one contestant after the other, and note what fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.contest import SECONDS, Measure, measure, measure_here

# As `configure_process` sets them: before anything is imported.
_ENVIRONMENT: Mapping[str, str] = {"ARROW_DEFAULT_MEMORY_POOL": "system", "MIMALLOC_ALLOW_THP": "0"}


class Bench:
    """Measures contestants in fresh processes; quickly: in this one, where the peak memory says nothing.

    `failures` names what failed. The rest goes on.
    """

    def __init__(self, report: Callable[[str], None], *, is_quick: bool) -> None:
        self._report, self.is_quick = report, is_quick
        self._began = time.monotonic()
        self.failures: list[str] = []

    def measure(self, what: str, contestant: str, *, most_seconds: float = SECONDS, **arguments: Any) -> Measure | None:
        """Measure one contestant once, and report it; None where it failed."""
        try:
            if self.is_quick:
                measured = measure_here(contestant, **arguments)
            else:
                measured = measure(contestant, _ENVIRONMENT, most_seconds=most_seconds, **arguments)
        except RuntimeError as error:
            self.fail(what, error)
            return None
        self.say(f"{what}: {measured.seconds:.1f} s, CPU {measured.cpu_seconds:.1f} s, {describe_memory(measured)}")
        return measured

    def fail(self, what: str, error: Exception) -> None:
        """Note that something failed."""
        self.failures.append(what)
        self.say(f"{what} FAILED: {error}")

    def say(self, sentence: str) -> None:
        """Report progress, with the time since the beginning."""
        minutes, seconds = divmod(int(time.monotonic() - self._began), 60)
        self._report(f"{minutes:3d}:{seconds:02d} {sentence}")


def describe_memory(measured: Measure) -> str:
    """Describe the peak memory of a contestant."""
    return f"{measured.peak_bytes / 1e6:,.0f} MB"
