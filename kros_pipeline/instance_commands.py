"""Make Dagster's instance ready for the pipeline: its configuration, its storage, its pool, and runs that were lost."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import dagster as dg

from .assets import KROSAI_POOL
from .core.settings import BadSettings
from .lost_runs import end_lost_runs, wait_for_code_server
from .operations.instance_config import render_instance_config
from .operations.preflight_result import Outcome, PreflightResult
from .pool_check import check_pool
from .steps.settings import parse_parallel_days


def render_instance(parts: Sequence[Path], environment: Mapping[str, str]) -> int:
    """Write $DAGSTER_HOME/dagster.yaml, and return how many days may run in parallel. Raises `BadSettings`."""
    home = environment.get("DAGSTER_HOME", "").strip()
    if not Path(home).is_absolute():
        raise BadSettings([f"DAGSTER_HOME must be an absolute path of a folder, not {home!r}."])
    parallel_days = parse_parallel_days(environment)
    try:
        text = render_instance_config({part.as_posix(): part.read_text("utf-8") for part in parts}, parallel_days)
        Path(home).mkdir(parents=True, exist_ok=True)
        # Replaced, not written: the file may be a link to the repository's, and a process may read it right now.
        written = Path(home, f".dagster.yaml.{os.getpid()}")
        written.write_text(text, "utf-8")
        written.replace(Path(home, "dagster.yaml"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadSettings([f"dagster.yaml cannot be rendered: {error}."]) from None
    return parallel_days


def prepare_instance(parallel_days: int) -> int:
    """Migrate Dagster's storage and set the pool's limit, once and before the daemon starts. Returns the exit code."""
    for command in (["migrate"], ["concurrency", "set", KROSAI_POOL, str(parallel_days)]):
        # What it prints is long, and has the configuration: it is shown only where it explains a failure.
        done = subprocess.run(  # noqa: S603 - this interpreter
            [sys.executable, "-m", "dagster", "instance", *command],
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode:
            print(done.stdout, f"`dagster instance {' '.join(command)}` failed: see above.", file=sys.stderr)
            return 1
    print(f"Dagster's storage is up to date, and the pool {KROSAI_POOL} has the limit {parallel_days}.")
    return 0


def end_runs_of_last_code_server(port: int, started_at: float) -> None:
    """Wait for the code server that starts now, and end the runs that began before `started_at` (Unix time)."""
    wait_for_code_server(port)
    with dg.DagsterInstance.get() as instance:
        lost = end_lost_runs(instance, started_at, port)
    if lost:
        print(f"{len(lost)} runs ended with the last code server: {', '.join(lost)}.")


def check_instance(environment: Mapping[str, str]) -> PreflightResult | None:
    """Compare Dagster's instance, by default that of `make up`, with the setting; None where there is no instance."""
    home = Path(environment.get("DAGSTER_HOME") or ".dagster/home").resolve()
    try:
        if (found := check_pool(home, parse_parallel_days(environment))) is None:
            return None
        fits, sentence = found
        return PreflightResult("pool", Outcome.OK if fits else Outcome.FAILED, sentence)
    except BadSettings:
        return None  # reported with the other settings
    except Exception as error:  # Dagster's storage; the message may show a password
        return PreflightResult(
            "pool", Outcome.FAILED, f"Dagster's state in {home} cannot be read ({type(error).__name__})."
        )
