"""An archive for those who read tables: a folder with days of two schema versions, an empty day and an unfinished one.

The sandbox's simulator serves the calls, the steps archive them in memory, and the tables are written to a folder:
every engine reads a folder as it reads a bucket. One of the days has call events.
"""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow.parquet as pq

from kros_pipeline.core.schemas import TABLES
from kros_pipeline.sandbox import KrosaiSimulator
from kros_pipeline_tests.support.accounts import UNTIL_SECOND_ANSWER, VARIED, Account, environment_of
from kros_pipeline_tests.support.memory_store import MemoryArchive, open_memory_archive
from kros_pipeline_tests.support.steps import fetch_call_events

OLD_DAY, FULL_DAY, EMPTY_DAY, WAITING_DAY = (date(2025, 1, day) for day in (9, 10, 11, 12))
DAYS = (OLD_DAY, FULL_DAY, EMPTY_DAY, WAITING_DAY)
RULES = """
rules:
  - {id: long, duration_seconds_at_least: 16, extend_days: 120}
  - {id: refund, text_matches: 'refund', extend_days: 200}
"""
# The columns that the files of the first version lack.
NEWER_COLUMNS = {
    "recordings": ("defects", "quarantine_key", "declared_size_bytes"),
    "transcripts": ("reason", "asked_at", "upstream_word_count"),
    "utterances": ("start_seconds",),
    "retention_extensions": ("settled_at",),
    "reconciliation": ("audio_seconds", "api_requests"),
}
_WORLD = replace(
    VARIED,
    days={f"{OLD_DAY}": 14, f"{FULL_DAY}": 24, f"{EMPTY_DAY}": 0, f"{WAITING_DAY}": 10},
    seed=4_712,
    hostile_text=True,
)


def build_archive(folder: Path) -> Path:
    """Archive the days and write their tables below `folder`; return the archive's root."""
    rules = folder / "rules.yaml"
    rules.write_text(RULES)
    archive = MemoryArchive("readers", "archive")
    with KrosaiSimulator(_WORLD) as krosai:
        environment = environment_of(krosai, archive) | {"KROS_FLAG_RULES": str(rules), "KROSAI_RETENTION_DAYS": "90"}
        account = Account(krosai, archive, environment, open_archive=open_memory_archive)
        with account.opened:
            for day in (OLD_DAY, FULL_DAY, EMPTY_DAY):
                account.run_day(day)
            account.now += UNTIL_SECOND_ANSWER
            for day in (OLD_DAY, FULL_DAY, EMPTY_DAY):
                account.run_day(day)
            account.now = datetime(2025, 1, 13, 4, 15, tzinfo=UTC)
            account.run_day(WAITING_DAY)
            fetch_call_events(account.ctx, FULL_DAY)
    for key in archive.objects("tables/"):
        table_name, partition = key.split("/")[1:3]
        path = folder / "archive" / key
        path.parent.mkdir(parents=True)
        path.write_bytes(archive.read(key))
        if partition == f"dt={OLD_DAY}":
            drop_newer_columns(path, table_name)
    archive.forget()
    return folder / "archive"


def drop_newer_columns(path: Path, table_name: str) -> None:
    """Write a file again as the first version wrote it."""
    path.write_bytes(without_newer_columns(path.read_bytes(), table_name))


def without_newer_columns(body: bytes, table_name: str) -> bytes:
    """Return a file's bytes as the first version wrote it."""
    table = pq.read_table(io.BytesIO(body)).drop_columns(list(NEWER_COLUMNS.get(table_name, ())))
    file = io.BytesIO()
    pq.write_table(table, file, compression="zstd")
    return file.getvalue()


assert NEWER_COLUMNS.keys() <= TABLES.keys()
