"""Start the sandbox from the command line: `python -m kros_pipeline.sandbox [options] [-- command ...]`.

Without a command, print the pipeline's settings for this sandbox, one `NAME=value` on each line, and serve until stdin
closes or an interrupt comes. With a command, run it with these settings and return its exit code.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from types import FrameType

from .config import SandboxConfig
from .fault_page import FaultPage
from .sandbox import Sandbox


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    split = given.index("--") if "--" in given else len(given)
    command = given[split + 1 :]
    parser = _parser()
    options = parser.parse_args(given[:split])
    try:
        config = _config(options)
    except ValueError as error:
        parser.error(str(error))
    if command and not shutil.which(command[0]):
        print(f"no such command: {command[0]}", file=sys.stderr)
        return 127
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with ExitStack() as started:
            sandbox = started.enter_context(Sandbox(config))
            if options.fault_page is not None:
                try:
                    page = started.enter_context(FaultPage(sandbox, options.fault_page))
                except OSError as error:
                    print(
                        f"The page of faults cannot have port {options.fault_page}: {error.strerror}", file=sys.stderr
                    )
                    return 1
                print(f"Faults of the sandbox: {page.address}", file=sys.stderr, flush=True)
            if command:
                return _run(command, sandbox.environment)
            for name, value in sandbox.environment.items():
                print(f"{name}={value}", flush=True)
            sys.stdin.buffer.read()
    except KeyboardInterrupt:
        pass
    return 0


def _run(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run the command and return its exit code as a shell would: 128 + N after signal N.

    After an interrupt the command ends at its own speed; the sandbox serves until then.
    """
    process = subprocess.Popen(command, env=os.environ | environment)  # noqa: S603 - the user's own command
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the command too
    signal.signal(signal.SIGTERM, lambda number, frame: process.terminate())
    code = process.wait()
    return code if code >= 0 else 128 - code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m kros_pipeline.sandbox", usage="%(prog)s [options] [-- command ...]")
    days = parser.add_mutually_exclusive_group()
    days.add_argument("--days", help="UTC days with calls, separated by commas: 2025-01-09,2025-01-10")
    days.add_argument("--last-days", type=int, help="instead of --days: the last N complete days")
    parser.add_argument("--calls-per-day", type=int, default=SandboxConfig.calls_per_day)
    parser.add_argument("--seed", type=int, default=SandboxConfig.seed)
    parser.add_argument(
        "--audio-seconds", default="5,600", help="duration of the shortest and the longest call in seconds: 5,600"
    )
    parser.add_argument(
        "--plain", action="store_true", help="make every call completed, recorded and listed with its whole transcript"
    )
    parser.add_argument(
        "--fault-page", type=int, metavar="PORT", help="serve a page with a switch for each fault on this port"
    )
    parser.add_argument("--dialect", choices=("offset", "page"), default=SandboxConfig.dialect)
    parser.add_argument("--id-style", choices=("call", "uuid", "hostile"), default=SandboxConfig.id_style)
    return parser


def _config(options: argparse.Namespace) -> SandboxConfig:
    """Make the configuration. Raises ValueError with one sentence if an option is invalid."""
    days = tuple(SandboxConfig().calls_by_day)
    if options.days:
        days = tuple(options.days.split(","))
    elif options.last_days is not None:
        today = datetime.now(UTC).date()
        days = tuple(str(today - timedelta(days=back)) for back in range(options.last_days, 0, -1))
    try:
        shortest, longest = map(int, options.audio_seconds.split(","))
    except ValueError:
        raise ValueError(
            f"--audio-seconds must be two whole numbers separated by a comma, not {options.audio_seconds}"
        ) from None
    return SandboxConfig(
        seed=options.seed,
        days=days,
        calls_per_day=options.calls_per_day,
        variety=not options.plain,
        audio_seconds=(shortest, longest),
        dialect=options.dialect,
        id_style=options.id_style,
    )


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
