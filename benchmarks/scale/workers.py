"""Measure what more workers gain: a backfill with one, two and four Celery workers."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from benchmarks.scale.bench import Bench
from benchmarks.table import Row, Section

_PROGRAM = "kros_pipeline_tests/cluster/scale.py"
_ROOT = Path(__file__).resolve().parents[2]
_FIGURE = re.compile(r"(\d+ workers): (.+)").match
_SHOWN_LINES = 30


def run(bench: Bench) -> list[Section]:
    """Run the backfills; pytest starts and stops the services. Nothing of it is quick: then it is left out."""
    if bench.is_quick:
        return []
    lines, rows = [], []
    command = [sys.executable, "-m", "pytest", _PROGRAM, "-n", "0", "-s", "-q"]
    with subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout or ():
            lines.append(line)
            if (figure := _FIGURE(line)) is not None:
                bench.say(line.strip())
                rows.append(Row("8 days of 20 calls", figure[1], figure[2], how="measured"))
    if process.returncode:
        bench.fail("workers", RuntimeError("".join(lines[-_SHOWN_LINES:])))
    return [Section("A backfill by several workers", _NOTES, rows)] if rows else []


_NOTES = (
    "Celery workers on one machine, with the source and the services beside them. The source takes 400 ms for each "
    "answer: workers share this waiting, and the machine's CPU."
)
