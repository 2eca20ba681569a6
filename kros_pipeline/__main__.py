"""Run a command of the package: `python -m kros_pipeline check`, `metrics`, `render`, `prepare` or `end-lost-runs`.

Like `definitions.py`, this is an entry point: it reads the environment, and `.env` of the working directory, whose
values win, as Dagster reads it.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dotenv import dotenv_values

from .core.errors import ExternalError
from .core.settings import BadSettings
from .operations.instance_config import render_instance_config
from .steps.process import configure_process
from .steps.settings import parse_parallel_days

if TYPE_CHECKING:
    from .operations.preflight import PreflightResult


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Returns 1 where a check or a command failed, otherwise 0."""
    options = _parser().parse_args(arguments)
    # Into the environment: boto3 reads credentials and region there, and so does the dagster that `prepare` starts.
    os.environ.update({name: text for name, text in dotenv_values(".env").items() if text is not None})
    if options.command == "check":
        return _check()
    if options.command == "metrics":
        return _serve_metrics()
    if options.command == "end-lost-runs":
        return _end_lost_runs(options.port)
    try:
        parallel_days = _render([Path(name) for name in options.parts])
    except BadSettings as error:
        print(*error.problems, sep="\n", file=sys.stderr)
        return 1
    return _prepare(parallel_days) if options.command == "prepare" else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m kros_pipeline")
    commands = parser.add_subparsers(required=True, dest="command", metavar="command")
    commands.add_parser("check", help="check the settings, the archive and the API before the first run; write nothing")
    commands.add_parser("metrics", help="serve the numbers of the last hourly look at KROS_METRICS_ADDRESS/metrics")
    render = commands.add_parser("render", help="write $DAGSTER_HOME/dagster.yaml for this machine")
    prepare = commands.add_parser(
        "prepare",
        help="the same, and make Dagster's storage ready for the daemon: migrate it, and set the limit of the pool",
    )
    for command in (render, prepare):
        command.add_argument("parts", nargs="+", metavar="FILE", help="YAML files to merge; the last one wins")
    lost = commands.add_parser(
        "end-lost-runs",
        help="end the runs that the last code server took with it; a supervisor calls it when it starts the next one",
    )
    lost.add_argument("--port", type=int, required=True, help="the port of the code server that is starting")
    return parser


def _check() -> int:
    from .operations.preflight import run_preflight

    configure_process()
    has_failed = False
    for result in run_preflight(os.environ):
        print(result, flush=True)
        has_failed = has_failed or not result.passed
    if (pool := _check_pool()) is not None:
        print(pool, flush=True)
        has_failed = has_failed or not pool.passed
    return int(has_failed)


def _check_pool() -> "PreflightResult | None":
    """Compare Dagster's instance, by default that of `make up`, with the setting; None where there is no instance."""
    from .operations.preflight import PreflightResult
    from .pool_check import check_pool

    home = Path(os.environ.get("DAGSTER_HOME") or ".dagster/home").resolve()
    try:
        found = check_pool(home, parse_parallel_days(os.environ))
        return PreflightResult("pool", *found) if found is not None else None
    except BadSettings:
        return None  # reported with the other settings
    except Exception as error:  # Dagster's storage; the message may show a password
        return PreflightResult("pool", False, f"Dagster's state in {home} cannot be read ({type(error).__name__}).")


def _serve_metrics() -> int:
    """Serve until the process is ended. Returns 1 where it cannot begin."""
    from .operations.metrics_server import start_metrics_server

    configure_process()
    try:
        server, thread = start_metrics_server(os.environ)
    except BadSettings as error:
        print(*error.problems, sep="\n", file=sys.stderr)
        return 1
    except ExternalError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"Metrics are served at /metrics on port {server.server_port}.", flush=True)
    with suppress(KeyboardInterrupt):
        thread.join()
    server.server_close()
    return 0


def _render(parts: Sequence[Path]) -> int:
    """Write $DAGSTER_HOME/dagster.yaml, and return how many days may run in parallel. Raises `BadSettings`."""
    home = os.environ.get("DAGSTER_HOME", "").strip()
    if not Path(home).is_absolute():
        raise BadSettings([f"DAGSTER_HOME must be an absolute path of a folder, not {home!r}."])
    parallel_days = parse_parallel_days(os.environ)
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


def _prepare(parallel_days: int) -> int:
    """Migrate Dagster's storage and set the pool's limit, once and before the daemon starts. Returns the exit code."""
    from .assets import KROSAI_POOL

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


def _end_lost_runs(port: int) -> int:
    """Wait for the code server that starts now, and end the runs of the last one."""
    started_at = time.time()
    import dagster as dg

    from .lost_runs import end_lost_runs, wait_for_code_server

    wait_for_code_server(port)
    with dg.DagsterInstance.get() as instance:
        lost = end_lost_runs(instance, started_at)
    if lost:
        print(f"{len(lost)} runs ended with the last code server, and are queued again: {', '.join(lost)}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
