"""Debian's packages of the programs that some suites need."""

import os
import shutil
import subprocess
from pathlib import Path


class ProgramMissing(Exception):
    """A program is not installed, and this account cannot install it."""


def need_program(name: str, package: str) -> Path:
    """Return the path of a program. Installs Debian's package where it is missing and the account is root.

    Raises `ProgramMissing` with the command that installs it.
    """
    if (found := shutil.which(name)) is None:
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            raise ProgramMissing(f"{name} is missing. On Debian and Ubuntu: apt install {package}")
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-q"], check=True, capture_output=True, timeout=600)
        subprocess.run(
            ["apt-get", "install", "-q", "-y", package], check=True, capture_output=True, timeout=1200, env=environment
        )
        found = shutil.which(name)
    if found is None:
        raise ProgramMissing(f"{name} is missing, although Debian's package {package} is installed.")
    return Path(found)
