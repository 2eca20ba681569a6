"""Run a command of the package: `python -m kros_pipeline check`, the preflight, or `metrics`, for Prometheus.

Like `definitions.py`, this is an entry point: it reads the environment, and `.env` of the working directory, whose
values win, as Dagster reads it.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from dotenv import dotenv_values

from .core.errors import ExternalError
from .core.settings import BadSettings
from .operations.metrics_server import start_metrics_server
from .operations.preflight import PreflightResult, run_preflight
from .steps.process import configure_process
from .steps.settings import parse_parallel_days


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Returns 1 where a check failed, otherwise 0."""
    parser = argparse.ArgumentParser("python -m kros_pipeline")
    commands = parser.add_subparsers(required=True, metavar="command", dest="command")
    commands.add_parser("check", help="check the settings, the archive and the API before the first run; write nothing")
    commands.add_parser("metrics", help="serve the numbers of the last hourly look at KROS_METRICS_ADDRESS/metrics")
    command = parser.parse_args(arguments).command
    # Into the environment: boto3 reads credentials and region there.
    os.environ.update({name: text for name, text in dotenv_values(".env").items() if text is not None})
    configure_process()
    return _serve_metrics() if command == "metrics" else _check()


def _check() -> int:
    has_failed = False
    for result in run_preflight(os.environ):
        print(result, flush=True)
        has_failed = has_failed or not result.passed
    if (pool := _check_pool()) is not None:
        print(pool, flush=True)
        has_failed = has_failed or not pool.passed
    return int(has_failed)


def _check_pool() -> PreflightResult | None:
    """Compare Dagster's instance, by default that of `make up`, with the setting; None where there is no instance."""
    from .pool_check import check_pool  # not at the top: it imports Dagster

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


if __name__ == "__main__":
    sys.exit(main())
