"""Run a command of the package: `check`, the preflight, or `notify-test`, which tries the targets of notifications.

Like `definitions.py`, this is an entry point: it reads the environment, and `.env` of the working directory, whose
values win, as Dagster reads it.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from dotenv import dotenv_values

from .operations.notification_trial import try_targets
from .operations.preflight import run_preflight
from .steps.process import configure_process


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Returns 1 where something failed, otherwise 0."""
    parser = argparse.ArgumentParser("python -m kros_pipeline")
    commands = parser.add_subparsers(required=True, metavar="command", dest="command")
    commands.add_parser("check", help="check settings, bucket, API and recording hosts; write a probe object only")
    commands.add_parser("notify-test", help="send one test message to each target of notifications")
    command = parser.parse_args(arguments).command
    # Into the environment: boto3 reads credentials and region there.
    os.environ.update({name: text for name, text in dotenv_values(".env").items() if text is not None})
    configure_process()
    has_failed = False
    for result in run_preflight(os.environ) if command == "check" else try_targets(os.environ):
        print(result, flush=True)
        has_failed = has_failed or not result.passed
    return int(has_failed)


if __name__ == "__main__":
    sys.exit(main())
