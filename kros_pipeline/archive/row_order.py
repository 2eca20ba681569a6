"""Puts the rows of a table in its order where another program wrote them in another one, as Athena and pandas do.

Steps read tables side by side, by `call_id`: a row that is not where it should be is taken for missing.
"""

import heapq
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..core.schemas import Table

_ROWS_PER_RUN = 100_000
_BYTES_PER_RUN = 64 << 20
_ROWS_PER_PIECE = 500  # of each run in memory, while the runs are merged
_ROWS_PER_BATCH = 5_000


def is_in_order(table: Table, batches: Iterable[pa.RecordBatch]) -> bool:
    """Return whether rows are sorted as the table is. Equal ones may follow one another."""
    last: pa.RecordBatch | None = None
    for batch in batches:
        rows = pa.Table.from_batches([batch] if last is None else [last, batch]).combine_chunks()
        is_right = pa.array([True] * max(0, rows.num_rows - 1), pa.bool_())
        for name in reversed(table.sorted_by):
            column = rows.column(name).combine_chunks()
            before, after = column[:-1], column[1:]
            is_right = pc.or_(pc.less(before, after), pc.and_(pc.equal(before, after), is_right))
        if not pc.all(is_right, min_count=0).as_py():
            return False
        last = batch.slice(batch.num_rows - 1) if batch.num_rows else last
    return True


def write_in_order(table: Table, batches: Iterable[pa.RecordBatch], copy: BinaryIO) -> None:
    """Write rows in the table's order to a Parquet file. Sorted runs are in temporary files, so that memory is flat.

    A column that an older file does not have is null, whatever the table demands.
    """
    schema = pa.schema([field.with_nullable(True) for field in table.schema])
    with ExitStack() as opened:
        runs: list[pa.ipc.RecordBatchFileReader] = []
        for held in _cut_runs(batches):
            file = opened.enter_context(tempfile.TemporaryFile(prefix="kros-"))
            ordered = pa.Table.from_batches(held).sort_by([(name, "ascending") for name in table.sorted_by])
            with pa.ipc.new_file(file, table.schema) as writer:
                writer.write_table(ordered, max_chunksize=_ROWS_PER_PIECE)
            runs.append(pa.ipc.open_file(file))
        merged = heapq.merge(*map(_rows_of, runs), key=table.sort_key())
        with pq.ParquetWriter(copy, schema, compression="zstd") as parquet:
            while rows := list(islice(merged, _ROWS_PER_BATCH)):
                parquet.write_batch(pa.RecordBatch.from_pylist(rows, schema))


def _cut_runs(batches: Iterable[pa.RecordBatch]) -> Iterator[list[pa.RecordBatch]]:
    held: list[pa.RecordBatch] = []
    row_count = size_bytes = 0
    for batch in batches:
        held.append(batch)
        row_count, size_bytes = row_count + batch.num_rows, size_bytes + batch.nbytes
        if row_count >= _ROWS_PER_RUN or size_bytes >= _BYTES_PER_RUN:
            yield held
            held, row_count, size_bytes = [], 0, 0
    if held:
        yield held


def _rows_of(run: "pa.ipc.RecordBatchFileReader") -> Iterator[dict[str, object]]:
    for number in range(run.num_record_batches):
        yield from run.get_batch(number).to_pylist()
