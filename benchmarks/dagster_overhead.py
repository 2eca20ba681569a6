"""Measure the overhead of Dagster: loading the definitions, an empty day by command line, a backfill by daemon."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from benchmarks.contest import Measure, Rounds, measure
from benchmarks.services import start_services_for
from benchmarks.table import Row, Section, spread
from kros_pipeline.sandbox import SandboxConfig

_FIRST_DAY = date(2025, 1, 1)
_BIN, _REPOSITORY = Path(sys.executable).parent, Path(__file__).resolve().parents[1]
_HEAVY = "boto3 botocore numpy pyreqwest pandas pyarrow requests"


def run(*, is_quick: bool) -> Section:
    """Measure programs as a user starts them. A quick run leaves out the backfill."""
    rounds, days = (2, 0) if is_quick else (5, 30)
    programs = {
        "python -c 'import dagster'": ("import dagster", None),
        "definitions loaded": ("from kros_pipeline.definitions import defs; defs()", 2.0),
    }
    config = SandboxConfig(
        days={str(_FIRST_DAY + timedelta(days=number)): 5 for number in range(days)} | {"2025-03-01": 0},
        variety=False,
        audio_seconds=(5, 20),
    )
    with start_services_for(config) as services, tempfile.TemporaryDirectory(prefix="bench-") as home:
        shutil.copy(_REPOSITORY / "dagster.yaml", home)
        environment = services.environment() | {"DAGSTER_HOME": home}
        measure("benchmarks.dagster_overhead:empty_day", environment)  # the first run creates Dagster's databases
        results: dict[str, list[Measure]] = {name: [] for name in (*programs, "an empty day, command to exit")}
        for _ in range(rounds):
            for name, (program, _) in programs.items():
                results[name].append(measure("benchmarks.dagster_overhead:program", environment, program=program))
            results["an empty day, command to exit"].append(
                measure("benchmarks.dagster_overhead:empty_day", environment)
            )
        rows = [
            _row(name, Rounds(measures), programs[name][1] if name in programs else 5.0)
            for name, measures in results.items()
        ]
        program = (
            f"import sys, kros_pipeline.definitions as d; d.defs(); print(*set('{_HEAVY}'.split()) & set(sys.modules))"
        )
        loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
        names = loaded.strip()
        rows.append(Row("heavy modules after a load", "", names or "none", target="none", reached=not names))
        if days:
            measured = measure("benchmarks.dagster_overhead:backfill", environment, days=days)
            each, archived = measured.seconds / days, measured.facts["units"]
            missing = "" if archived == days else f"; {archived} of {days} days were archived"
            rows.append(
                Row(
                    f"backfill of {days} days of 5 calls",
                    "daemon, 4 runs at once",
                    f"{each:.1f} s per day, {measured.seconds:.0f} s in total{missing}",
                    target="at most 5 s per day",
                    reached=each <= 5 and not missing,
                )
            )
    return Section(
        "6. Overhead of Dagster",
        "Wall time from the start of the command to its exit, with compiled bytecode. Source and sink are running.",
        rows,
    )


def _row(name: str, rounds: Rounds, most_seconds: float | None) -> Row:
    seconds = [measured.seconds for measured in rounds.measures]
    return Row(
        name,
        "",
        spread(seconds, "s", 2),
        target="" if most_seconds is None else f"at most {most_seconds:g} s",
        reached=None if most_seconds is None else sorted(seconds)[len(seconds) // 2] <= most_seconds,
        cpu=f"{rounds.cpu_seconds():.1f} s",
    )


def program(program: str) -> Generator[None, None, dict[str, Any]]:
    """Run one program in a new interpreter. A contestant."""
    yield
    subprocess.run([sys.executable, "-c", program], check=True)
    return {"units": 1}


def empty_day() -> Generator[None, None, dict[str, Any]]:
    """Run the README's command for a day without calls. A contestant."""
    tags = '{"dagster/partition": "2025-03-01"}'
    yield
    _run_dagster("job", "execute", "-m", "kros_pipeline.definitions", "-j", "daily_archive", "--tags", tags)
    return {"units": 1}


def backfill(days: int) -> Generator[None, None, dict[str, Any]]:
    """Run a backfill from the command to the end of its last run; the daemon runs already. A contestant."""
    import dagster as dg

    names = ",".join(str(_FIRST_DAY + timedelta(days=number)) for number in range(days))
    daemon = subprocess.Popen(
        [_BIN / "dagster-daemon", "run", "-m", "kros_pipeline.definitions"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with dg.DagsterInstance.get() as instance:
            while not instance.get_daemon_heartbeats():
                time.sleep(0.2)
            yield
            _run_dagster(
                "job", "backfill", "-m", "kros_pipeline.definitions", "-j", "daily_archive", "--noprompt",
                "--partitions", names,
            )  # fmt: skip
            while True:
                statuses = [run.status for run in instance.get_runs() if run.tags.get("dagster/backfill") is not None]
                if len(statuses) == days and all(run.is_finished for run in instance.get_runs()):
                    break
                time.sleep(0.5)
    finally:
        daemon.terminate()
        daemon.wait()
    return {"units": statuses.count(dg.DagsterRunStatus.SUCCESS)}


def _run_dagster(*arguments: str) -> None:
    process = subprocess.run([_BIN / "dagster", *arguments], capture_output=True, text=True)
    if process.returncode:
        raise RuntimeError(f"dagster {arguments[0]} {arguments[1]}: {process.stderr[-2000:]}")
