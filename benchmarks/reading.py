"""Compare the layout of our tables with other layouts, by an analyst's queries in DuckDB."""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Iterator
from datetime import date, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.contest import measure
from benchmarks.table import Row, Section

_LAST_DAY = date(2025, 3, 31)
_OURS = "ours: zstd, sorted by call, groups of 100,000"
# Each differs from ours in one choice: compression, order of rows, rows in a group.
_LAYOUTS: dict[str, tuple[str, bool, int]] = {
    _OURS: ("zstd", True, 100_000),
    "snappy": ("snappy", True, 100_000),
    "not sorted": ("zstd", False, 100_000),
    "groups of 5,000": ("zstd", True, 5_000),
    "groups of 1,000,000": ("zstd", True, 1_000_000),
}
_QUERIES = {
    "turns per speaker per day": "SELECT dt, speaker, count(*), sum(word_count) FROM {table} GROUP BY ALL",
    "all turns of one call": "SELECT turn_index, text FROM {table} WHERE call_id = '{call}' ORDER BY turn_index",
    "full-text search": "SELECT dt, call_id, text FROM {table} WHERE text ILIKE '%refund%' ORDER BY ALL LIMIT 100",
}


def run(*, is_quick: bool) -> Section:
    """Compare ninety ordinary days, and five large ones."""
    rounds = 3 if is_quick else 5
    sets = {"90 days of 300 calls": (90, 300)} if is_quick else {}
    if not is_quick:
        sets = {"90 days of 2,000 calls": (90, 2_000), "5 days of 50,000 calls": (5, 50_000)}
    rows = []
    for case, (days, calls) in sets.items():
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            measured = measure(
                "benchmarks.reading:query_layouts", {}, folder=folder, days=days, calls=calls, rounds=rounds
            )
        seconds, sizes = measured.facts["seconds"], measured.facts["bytes"]
        totals = {layout: sum(median(times) for times in answers.values()) for layout, answers in seconds.items()}
        for layout, answers in seconds.items():
            result = "; ".join(f"{name} {median(times) * 1000:,.0f} ms" for name, times in answers.items())
            is_ours = layout == _OURS
            rows.append(
                Row(
                    case,
                    layout,
                    f"{result}; {sizes[layout] / 1e6:,.0f} MB",
                    None if is_ours else totals[layout] / totals[_OURS],
                    "no layout 10 % faster and no larger" if is_ours else "",
                    _is_best(totals, sizes) if is_ours else None,
                )
            )
    return Section(
        "7. Reading",
        "Local files, two threads, medians; `ours ÷ theirs` uses the sum of the three queries. 14 turns per call.",
        rows,
    )


def _is_best(totals: dict[str, float], sizes: dict[str, int]) -> bool:
    """Return whether no other layout is at least 10 % faster and no larger."""
    return not any(
        totals[layout] < 0.9 * totals[_OURS] and sizes[layout] <= sizes[_OURS] for layout in totals if layout != _OURS
    )


def query_layouts(folder: str, days: int, calls: int, rounds: int) -> Generator[None, None, dict[str, Any]]:
    """Write every layout, then run every query on each layout in turn. A contestant."""
    import time

    import duckdb

    call_id, root = _write(Path(folder), days, calls), Path(folder)
    connection = duckdb.connect(config={"threads": 2})
    yield
    seconds: dict[str, dict[str, list[float]]] = {layout: {name: [] for name in _QUERIES} for layout in _LAYOUTS}
    for _ in range(rounds):
        for number, layout in enumerate(_LAYOUTS):
            table = f"read_parquet('{root}/{number}/dt=*/part-0.parquet', hive_partitioning = true)"
            for name, query in _QUERIES.items():
                began = time.perf_counter()
                connection.sql(query.format(table=table, call=call_id)).fetchall()
                seconds[layout][name].append(time.perf_counter() - began)
    sizes = {
        layout: sum(file.stat().st_size for file in (root / str(number)).rglob("*.parquet"))
        for number, layout in enumerate(_LAYOUTS)
    }
    return {"units": 1, "seconds": seconds, "bytes": sizes}


def _write(root: Path, days: int, calls: int) -> str:
    """Write every day in every layout. Returns the id of a call of the middle day."""
    from kros_pipeline.core import schemas

    call_id = ""
    for back in range(days):
        day = _LAST_DAY - timedelta(days=back)
        table = pa.Table.from_batches(_make_utterances(day, calls), schemas.UTTERANCES.schema)
        if back == days // 2:
            call_id = table.column("call_id")[len(table) // 2].as_py()
        shuffled = table.sort_by([("created_at", "ascending"), ("turn_index", "ascending")])  # as calls come in
        for number, (compression, is_sorted, rows) in enumerate(_LAYOUTS.values()):
            file = root / str(number) / f"dt={day}" / "part-0.parquet"
            file.parent.mkdir(parents=True)
            level = 3 if compression == "zstd" else None
            pq.write_table(
                table if is_sorted else shuffled,
                file,
                compression=compression,
                compression_level=level,
                row_group_size=rows,
            )
    return call_id


def _make_utterances(day: date, calls: int) -> Iterator[pa.RecordBatch]:
    """Make the utterances of a day, as the step does."""
    from benchmarks.transcript_tables import make_call_batches, make_texts
    from kros_pipeline.core import schemas
    from kros_pipeline.core.transcripts import count_words, split_turns

    split = [[(turn, count_words(turn.text)) for turn in split_turns(text)] for text in make_texts()]
    for batch in make_call_batches(day, calls):
        columns: dict[str, list[Any]] = {name: [] for name in schemas.UTTERANCES.column_names}
        for plain_id, created_at in zip(
            batch.column("call_id").to_pylist(), batch.column("created_at").to_pylist(), strict=True
        ):
            call_id = f"{plain_id}{day:%m%d}"
            for turn, words in split[int(plain_id[-6:], 16) % len(split)]:
                for name, value in (
                    ("call_id", call_id), ("call_date", day), ("turn_index", turn.turn_index),
                    ("speaker", turn.speaker), ("speaker_label", turn.speaker_label), ("text", turn.text),
                    ("word_count", words), ("char_start", turn.char_start), ("char_end", turn.char_end),
                    ("created_at", created_at), ("direction", "inbound"), ("language", "en"),
                    ("start_seconds", turn.start_seconds),
                ):  # fmt: skip
                    columns[name].append(value)
        yield pa.RecordBatch.from_pydict(columns, schemas.UTTERANCES.schema)
