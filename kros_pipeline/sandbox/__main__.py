"""`python -m kros_pipeline.sandbox [options] [-- command ...]`

Starts the sandbox and prints the settings that lead to it, one `NAME=value` a line; lasts until its stdin closes or it
is interrupted. With a command, runs that with these settings and ends with its exit code.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import FrameType

from kros_pipeline.sandbox.config import SandboxConfig
from kros_pipeline.sandbox.sandbox import Sandbox


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    split = given.index("--") if "--" in given else len(given)
    command = given[split + 1 :]
    parser = _parser()
    try:
        config = _config(parser.parse_args(given[:split]))
    except ValueError as mistake:
        parser.error(str(mistake))
    if command and not shutil.which(command[0]):
        print(f"no such command: {command[0]}", file=sys.stderr)
        return 127
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with Sandbox(config) as sandbox:
            if command:
                return _run(command, sandbox.environment)
            for name, value in sandbox.environment.items():
                print(f"{name}={value}", flush=True)
            sys.stdin.buffer.read()
    except KeyboardInterrupt:
        pass
    return 0


def _run(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """The command's exit code, as a shell would give it. It may end in its own time when it is interrupted."""
    process = subprocess.Popen(command, env=os.environ | environment)  # noqa: S603 - the user's own command
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the command too, which then ends by itself
    signal.signal(signal.SIGTERM, lambda number, frame: process.terminate())
    code = process.wait()
    return code if code >= 0 else 128 - code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m kros_pipeline.sandbox", usage="%(prog)s [options] [-- command ...]")
    days = parser.add_mutually_exclusive_group()
    days.add_argument("--days", help="UTC days with calls, with commas: 2025-01-09,2025-01-10")
    days.add_argument("--last-days", type=int, help="or: the last N days that are over")
    parser.add_argument("--calls-per-day", type=int, default=SandboxConfig.calls_per_day)
    parser.add_argument("--seed", type=int, default=SandboxConfig.seed)
    parser.add_argument("--audio-seconds", default="5,600", help="the shortest and the longest call: 5,600")
    parser.add_argument("--plain", action="store_true", help="every call completed, recorded and listed whole")
    parser.add_argument("--dialect", choices=("offset", "page"), default=SandboxConfig.dialect)
    parser.add_argument("--id-style", choices=("call", "uuid", "hostile"), default=SandboxConfig.id_style)
    return parser


def _config(options: argparse.Namespace) -> SandboxConfig:
    """ValueError with one sentence where the options make no sense."""
    days = tuple(SandboxConfig().calls_by_day)
    if options.days:
        days = tuple(options.days.split(","))
    elif options.last_days is not None:
        today = datetime.now(UTC).date()
        days = tuple(str(today - timedelta(days=back)) for back in range(options.last_days, 0, -1))
    try:
        shortest, longest = map(int, options.audio_seconds.split(","))
    except ValueError:
        given = options.audio_seconds
        raise ValueError(f"--audio-seconds must be two whole numbers with a comma, not {given}") from None
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
