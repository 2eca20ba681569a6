"""A small archive as an operator finds it on Monday morning, and Dagster's web server over it.

Two days are complete, two are missing, one has recordings that upstream serves as HTML or refuses, and yesterday waits.
Upstream refuses every extension. Runs are those of the schedules, in this process.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import dagster as dg

from kros_pipeline.definitions import defs
from kros_pipeline.sandbox import Fault, Faults
from kros_pipeline.sandbox.config import SandboxConfig
from kros_pipeline.sandbox.sandbox import Sandbox
from kros_pipeline_tests.support.archive_check import completed_of

ROOT = Path(__file__).parents[2]
RULES = "rules:\n  - {id: long_calls, duration_seconds_at_least: 30, extend_days: 90}\n"
_DAYS_AGO = (6, 5, 2, 1)  # upstream keeps 7: of the first two one answer settles a call without a recording
_START_SECONDS = 180  # of imports, in two processes, on a busy machine


@dataclass(frozen=True)
class Monday:
    """Where the web server answers, and which day fails."""

    url: str
    bad_day: date
    waiting_day: date


@contextmanager
def monday_morning(home: Path) -> Iterator[Monday]:
    """Archive the days, look at the archive, and serve the UI on a free port of this machine. `home` is empty."""
    today = datetime.now(UTC).date()
    days = [today - timedelta(days=number) for number in _DAYS_AGO]
    bad, waiting = days[-2], days[-1]
    (home / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text("utf-8"), "utf-8")
    (home / "rules.yaml").write_text(RULES, "utf-8")
    config = SandboxConfig(days=tuple(map(str, days)), calls_per_day=24, audio_seconds=(12, 60))
    with ExitStack() as stack:
        sandbox = stack.enter_context(Sandbox(config))
        settings = {
            **sandbox.environment,
            "DAGSTER_HOME": str(home),
            "KROS_FLAG_RULES": str(home / "rules.yaml"),
            "KROSAI_RETENTION_DAYS": "7",
            "KROS_LOOKBACK_DAYS": "1",
            "KROS_START_DATE": str(days[0]),
        }
        stack.enter_context(_environment(settings))
        with ThreadPoolExecutor(1) as thread:  # Dagster and playwright each want the event loop of their thread
            thread.submit(_archive, sandbox, days, bad).result()
        yield Monday(stack.enter_context(_web_server(home)), bad, waiting)


def _archive(sandbox: Sandbox, days: list[date], bad: date) -> None:
    """Run what the schedules would have run."""
    recorded = sorted(call_id for call_id, call in completed_of(sandbox.krosai, bad).items() if call["recorded"])
    faults = Faults(
        storage_html=Fault(calls=tuple(recorded[:3])),
        storage_denied=Fault(calls=tuple(recorded[3:5])),
        extend_refused=Fault(),
    )
    with dg.DagsterInstance.get() as instance:
        repository = defs().get_repository_def()
        for day in days:
            sandbox.krosai.set_faults(faults if day == bad else Faults(extend_refused=Fault()))
            _run(repository, instance, "daily_archive", {"dagster/partition": str(day)})
        _run(repository, instance, "verify_archive", {})
        for _ in range(2):  # so that there is something to plot
            _run(repository, instance, "standing_checks_job", {})


def _run(repository: dg.RepositoryDefinition, instance: dg.DagsterInstance, job: str, tags: Mapping[str, str]) -> None:
    repository.get_job(job).execute_in_process(instance=instance, raise_on_error=False, tags=dict(tags))


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(settings)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _web_server(home: Path) -> Iterator[str]:
    """Serve the UI without its daemon. The working directory has no `.env` of a real account."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).parent / "dagster-webserver"), "-w", str(ROOT / "workspace.yaml")]
    command += ["-h", "127.0.0.1", "-p", str(port)]
    log = (home / "webserver.log").open("wb")
    process = subprocess.Popen(command, cwd=home, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for(f"{url}/server_info", process)
        yield url
    finally:
        process.terminate()
        process.wait(30)
        log.close()


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urlopen(url, timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.3)
    raise RuntimeError("Dagster's web server did not start: see webserver.log in its DAGSTER_HOME")
