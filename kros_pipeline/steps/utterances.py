"""`utterances`: the turns of each kept transcript. A pure function of the table `transcripts` and of `calls`."""

from collections.abc import Iterator
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa

from ..archive.parquet import Partition
from ..archive.tables import Tables
from ..core import schemas
from ..core.sorted_lookup import SortedLookup
from ..core.statuses import TranscriptStatus
from ..core.transcripts import count_words, split_spans
from .report import Report

_SPAN_COLUMNS = ("speaker", "speaker_label", "text", "char_start", "char_end")


def split_utterances(day: date, *, tables: Tables) -> Report:
    """Write the turns of every kept transcript of the day. Upstream is not asked; equal texts give equal bytes."""
    report = Report()
    call_count = 0

    def build(_: Partition | None) -> Iterator[pa.RecordBatch]:
        nonlocal call_count
        call_count = 0
        with (
            tables.opened(schemas.CALLS, day) as calls,
            tables.opened(schemas.TRANSCRIPTS, day) as transcripts,
        ):
            call_lookup = SortedLookup(calls.rows(("call_id", "created_at", "direction")) if calls else ())
            for batch in transcripts.batches(("call_id", "status", "text", "language")) if transcripts else ():
                turns = _TurnColumns(day)
                columns = (batch.column(name).to_pylist() for name in ("call_id", "status", "text"))
                for row_index, (call_id, status, text) in enumerate(zip(*columns, strict=True)):
                    call = call_lookup.find(call_id)
                    if status == TranscriptStatus.KEPT and text and call is not None:
                        turns.add(row_index, text, call)
                call_count += len(turns.calls)
                yield turns.to_batch(batch)

    report.written = tables.commit(schemas.UTTERANCES, day, build)
    report.counts = {"utterances": report.written.rows, "calls": call_count}
    return report


class _TurnColumns:
    """The turns of a batch of transcripts, as columns: four times as fast as an object and a dict for each turn.

    Values of one turn are gathered in lists; Arrow repeats the values that all turns of a call share.
    """

    def __init__(self, day: date):
        self._day = day
        self._per_turn: dict[str, list[Any]] = {name: [] for name in (*_SPAN_COLUMNS, "turn_index", "word_count")}
        self._row_indexes: list[int] = []  # in the batch of transcripts
        self._turn_counts: list[int] = []
        self.calls: list[dict[str, Any]] = []

    def add(self, row_index: int, text: str, call: dict[str, Any]) -> None:
        """Add the turns of one text, which is not empty; `row_index` is its row in the batch of transcripts."""
        spans = split_spans(text)
        for name, values in zip(_SPAN_COLUMNS, zip(*spans, strict=True), strict=True):
            self._per_turn[name] += values
        self._per_turn["turn_index"] += range(len(spans))
        self._per_turn["word_count"] += [count_words(span[2]) for span in spans]
        self._row_indexes.append(row_index)
        self._turn_counts.append(len(spans))
        self.calls.append(call)

    def to_batch(self, transcripts: pa.RecordBatch) -> pa.RecordBatch:
        """Return all turns, in the table's schema."""
        schema = schemas.UTTERANCES.schema
        columns = {name: pa.array(values, schema.field(name).type) for name, values in self._per_turn.items()}
        row_indexes = np.repeat(self._row_indexes, self._turn_counts)
        call_indexes = np.repeat(np.arange(len(self.calls)), self._turn_counts)
        for name in ("created_at", "direction"):
            values = pa.array([call[name] for call in self.calls], schema.field(name).type)
            columns[name] = values.take(pa.array(call_indexes))
        for name in ("call_id", "language"):
            columns[name] = transcripts.column(name).take(pa.array(row_indexes, pa.int64()))
        columns["call_date"] = pa.repeat(pa.scalar(self._day, pa.date32()), len(call_indexes))
        return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)
