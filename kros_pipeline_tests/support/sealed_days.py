"""Sealed days in memory, and a stranger who checks a copy of one with the commands of its page and nothing else."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable
from datetime import date
from pathlib import Path

from kros_pipeline.core.seal_keys import verify_key
from kros_pipeline.operations.sealing import SealingReport, seal_days_of
from kros_pipeline.sandbox.mp3 import frames_in, mp3_audio
from kros_pipeline_tests.support.accounts import DAY
from kros_pipeline_tests.support.archive_check import Archive
from kros_pipeline_tests.support.fake_days import FakeDay

COREUTILS = [
    "basename", "cat", "chmod", "cmp", "comm", "cp", "csplit", "cut", "date", "dirname", "echo", "env", "expr", "head",
    "join", "ls", "mkdir", "mktemp", "mv", "nl", "od", "paste", "printf", "rm", "seq", "sha256sum", "sort", "split",
    "tail", "tee", "test", "tr", "uniq", "wc",
]  # fmt: skip
BODIES = {f"call_{name}": bytes(mp3_audio(1, name, frames_in(2))) for name in "abcde"}


def sealed_day(bodies: dict[str, bytes] | None = None) -> FakeDay:
    """A settled day of a few calls, sealed once."""
    day = FakeDay(BODIES if bodies is None else bodies)
    day.run()
    report = seal(day)
    assert (report.sealed, report.owed, report.refused) == ([DAY], [], [])
    return day


def seal(day: FakeDay) -> SealingReport:
    """One look of the sealing, by a run of its own."""
    return seal_days_of(day.open())


def copy_day(archive: Archive, day: date, folder: Path) -> Path:
    """What the page's first command copies: the day's recordings, the seals, the day's tombstones."""
    for prefix in (f"audio/dt={day}/", "seals/", f"state/erased/dt={day}/"):
        for key in archive.objects(prefix):
            rest = key.removeprefix(prefix)
            if not rest.startswith("dt=") or rest.startswith(f"dt={day}/"):
                path = folder / key
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(archive.read(key))
    return folder


def tools(folder: Path) -> Path:
    """A folder for PATH that has links to coreutils and openssl, and to nothing else."""
    folder.mkdir()
    for name in [*COREUTILS, "openssl"]:
        found = shutil.which(name)
        if found is not None:
            (folder / name).symlink_to(found)
    return folder


def check_copy(copy: Path, bin_folder: Path, day: date = DAY, settings: Iterable[str] = ()) -> tuple[bool, str]:
    """Run the page's commands as they stand, in an empty environment; whether they say that the day is verified."""
    run = subprocess.run(
        ["env", "-i", f"PATH={bin_folder}", *settings, "/bin/sh", verify_key(day)],
        cwd=copy,
        capture_output=True,
        text=True,
        timeout=60,
    )
    said = run.stdout + run.stderr
    is_verified = bool(re.search(rf"^VERIFIED {day}", said, re.MULTILINE))
    assert is_verified == (run.returncode == 0), said
    assert is_verified != bool(re.search(rf"^NOT VERIFIED {day}", said, re.MULTILINE)), said
    return is_verified, said
