"""Sealed days in memory, and a stranger who checks a copy of one with the commands of its page and nothing else."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from kros_pipeline.archive.parquet import batches_of
from kros_pipeline.archive.table_versions import record_table_versions
from kros_pipeline.core import schemas
from kros_pipeline.core.call_counters import CountedDay
from kros_pipeline.core.object_keys import audio_key
from kros_pipeline.core.seal_keys import manifest_key, seal_key, verify_key
from kros_pipeline.core.seal_text import NO_PREVIOUS, Seal, open_lines, parse_seal
from kros_pipeline.operations.sealing import SealingReport, seal_days_of
from kros_pipeline.sandbox.mp3 import frames_in, mp3_audio
from kros_pipeline.steps.run_context import RunContext
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


def write_settled_day(ctx: RunContext, day: date, calls: int = 3) -> None:
    """Write the tables of a settled day by hand: for tests of many days, which need no audio."""
    noon = datetime.combine(day, time(12), UTC)
    ids = [f"call_{day:%m%d}_{number:05d}" for number in range(calls)]
    rows: dict[str, list[dict[str, Any]]] = {
        "calls": [{"created_at": noon, "has_recording": True, "listed_at": noon} for _ in ids],
        "recordings": [
            {
                "status": "archived",
                "attempts": 1,
                "object_key": ctx.store.full_key(audio_key(day, call_id)),
                "sha256": hashlib.sha256(call_id.encode()).hexdigest(),
            }
            for call_id in ids
        ],
        "transcripts": [{"status": "none", "fetched_at": noon} for _ in ids],
    }
    versions = {}
    for table in schemas.TABLES.values():
        if table is schemas.RECONCILIATION:
            zeros = {column.name: 0 for column in table.columns if column.type == schemas.INT64}
            checked_at = datetime.combine(day, time(), UTC) + timedelta(days=30)
            checked: dict[str, Any] = {"verdict": "complete", "problems": [], "checked_at": checked_at}
            of_table = [zeros | checked | {"calls": calls, "listed_total": calls, "call_date": day}]
        else:
            of_table = [
                {"call_id": call_id, "call_date": day} | row
                for call_id, row in zip(ids, rows.get(table.name, []), strict=False)
            ]
        ctx.tables.commit(table, day, lambda _, t=table, r=of_table: batches_of(t, r))  # type: ignore[misc]
        versions[table.name] = ctx.tables.version(table, day) or ""
    counted = CountedDay(calls, {"stats.completed_calls": calls}, is_settled=True)
    record_table_versions(ctx.store, day, versions, None, counted)


def assert_one_chain(archive: Archive, days: Iterable[date]) -> list[Seal]:
    """Every seal follows the one before it, every day is sealed once with what its manifest has; returns the seals."""
    keys = sorted(key for key in archive.objects("seals/seal-") if key.endswith(".txt"))
    bodies = [archive.read(key) for key in keys]
    seals = [parse_seal(body) for body in bodies]
    assert keys == [seal_key(number) for number in range(1, len(seals) + 1)]
    assert [seal.number for seal in seals] == list(range(1, len(seals) + 1))
    hashes = [NO_PREVIOUS, *(hashlib.sha256(body).hexdigest() for body in bodies)]
    assert [seal.previous for seal in seals] == hashes[:-1]
    for day in days:
        of_day = [seal for seal in seals if seal.day == day]
        assert [seal.version for seal in of_day] == list(range(1, len(of_day) + 1)), day
        assert len({seal.content[2:] for seal in of_day}) == len(of_day), f"{day}: the same was sealed twice"
        lines = archive.read(manifest_key(day)).splitlines(keepends=True)
        present = {hashlib.sha256(line).hexdigest() for line in lines if not line.startswith(b"#")}
        records, audio = open_lines(of_day)
        assert set(records | audio) == present, day
    return seals
