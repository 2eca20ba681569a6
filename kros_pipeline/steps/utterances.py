"""`utterances`: the turns of each kept transcript. A pure function of the tables `transcripts` and `calls`.

Where one of these has lost rows, what the present turns say of them stays.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..archive.parquet import Partition, plain_values
from ..archive.tables import Tables
from ..core import schemas
from ..core.sorted_lookup import SortedLookup, group_by_call
from ..core.speaker_roles import USUAL_ROLES, SpeakerRoles
from ..core.statuses import TranscriptStatus
from ..core.transcripts import split_spans
from .report import Changes, Report

_CALL_COLUMNS = ("call_id", "created_at", "direction")
_SHOWN_COLUMNS = ("call_id", "speaker", "speaker_label", "text")
_SPAN_COLUMNS = ("speaker", "speaker_label", "text", "char_start", "char_end", "start_seconds")


def split_utterances(
    day: date, *, tables: Tables, roles: SpeakerRoles = USUAL_ROLES, shows_changes: bool = False
) -> Report:
    """Write the turns of every kept transcript of the day. Upstream is not asked; equal texts give equal bytes.

    Of a call that the table `calls` has lost, time and direction come from the turns that are there. Turns of a call
    without a kept text stay as they are: a kept text is final, so that the table `transcripts` has lost it. With
    `shows_changes` the report names the calls whose turns change, which takes about twice the time. Raises
    `MissingTable` where the day has no table `calls` or `transcripts`.
    """
    report = Report()
    call_count = 0
    changes = Changes()

    def build(present: Partition | None) -> Iterator[pa.RecordBatch]:
        nonlocal call_count, changes
        call_count, changes = 0, Changes()
        old_rows = present.rows(_SHOWN_COLUMNS) if present is not None and shows_changes else ()
        old_turns = SortedLookup(group_by_call(old_rows))
        with (
            tables.required(schemas.CALLS, day) as calls,
            tables.required(schemas.TRANSCRIPTS, day) as transcripts,
        ):
            lost = _find_lost(present, calls, transcripts) if present else _Lost()
            staying = _StayingTurns(present, lost.texts)
            call_lookup = SortedLookup(calls.rows(_CALL_COLUMNS))
            for batch in transcripts.batches(("call_id", "status", "text", "language")):
                turns = _TurnColumns(day, roles)
                columns = (batch.column(name).to_pylist() for name in ("call_id", "status", "text"))
                for row_index, (call_id, status, text) in enumerate(zip(*columns, strict=True)):
                    call = call_lookup.find(call_id) or lost.calls.get(call_id)
                    if status == TranscriptStatus.KEPT and text and call is not None:
                        turns.add(row_index, text, call)
                        if present is not None and shows_changes:
                            changes.compare(call_id, old_turns.find(call_id), turns.last_shown())
                call_count += len(turns.calls)
                yield staying.merge_into(turns.to_batch(batch), batch.column("call_id")[-1].as_py())
            yield from staying.rest()

    report.written = tables.commit(schemas.UTTERANCES, day, build)
    report.counts = {"utterances": report.written.rows, "calls": call_count}
    if shows_changes:
        report.counts["changed_calls"] = changes.count
        report.changes = changes.sample
    return report


@dataclass(frozen=True)
class _Lost:
    """What the other tables have lost, and the present turns still show: none of it in a day that is whole.

    `calls` are those that the table `calls` has lost, as far as the turns know them. `texts` are the ids of calls whose
    turns have no kept text.
    """

    calls: dict[str, dict[str, Any]] = field(default_factory=dict)
    texts: set[str] = field(default_factory=set)


def _find_lost(present: Partition, calls: Partition, transcripts: Partition) -> _Lost:
    lost = _Lost()
    known = SortedLookup(calls.rows(("call_id",)))
    statuses = SortedLookup(transcripts.rows(("call_id", "status")))
    last_id = None
    for batch in present.batches(_CALL_COLUMNS):
        ids = batch.column("call_id")
        for call_id in ids.unique().to_pylist():
            if call_id == last_id:
                continue  # its turns began in the batch before
            last_id = call_id
            if known.find(call_id) is None:
                first = batch.slice(pc.index(ids, call_id).as_py(), 1)
                lost.calls[call_id] = {name: plain_values(first.column(name))[0] for name in _CALL_COLUMNS}
            transcript = statuses.find(call_id)
            if transcript is None or transcript["status"] != TranscriptStatus.KEPT:
                lost.texts.add(call_id)
    return lost


class _StayingTurns:
    """Turns that stay as they are, merged into those that are made anew."""

    def __init__(self, present: Partition | None, call_ids: set[str]):
        self._batches = self._select(present, pa.array(sorted(call_ids), pa.string())) if present and call_ids else None
        self._next: pa.RecordBatch | None = next(self._batches, None) if self._batches else None

    def merge_into(self, turns: pa.RecordBatch, last_id: str) -> pa.RecordBatch:
        """Return the turns with those that stay of calls up to `last_id`, sorted."""
        parts = [turns]
        while self._next is not None and self._batches is not None:
            count = pc.sum(pc.less_equal(self._next.column("call_id"), last_id)).as_py()
            parts.append(self._next.slice(0, count))
            if count < self._next.num_rows:
                self._next = self._next.slice(count)
                break
            self._next = next(self._batches, None)
        if len(parts) == 1:
            return turns
        merged = pa.Table.from_batches(parts).sort_by([(name, "ascending") for name in schemas.UTTERANCES.sorted_by])
        return merged.combine_chunks().to_batches()[0] if merged.num_rows else turns

    def rest(self) -> Iterator[pa.RecordBatch]:
        """Yield the turns that stay of calls behind the last transcript."""
        if self._next is not None and self._batches is not None:
            yield self._next
            yield from self._batches

    @staticmethod
    def _select(present: Partition, call_ids: pa.Array) -> Iterator[pa.RecordBatch]:
        for batch in present.batches():
            selected = batch.filter(pc.is_in(batch.column("call_id"), call_ids))
            if selected.num_rows:
                yield selected


class _TurnColumns:
    """The turns of a batch of transcripts, as columns: four times as fast as an object and a dict for each turn.

    Values of one turn are gathered in lists; Arrow repeats the values that all turns of a call share.
    """

    def __init__(self, day: date, roles: SpeakerRoles):
        self._day, self._roles = day, roles
        self._per_turn: dict[str, list[Any]] = {name: [] for name in (*_SPAN_COLUMNS, "turn_index", "word_count")}
        self._row_indexes: list[int] = []  # in the batch of transcripts
        self._turn_counts: list[int] = []
        self.calls: list[dict[str, Any]] = []

    def add(self, row_index: int, text: str, call: dict[str, Any]) -> None:
        """Add the turns of one text, which is not empty; `row_index` is its row in the batch of transcripts."""
        spans = split_spans(text, self._roles)
        for name, values in zip(_SPAN_COLUMNS, zip(*spans, strict=True), strict=True):
            self._per_turn[name] += values
        self._per_turn["turn_index"] += range(len(spans))
        self._per_turn["word_count"] += [len(span[2].split()) for span in spans]  # as `count_words`
        self._row_indexes.append(row_index)
        self._turn_counts.append(len(spans))
        self.calls.append(call)

    def last_shown(self) -> list[tuple[Any, ...]]:
        """Return speaker, label and speech of the turns that were added last."""
        count = self._turn_counts[-1]
        return list(zip(*(self._per_turn[name][-count:] for name in _SHOWN_COLUMNS[1:]), strict=True))

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
