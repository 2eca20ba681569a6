"""Contestants, each in a process of its own, and what a round of each costs.

A contestant is a generator function, named `module:function`: up to its `yield` it gets ready (imports, clients), from
there to its end it is measured, and what it returns is kept with the measures.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

_SECONDS = 600


@dataclass(frozen=True)
class Measure:
    """One round: `facts` are what the contestant returned."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    facts: dict[str, Any]


@dataclass(frozen=True)
class Rounds:
    """All rounds of one contestant."""

    measures: list[Measure]

    def rate(self) -> float:
        """The median of units a second; `facts` has the `units`."""
        return median(self.rates())

    def rates(self) -> list[float]:
        """Units a second, round by round."""
        return [measure.facts["units"] / measure.seconds for measure in self.measures]

    def cpu_seconds(self) -> float:
        """The median, for as many units as a round has."""
        return median(measure.cpu_seconds for measure in self.measures)

    def peak_bytes(self) -> float:
        """The median."""
        return median(measure.peak_bytes for measure in self.measures)


def measure(contestant: str, environment: Mapping[str, str], **arguments: Any) -> Measure:
    """One round of one contestant. RuntimeError with its last words if it fails."""
    others = ("AWS_", "KROS", "DAGSTER_", "PYTHONDONTWRITEBYTECODE")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(others)}
    process = subprocess.run(
        [sys.executable, "-m", "benchmarks.contest", contestant, json.dumps(arguments)],
        env={**inherited, "PYTHONPATH": str(Path(__file__).resolve().parents[1]), **environment},
        capture_output=True,
        text=True,
        timeout=_SECONDS,
    )
    if process.returncode:
        raise RuntimeError(f"{contestant} failed: {process.stderr[-2000:]}")
    return Measure(**json.loads(process.stdout.splitlines()[-1]))


def idle_bytes() -> int:
    """Of an interpreter that does nothing."""
    program = "print(open('/proc/self/status').read())"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    return _peak_in(said)


def peak_bytes_of(pid: int | str = "self") -> int:
    """The most that a process has ever had in memory. (`ru_maxrss` would begin with its parent's.)"""
    return _peak_in(Path(f"/proc/{pid}/status").read_text())


def _peak_in(status: str) -> int:
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def _cpu_seconds() -> float:
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def main() -> None:
    """The child's side of `measure`."""
    module, _, name = sys.argv[1].partition(":")
    contestant = getattr(importlib.import_module(module), name)(**json.loads(sys.argv[2]))
    next(contestant)
    began, cpu_began = time.perf_counter(), _cpu_seconds()
    try:
        next(contestant)
        raise AssertionError(f"{name} yields more than once")
    except StopIteration as end:
        facts = end.value
    seconds, cpu_seconds = time.perf_counter() - began, _cpu_seconds() - cpu_began
    peak = peak_bytes_of() + facts.pop("peak_bytes_beside", 0)
    print()
    print(json.dumps({"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_bytes": peak, "facts": facts}))


if __name__ == "__main__":
    main()
