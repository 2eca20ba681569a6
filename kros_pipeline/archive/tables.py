"""The tables: one Parquet object a partition, replaced whole, under a condition, and only where it changed."""

import hashlib
import sys
import tempfile
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, date
from importlib.abc import MetaPathFinder
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..core.errors import ArchiveUnavailable, ObjectChanged, ObjectExists
from ..core.object_keys import call_key, table_key
from ..core.schemas import Table
from .s3_store import ObjectStore
from .tombstones import MOST_SECONDS_OLD, Tombstones


class _NoPandas(MetaPathFinder):
    def find_spec(self, name: str, *_: object) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name=name)


def _leave_pandas_out() -> None:
    """Arrow looks for pandas at its first Python value: half a second of every run, and no step has any for it.

    Whoever asks Arrow for pandas by name, as by `to_pandas`, gets it as ever.
    """
    finder = _NoPandas()
    sys.meta_path.insert(0, finder)
    try:
        pa.array([None])
    finally:
        sys.meta_path.remove(finder)


_leave_pandas_out()

ROWS_A_GROUP = 100_000
_BYTES_A_GROUP = 64 << 20  # a group of long transcripts must not need the memory of a hundred thousand of them
_ROWS_A_BATCH = 5_000
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class WriteResult:
    """What a partition holds; `changed` is False where the bytes are those that were read, and nothing was put."""

    rows: int
    size_bytes: int
    changed: bool


class Partition:
    """A partition as it was when it was opened, in a local file. Columns that its file does not have yet are null."""

    def __init__(self, table: Table, file: BinaryIO, etag: str):
        self._table, self.etag = table, etag
        self._file = file
        self._parquet = pq.ParquetFile(file)
        self.row_count = self._parquet.metadata.num_rows

    def close(self) -> None:
        """Lets the local file go."""
        self._file.close()

    def sha256(self) -> str:
        """Of the file's bytes."""
        return _sha256(self._file)

    def batches(self, columns: Iterable[str] | None = None, rows: int = _ROWS_A_BATCH) -> Iterator[pa.RecordBatch]:
        """The rows in the file's order, a few thousand at a time; of some columns, if they are named."""
        names = list(columns or self._table.column_names)
        schema = pa.schema([self._table.schema.field(name) for name in names])
        there = [name for name in names if name in self._parquet.schema_arrow.names]
        for batch in self._parquet.iter_batches(batch_size=rows, columns=there):
            arrays = [
                batch.column(field.name) if field.name in there else pa.nulls(batch.num_rows, field.type)
                for field in schema
            ]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    def rows(self, columns: Iterable[str] | None = None) -> Iterator[dict[str, Any]]:
        """The rows one by one, as dicts of plain Python values."""
        for batch in self.batches(columns):
            values = [_values(column) for column in batch.columns]
            yield from (dict(zip(batch.schema.names, row, strict=True)) for row in zip(*values, strict=True))


def _values(column: pa.Array) -> list[Any]:
    """As plain Python. Arrow makes a moment in 3 microseconds, numpy a whole column of them in one go."""
    if pa.types.is_timestamp(column.type):
        moments = column.cast(pa.timestamp("us")).to_numpy(zero_copy_only=False).tolist()
        return [None if moment is None else moment.replace(tzinfo=UTC) for moment in moments]
    if pa.types.is_date(column.type):
        dates: list[Any] = column.to_numpy(zero_copy_only=False).tolist()
        return dates
    plain: list[Any] = column.to_pylist()
    return plain


Build = Callable[[Partition | None], Iterator[pa.RecordBatch]]


class Tables:
    """The archive's tables, by table and day."""

    def __init__(self, store: ObjectStore, tombstones: Tombstones):
        self._store, self._tombstones = store, tombstones

    @contextmanager
    def transaction(self, table: Table, day: date) -> Iterator["PartitionTransaction"]:
        """The partition as it is now, to be replaced once or several times."""
        transaction = PartitionTransaction(self._store, self._tombstones, table, day)
        try:
            yield transaction
        finally:
            transaction.close()

    @contextmanager
    def opened(self, table: Table, day: date) -> Iterator[Partition | None]:
        """The partition as it is now, or None where there is none."""
        with self.transaction(table, day) as transaction:
            yield transaction.present

    def rows(self, table: Table, day: date, columns: Iterable[str] | None = None) -> list[dict[str, Any]]:
        """All rows of a partition in memory; none where there is no partition. For the tables that may be held."""
        with self.transaction(table, day) as transaction:
            return list(transaction.rows(columns))

    def commit(self, table: Table, day: date, build: Build) -> WriteResult:
        """`PartitionTransaction.commit`, for whoever needs no more of the partition."""
        with self.transaction(table, day) as transaction:
            return transaction.commit(build)


class PartitionTransaction:
    """One partition, read once; and again only where somebody else has replaced it since."""

    def __init__(self, store: ObjectStore, tombstones: Tombstones, table: Table, day: date):
        self._store, self._tombstones = store, tombstones
        self._table, self._day, self._key = table, day, table_key(table.name, day)
        self.present: Partition | None = None
        self._open()

    def close(self) -> None:
        """Lets the local file go."""
        self._hold(None)

    def rows(self, columns: Iterable[str] | None = None) -> Iterator[dict[str, Any]]:
        """The rows as they are known here, one by one; none where there is no partition."""
        return self.present.rows(columns) if self.present is not None else iter(())

    def commit(self, build: Build) -> WriteResult:
        """Writes the partition that `build` makes of the present one, which it is from then on.

        If somebody else replaced it meanwhile, `build` is called again with what they wrote: so two runs of one day
        lose nothing of each other's. No row of an erased call is written, whatever `build` makes: before the rows are
        made, and before they are put, what is known of the erased is as young as what a recording's PUT relies on.
        """
        for attempt in range(_ATTEMPTS):
            if attempt:
                self._open()
                self._tombstones.of_day(self._day)  # it may be an erasure that came between
            with ExitStack() as unless_put:
                file = unless_put.enter_context(tempfile.TemporaryFile(prefix="kros-"))
                erased = self._erased()
                rows = write_parquet(self._table, file, self._without(erased, build(self.present)))
                size, digest = file.tell(), _sha256(file)
                if self.present is not None and self.present.sha256() == digest:
                    return WriteResult(rows, size, changed=False)
                if self._erased() != erased:
                    continue
                try:
                    etag = self._store.put(
                        self._key,
                        file,
                        sha256=digest,
                        only_if=self.present.etag if self.present else "absent",
                        content_type="application/vnd.apache.parquet",
                    )
                except (ObjectExists, ObjectChanged):
                    continue
                self._hold(Partition(self._table, file, etag))
                unless_put.pop_all()
                return WriteResult(rows, size, changed=True)
        raise ArchiveUnavailable(f"{self._key} was replaced by others {_ATTEMPTS} times in a row")

    def _open(self) -> None:
        with ExitStack() as unless_there:
            file = unless_there.enter_context(tempfile.TemporaryFile(prefix="kros-"))
            etag = self._store.copy_into(self._key, file)
            file.seek(0)
            self._hold(Partition(self._table, file, etag) if etag is not None else None)
            if etag is not None:
                unless_there.pop_all()

    def _hold(self, partition: Partition | None) -> None:
        if self.present is not None:
            self.present.close()
        self.present = partition

    def _erased(self) -> frozenset[str]:
        return self._tombstones.of_day(self._day, most_seconds_old=MOST_SECONDS_OLD)

    def _without(self, erased: frozenset[str], batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            if erased and "call_id" in batch.schema.names:
                ids = batch.column("call_id")
                gone = [name for name in ids.unique().to_pylist() if self._tombstones.names(call_key(name), erased)]
                if gone:
                    batch = batch.filter(pc.invert(pc.is_in(ids, pa.array(gone, ids.type))))
            yield batch


def _sha256(file: BinaryIO) -> str:
    """Of a whole file, a piece at a time; the file stands at its end afterwards."""
    file.seek(0)
    digest = hashlib.sha256()
    while piece := file.read(1 << 20):
        digest.update(piece)
    return digest.hexdigest()


def write_parquet(table: Table, file: BinaryIO, batches: Iterable[pa.RecordBatch]) -> int:
    """Writes batches as one Parquet file of the table's schema, sorted as they come; returns the rows.

    Row groups are of about 100,000 rows, or 64 MB of long texts. Equal input gives equal bytes.
    """
    rows = held_rows = held_bytes = 0
    held: list[pa.RecordBatch] = []
    with pq.ParquetWriter(file, table.schema, compression="zstd", compression_level=3) as writer:
        for batch in batches:
            held.append(batch)
            held_rows += batch.num_rows
            held_bytes += batch.nbytes
            rows += batch.num_rows
            if held_rows >= ROWS_A_GROUP or held_bytes >= _BYTES_A_GROUP:
                writer.write_table(pa.Table.from_batches(held, table.schema), row_group_size=held_rows)
                held, held_rows, held_bytes = [], 0, 0
        if held_rows:
            writer.write_table(pa.Table.from_batches(held, table.schema), row_group_size=held_rows)
    return rows


def merged_batches(
    table: Table,
    present: Partition | None,
    rows: Mapping[str, dict[str, Any]],
    merge: Callable[[dict[str, Any] | None, dict[str, Any]], dict[str, Any]],
) -> Iterator[pa.RecordBatch]:
    """A partition of one row a call, with some rows added or replaced by what `merge` makes of the old and the new.

    What stays stays in Arrow, a batch at a time: as dicts, a row takes ten times the memory and the time.
    """
    return _of_equal_size(table, _merged(table, present, rows, merge))


def _merged(
    table: Table,
    present: Partition | None,
    rows: Mapping[str, dict[str, Any]],
    merge: Callable[[dict[str, Any] | None, dict[str, Any]], dict[str, Any]],
) -> Iterator[pa.Table]:
    call_ids, begin = sorted(rows), 0
    for batch in present.batches() if present else ():
        touched = pc.is_in(batch.column("call_id"), pa.array(call_ids, pa.string()))
        known = {row["call_id"]: row for row in batch.filter(touched).to_pylist()}
        end = bisect_right(call_ids, batch.column("call_id")[-1].as_py(), begin)
        new = [merge(known.get(call_id), rows[call_id]) for call_id in call_ids[begin:end]]
        kept = pa.Table.from_batches([batch.filter(pc.invert(touched))])
        yield pa.concat_tables([kept, pa.Table.from_pylist(new, table.schema)]).sort_by("call_id")
        begin = end
    yield pa.Table.from_pylist([merge(None, rows[call_id]) for call_id in call_ids[begin:]], table.schema)


def _of_equal_size(table: Table, parts: Iterable[pa.Table]) -> Iterator[pa.RecordBatch]:
    """The same rows in the batches that `batches_of` would give: how a file is cut decides its bytes."""
    rest = table.schema.empty_table()
    for part in parts:
        rest = pa.concat_tables([rest, part])
        while rest.num_rows >= _ROWS_A_BATCH:
            yield from rest.slice(0, _ROWS_A_BATCH).combine_chunks().to_batches()
            rest = rest.slice(_ROWS_A_BATCH)
    yield from rest.combine_chunks().to_batches()


def batches_of(table: Table, rows: Iterable[dict[str, Any]]) -> Iterator[pa.RecordBatch]:
    """Rows as dicts, in the table's schema, a few thousand at a time."""
    held: list[dict[str, Any]] = []
    for row in rows:
        held.append(row)
        if len(held) == _ROWS_A_BATCH:
            yield pa.RecordBatch.from_pylist(held, table.schema)
            held = []
    if held:
        yield pa.RecordBatch.from_pylist(held, table.schema)
