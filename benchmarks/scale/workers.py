"""Measure what more workers gain: a backfill with one, two and four Celery workers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from benchmarks.scale.bench import Bench
from benchmarks.table import Row, Section

_PROGRAM = "kros_pipeline_tests/cluster/scale.py"
_FIGURE = re.compile(r"(?m)^(\d+ workers): (.+)$")
_SECONDS = 900


def run(bench: Bench) -> list[Section]:
    """Run the backfills, as `make test-cluster` starts its services. Nothing is measured quickly."""
    if bench.is_quick:
        return []
    command = [sys.executable, "-m", "pytest", _PROGRAM, "-n", "0", "-s", "-q"]
    folder = Path(__file__).resolve().parents[2]
    process = subprocess.run(
        command, cwd=folder, env=dict(os.environ), capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    figures = _FIGURE.findall(process.stdout)
    if process.returncode:
        bench.fail("workers", RuntimeError(process.stdout[-2000:] + process.stderr[-500:]))
    rows = [Row("8 days of 20 calls", workers, figure, how="measured") for workers, figure in figures]
    return [Section("A backfill by several workers", _NOTES, rows)] if rows else []


_NOTES = (
    "Celery workers on one machine, the source and the services beside them; the source takes 400 ms for each answer, "
    "so that waiting can be shared, and CPU cannot."
)
