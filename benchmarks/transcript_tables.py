"""Make the tables `calls` and `transcripts` of a day of any size from 500 transcripts of the sandbox."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa

from kros_pipeline.archive.parquet import Partition
from kros_pipeline.core import schemas
from kros_pipeline.core.days import start_of
from kros_pipeline.sandbox import SandboxConfig
from kros_pipeline.sandbox.calls import draw_calls
from kros_pipeline.sandbox.transcripts import write_transcript

_TEXTS = 500
_ROWS_PER_BATCH = 5_000
_LISTED_AT = datetime(2025, 1, 12, tzinfo=UTC)


def make_texts() -> list[str]:
    """Write transcripts of about 14 turns each."""
    config = SandboxConfig(days=("2025-01-10",), variety=False)
    calls = draw_calls(config, "2025-01-10", _TEXTS)
    return [write_transcript(call.script) for call in calls if call.script]


def make_call_batches(day: date, calls: int) -> Iterator[pa.RecordBatch]:
    """Make the table `calls`, without the listed transcripts."""
    for ids in _make_ids(calls):
        count = len(ids)
        columns: dict[str, Any] = {name: [None] * count for name in schemas.CALLS.column_names}
        at = [start_of(day) + timedelta(seconds=int(call_id[5:9], 16)) for call_id in ids]
        columns |= {"call_id": ids, "call_date": [day] * count, "created_at": at, "has_recording": [True] * count}
        columns |= {"direction": ["inbound"] * count, "listed_at": [_LISTED_AT] * count}
        yield pa.RecordBatch.from_pydict(columns, schemas.CALLS.schema)


def make_transcript_batches(day: date, calls: int) -> Iterator[pa.RecordBatch]:
    """Make the table `transcripts`, with status `kept` in every row."""
    texts = make_texts()
    for ids in _make_ids(calls):
        count = len(ids)
        columns: dict[str, Any] = {name: [None] * count for name in schemas.TRANSCRIPTS.column_names}
        columns |= {"call_id": ids, "call_date": [day] * count, "status": ["kept"] * count, "source": ["list"] * count}
        columns |= {"text": [texts[int(call_id[-6:], 16) % len(texts)] for call_id in ids]}
        columns |= {"fetched_at": [_LISTED_AT] * count}
        yield pa.RecordBatch.from_pydict(columns, schemas.TRANSCRIPTS.schema)


def _make_ids(calls: int) -> Iterator[list[str]]:
    """Make call ids, sorted as in the tables."""
    ids = sorted(f"call_{hashlib.blake2b(str(number).encode(), digest_size=8).hexdigest()}" for number in range(calls))
    for begin in range(0, calls, _ROWS_PER_BATCH):
        yield ids[begin : begin + _ROWS_PER_BATCH]


def store(day: str, calls: int) -> Generator[None, None, dict[str, Any]]:
    """Write both tables into the archive that the environment names. A contestant."""
    import os

    from kros_pipeline.steps.run_context import open_run_context

    ctx, partition = open_run_context(os.environ), date.fromisoformat(day)
    ctx.identity.claim()  # tables without an owner are refused
    yield

    def build_calls(_: Partition | None) -> Iterator[pa.RecordBatch]:
        return make_call_batches(partition, calls)

    def build_transcripts(_: Partition | None) -> Iterator[pa.RecordBatch]:
        return make_transcript_batches(partition, calls)

    ctx.tables.commit(schemas.CALLS, partition, build_calls)
    ctx.tables.commit(schemas.TRANSCRIPTS, partition, build_transcripts)
    return {"units": calls}


def save(path: str, calls: int) -> Generator[None, None, dict[str, Any]]:
    """Write the transcripts to a local file, for contestants that do not read an archive. A contestant."""
    from pathlib import Path

    from kros_pipeline.archive.parquet import write_parquet

    yield
    with Path(path).open("wb") as file:
        write_parquet(schemas.TRANSCRIPTS, file, make_transcript_batches(date(2025, 1, 10), calls))
    return {"units": calls}
