"""Parquet: a partition's file as rows and batches, and the one way in which files are written."""

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..core.schemas import Table
from .object_store import VersionToken

_MAX_ROWS_PER_GROUP = 100_000
_MAX_BYTES_PER_GROUP = 64 << 20  # a group of long transcripts must not take the memory of 100,000 of them
_ROWS_PER_BATCH = 5_000
_PIECE_BYTES = 1 << 20


class Partition:
    """A partition as it was when it was opened, in a local file. Columns that the file lacks are null."""

    def __init__(self, table: Table, file: BinaryIO, version: VersionToken):
        self._table, self.version = table, version
        self._file = file
        self._parquet = pq.ParquetFile(file)
        self.row_count = self._parquet.metadata.num_rows

    def close(self) -> None:
        """Close the local file."""
        self._file.close()

    def sha256(self) -> str:
        """Return the SHA-256 of the file, hexadecimal."""
        return file_sha256(self._file)

    def batches(self, columns: Iterable[str] | None = None, rows: int = _ROWS_PER_BATCH) -> Iterator[pa.RecordBatch]:
        """Yield the rows in the file's order, a few thousand at a time; only some columns, if they are named."""
        names = list(columns or self._table.column_names)
        schema = pa.schema([self._table.schema.field(name) for name in names])
        present = [name for name in names if name in self._parquet.schema_arrow.names]
        for batch in self._parquet.iter_batches(batch_size=rows, columns=present):
            arrays = [
                batch.column(field.name) if field.name in present else pa.nulls(batch.num_rows, field.type)
                for field in schema
            ]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    def rows(self, columns: Iterable[str] | None = None) -> Iterator[dict[str, Any]]:
        """Yield the rows one by one, as dicts of plain Python values."""
        for batch in self.batches(columns):
            values = [_to_python(column) for column in batch.columns]
            yield from (dict(zip(batch.schema.names, row, strict=True)) for row in zip(*values, strict=True))


def _to_python(column: pa.Array) -> list[Any]:
    """Convert a column to Python values. Arrow takes 3 microseconds for a timestamp, numpy converts a whole column."""
    if pa.types.is_timestamp(column.type):
        times = column.cast(pa.timestamp("us")).to_numpy(zero_copy_only=False).tolist()
        return [None if time is None else time.replace(tzinfo=UTC) for time in times]
    if pa.types.is_date(column.type):
        dates: list[Any] = column.to_numpy(zero_copy_only=False).tolist()
        return dates
    plain: list[Any] = column.to_pylist()
    return plain


def file_sha256(file: BinaryIO) -> str:
    """Return the SHA-256 of a whole file, hexadecimal, read in pieces. The file stands at its end afterwards."""
    file.seek(0)
    digest = hashlib.sha256()
    while piece := file.read(_PIECE_BYTES):
        digest.update(piece)
    return digest.hexdigest()


def write_parquet(table: Table, file: BinaryIO, batches: Iterable[pa.RecordBatch]) -> int:
    """Write batches as one Parquet file of the table's schema, in the order in which they come; return the rows.

    Row groups have about 100,000 rows, or 64 MB of long texts. Equal input gives equal bytes.
    """
    row_count = held_rows = held_bytes = 0
    held: list[pa.RecordBatch] = []
    with pq.ParquetWriter(file, table.schema, compression="zstd", compression_level=3) as writer:
        for batch in batches:
            held.append(batch)
            held_rows += batch.num_rows
            held_bytes += batch.nbytes
            row_count += batch.num_rows
            if held_rows >= _MAX_ROWS_PER_GROUP or held_bytes >= _MAX_BYTES_PER_GROUP:
                writer.write_table(pa.Table.from_batches(held, table.schema), row_group_size=held_rows)
                held, held_rows, held_bytes = [], 0, 0
        if held_rows:
            writer.write_table(pa.Table.from_batches(held, table.schema), row_group_size=held_rows)
    return row_count


def batches_of(table: Table, rows: Iterable[dict[str, Any]]) -> Iterator[pa.RecordBatch]:
    """Yield rows, given as dicts, as batches of the table's schema, a few thousand rows each."""
    held: list[dict[str, Any]] = []
    for row in rows:
        held.append(row)
        if len(held) == _ROWS_PER_BATCH:
            yield pa.RecordBatch.from_pylist(held, table.schema)
            held = []
    if held:
        yield pa.RecordBatch.from_pylist(held, table.schema)


Merge = Callable[[dict[str, Any] | None, dict[str, Any]], dict[str, Any]]
"""Makes one row out of the present row of a call, if there is one, and the new one."""


def merged_batches(
    table: Table, present: Partition | None, rows: Mapping[str, dict[str, Any]], merge: Merge
) -> Iterator[pa.RecordBatch]:
    """Yield a partition of one row a call, with `rows` (by call id) added or merged into the present ones.

    Untouched rows stay in Arrow, a batch at a time: as dicts they take ten times the memory and the time.
    """
    return _rebatch(table, _merge(table, present, rows, merge))


def _merge(
    table: Table, present: Partition | None, rows: Mapping[str, dict[str, Any]], merge: Merge
) -> Iterator[pa.Table]:
    call_ids, begin = sorted(rows), 0
    for batch in present.batches() if present else ():
        is_touched = pc.is_in(batch.column("call_id"), pa.array(call_ids, pa.string()))
        known = {row["call_id"]: row for row in batch.filter(is_touched).to_pylist()}
        end = bisect_right(call_ids, batch.column("call_id")[-1].as_py(), begin)
        new = [merge(known.get(call_id), rows[call_id]) for call_id in call_ids[begin:end]]
        kept = pa.Table.from_batches([batch.filter(pc.invert(is_touched))])
        yield pa.concat_tables([kept, pa.Table.from_pylist(new, table.schema)]).sort_by("call_id")
        begin = end
    yield pa.Table.from_pylist([merge(None, rows[call_id]) for call_id in call_ids[begin:]], table.schema)


def _rebatch(table: Table, parts: Iterable[pa.Table]) -> Iterator[pa.RecordBatch]:
    """Yield the same rows in the batches that `batches_of` would make: how a file is cut decides its bytes."""
    rest = table.schema.empty_table()
    for part in parts:
        rest = pa.concat_tables([rest, part])
        while rest.num_rows >= _ROWS_PER_BATCH:
            yield from rest.slice(0, _ROWS_PER_BATCH).combine_chunks().to_batches()
            rest = rest.slice(_ROWS_PER_BATCH)
    yield from rest.combine_chunks().to_batches()
