"""Run each contestant in its own process and measure it.

A contestant is a generator function, named `module:function`. It prepares itself before its `yield` (imports, clients),
is measured from there to its end, and returns facts that are kept with the measures.
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
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

SECONDS = 600


@dataclass(frozen=True)
class Measure:
    """One round. `facts` is what the contestant returned."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    facts: dict[str, Any]


@dataclass(frozen=True)
class Rounds:
    """All rounds of one contestant."""

    measures: list[Measure]

    def rate(self) -> float:
        """Return the median rate in units per second; `facts` has the `units`."""
        return median(self.rates())

    def rates(self) -> list[float]:
        """Return the rate of each round in units per second."""
        return [measure.facts["units"] / measure.seconds for measure in self.measures]

    def cpu_seconds(self) -> float:
        """Return the median CPU time of a round."""
        return median(measure.cpu_seconds for measure in self.measures)

    def peak_bytes(self) -> float:
        """Return the median of the peak memory."""
        return median(measure.peak_bytes for measure in self.measures)


def measure(
    contestant: str, environment: Mapping[str, str], *, most_seconds: float = SECONDS, **arguments: Any
) -> Measure:
    """Measure one round of one contestant. Raises RuntimeError if it fails, with the end of its stderr, or hangs."""
    left_out = ("AWS_", "KROS", "DAGSTER_", "PYTHONDONTWRITEBYTECODE")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    try:
        process = subprocess.run(
            [sys.executable, "-m", "benchmarks.contest", contestant, json.dumps(arguments)],
            env={**inherited, "PYTHONPATH": str(Path(__file__).resolve().parents[1]), **environment},
            capture_output=True,
            text=True,
            timeout=most_seconds,
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"{contestant} did not end within {most_seconds:.0f} s") from None
    if process.returncode:
        raise RuntimeError(f"{contestant} failed: {process.stderr[-2000:]}")
    return Measure(**json.loads(process.stdout.splitlines()[-1]))


def measure_idle_bytes() -> int:
    """Measure the peak memory of an interpreter that does nothing."""
    program = "print(open('/proc/self/status').read())"
    status = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    return _parse_peak(status)


def read_peak_bytes(pid: int | str = "self") -> int:
    """Read the peak memory of a process. (`ru_maxrss` would start with the peak of its parent.)"""
    return _parse_peak(Path(f"/proc/{pid}/status").read_text())


def _parse_peak(status: str) -> int:
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def _cpu_seconds() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def measure_here(contestant: str, **arguments: Any) -> Measure:
    """Measure one round of one contestant in this process, whose peak memory is then of all that it ever did."""
    module, _, name = contestant.partition(":")
    generator = getattr(importlib.import_module(module), name)(**arguments)
    next(generator)
    began, cpu_began = time.perf_counter(), _cpu_seconds()
    try:
        next(generator)
        raise AssertionError(f"{name} yields more than once")
    except StopIteration as end:
        facts = end.value
    seconds, cpu_seconds = time.perf_counter() - began, _cpu_seconds() - cpu_began
    return Measure(seconds, cpu_seconds, read_peak_bytes() + facts.pop("peak_bytes_beside", 0), facts)


def main() -> None:
    """Run one contestant in the child process of `measure`."""
    measured = measure_here(sys.argv[1], **json.loads(sys.argv[2]))
    print()
    print(json.dumps(asdict(measured)))


if __name__ == "__main__":
    main()
