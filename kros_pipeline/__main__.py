"""Run a command of the package: `python -m kros_pipeline check`, the preflight, or `browse`, the reviewer's page.

Like `definitions.py`, this is an entry point: it reads the environment, and `.env` of the working directory, whose
values win, as Dagster reads it.
"""

import argparse
import getpass
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from dotenv import dotenv_values

from .core.errors import ExternalError
from .core.settings import BadSettings
from .operations.preflight import run_preflight
from .steps.process import configure_process
from .steps.run_context import SYSTEM_CLOCK
from .steps.settings import SETTINGS


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Returns 1 where a check failed or the page cannot start, otherwise 0."""
    parser = argparse.ArgumentParser("python -m kros_pipeline")
    commands = parser.add_subparsers(required=True, metavar="command", dest="command")
    commands.add_parser("check", help="check the settings, the archive and the API before the first run; write nothing")
    commands.add_parser("browse", help="serve the reviewer's page over the archive until Ctrl-C")
    chosen = parser.parse_args(arguments).command
    # Into the environment: boto3 reads credentials and region there.
    os.environ.update({name: text for name, text in dotenv_values(".env").items() if text is not None})
    configure_process()
    return _check() if chosen == "check" else _browse()


def _check() -> int:
    has_failed = False
    for result in run_preflight(os.environ):
        print(result, flush=True)
        has_failed = has_failed or not result.passed
    return int(has_failed)


def _browse() -> int:
    try:
        from .browser.server import open_listen, serve
    except ModuleNotFoundError as error:
        print(f"{error.name} is not installed. Run `make setup`, or install kros-pipeline[browser].", file=sys.stderr)
        return 1
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    try:
        listen, settings = open_listen(
            os.environ, declared=SETTINGS, caches=caches, local_user=getpass.getuser(), clock=SYSTEM_CLOCK
        )
        serve(listen, settings, lambda sentence: print(sentence, flush=True))
    except KeyboardInterrupt:
        return 0  # Ctrl-C is how the page is ended
    except BadSettings as error:
        print("\n".join(error.problems), file=sys.stderr)
        return 1
    except (ExternalError, OSError) as error:
        print(f"The page cannot start: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
