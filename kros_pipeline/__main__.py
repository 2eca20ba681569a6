"""Run a command of the package: `python -m kros_pipeline check`, the preflight.

Like `definitions.py`, this is an entry point: it reads the environment, and `.env` of the working directory, whose
values win, as Dagster reads it.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from dotenv import dotenv_values

from .operations.preflight import run_preflight
from .steps.process import configure_process


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Returns 1 where a check failed, otherwise 0."""
    parser = argparse.ArgumentParser("python -m kros_pipeline")
    commands = parser.add_subparsers(required=True, metavar="command")
    commands.add_parser("check", help="check the settings, the archive and the API before the first run; write nothing")
    parser.parse_args(arguments)
    # Into the environment: boto3 reads credentials and region there.
    os.environ.update({name: text for name, text in dotenv_values(".env").items() if text is not None})
    configure_process()
    has_failed = False
    for result in run_preflight(os.environ):
        print(result, flush=True)
        has_failed = has_failed or not result.passed
    return int(has_failed)


if __name__ == "__main__":
    sys.exit(main())
