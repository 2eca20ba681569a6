"""Run a command of the package: `python -m kros_pipeline check`; `--help` lists the commands.

Like `definitions.py`, this is an entry point: it reads the environment, and `.env` of the working directory, whose
values win, as Dagster reads it.
"""

import argparse
import getpass
import os
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from dotenv import dotenv_values

from .core.errors import ExternalError
from .core.settings import BadSettings
from .steps.process import configure_process

if TYPE_CHECKING:
    from .operations.preflight_result import PreflightResult


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Returns 1 where a check or a command failed, otherwise 0."""
    options = _parser().parse_args(arguments)
    # Into the environment: boto3 reads credentials and region there, and so does the dagster that `prepare` starts.
    os.environ.update({name: text for name, text in dotenv_values(".env").items() if text is not None})
    try:
        return int(options.run(options))
    except BadSettings as error:
        print(*error.problems, sep="\n", file=sys.stderr)
    except (ExternalError, OSError) as error:
        print(f"{options.command} failed: {error}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m kros_pipeline")
    commands = parser.add_subparsers(required=True, dest="command", metavar="command")
    check = commands.add_parser(
        "check", help="check settings, bucket, API and recording hosts; write a probe object only"
    )
    check.set_defaults(run=_check)
    notify_test = commands.add_parser("notify-test", help="send one test message to each target of notifications")
    notify_test.set_defaults(run=_try_notifications)
    browse = commands.add_parser("browse", help="serve the reviewer's page over the archive until Ctrl-C")
    browse.set_defaults(run=_browse)
    metrics = commands.add_parser(
        "metrics", help="serve the numbers of the last hourly look at KROS_METRICS_ADDRESS/metrics"
    )
    metrics.set_defaults(run=_serve_metrics)
    render = commands.add_parser("render", help="write $DAGSTER_HOME/dagster.yaml for this machine")
    render.set_defaults(run=_render)
    prepare = commands.add_parser(
        "prepare",
        help="the same, and make Dagster's storage ready for the daemon: migrate it, and set the limit of the pool",
    )
    prepare.set_defaults(run=_prepare)
    for command in (render, prepare):
        command.add_argument(
            "parts", nargs="+", metavar="FILE", type=Path, help="YAML files to merge; the last one wins"
        )
    lost = commands.add_parser(
        "end-lost-runs",
        help="end the runs that the last code server took with it; a supervisor calls it when it starts the next one",
    )
    lost.add_argument("--port", type=int, required=True, help="the port of the code server that is starting")
    lost.set_defaults(run=_end_lost_runs)
    return parser


def _check(_: argparse.Namespace) -> int:
    from .instance_commands import check_instance
    from .operations.preflight import run_preflight

    configure_process()
    instance = (result for result in (check_instance(os.environ),) if result is not None)
    return _print_results(chain(run_preflight(os.environ), instance))


def _try_notifications(_: argparse.Namespace) -> int:
    from .operations.notification_trial import try_targets

    configure_process()
    return _print_results(try_targets(os.environ))


def _print_results(results: "Iterable[PreflightResult]") -> int:
    """Print each result as soon as it is known. Returns 1 where one failed."""
    has_failed = False
    for result in results:
        print(result, flush=True)
        has_failed = has_failed or not result.passed
    return int(has_failed)


def _render(options: argparse.Namespace) -> int:
    from .instance_commands import render_instance

    render_instance(options.parts, os.environ)
    return 0


def _prepare(options: argparse.Namespace) -> int:
    from .instance_commands import prepare_instance, render_instance

    return prepare_instance(render_instance(options.parts, os.environ))


def _end_lost_runs(options: argparse.Namespace) -> int:
    started_at = time.time()  # before the imports, which take seconds
    from .instance_commands import end_runs_of_last_code_server

    end_runs_of_last_code_server(options.port, started_at)
    return 0


def _serve_metrics(_: argparse.Namespace) -> int:
    """Serve until the process is ended."""
    from .operations.metrics_server import start_metrics_server

    configure_process()
    server, thread = start_metrics_server(os.environ)
    print(f"Metrics are served at /metrics on port {server.server_port}.", flush=True)
    with suppress(KeyboardInterrupt):
        thread.join()
    server.server_close()
    return 0


def _browse(_: argparse.Namespace) -> int:
    """Serve until the process is ended."""
    try:
        from .browser.server import open_listen, serve
    except ModuleNotFoundError as error:
        print(f"{error.name} is not installed. Run `make setup`, or install kros-pipeline[browser].", file=sys.stderr)
        return 1
    from .steps.run_context import SYSTEM_CLOCK
    from .steps.settings import SETTINGS

    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    listen, settings = open_listen(
        os.environ, declared=SETTINGS, caches=caches, local_user=name_of_user(), clock=SYSTEM_CLOCK
    )
    with suppress(KeyboardInterrupt):  # Ctrl-C is how the page is ended
        serve(listen, settings, lambda sentence: print(sentence, flush=True))
    return 0


def name_of_user() -> str:
    """Return who runs this process; the number of a user without a name, as in a container."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # KeyError before Python 3.13
        return f"uid-{os.getuid()}"


if __name__ == "__main__":
    sys.exit(main())
