"""Read and write the Parquet file of one partition. Equal rows give equal bytes, however they are cut into batches."""

import hashlib
import tempfile
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC
from typing import Any, BinaryIO, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..core.errors import UnreadablePartition
from ..core.schemas import Table
from .local_files import of_this_machine
from .object_store import VersionToken
from .row_order import is_in_order, write_in_order

ROWS_PER_GROUP = 100_000
_ERASURE_TOKEN = b"kros_erasure_token"
BYTES_PER_GROUP = 64 << 20  # a group of long transcripts must not need the memory of 100,000 of them
ROWS_PER_BATCH = 5_000

Row = dict[str, Any]
"""One row of a table: column name to plain Python value."""
_New = TypeVar("_New")


class Partition:
    """One version of a partition, in a local file or a ranged one. Columns that its file does not have yet are null.

    `key` is the object's, for messages. Without `is_sorted` another program may have written the file: rows that are
    not in the table's order are sorted before the first one is read. Raises `UnreadablePartition` and `LocalFault`,
    here or while rows are read.
    """

    def __init__(self, table: Table, file: BinaryIO, version: VersionToken, key: str = "", *, is_sorted: bool = True):
        self.version = version
        self._table, self._file, self._key = table, file, key or table.name
        self._is_sorted = is_sorted
        self._sorted: Partition | None = None  # a copy of the rows in the table's order
        with _readable(self._key):
            self._parquet = pq.ParquetFile(file, pre_buffer=False)  # else the whole file is in memory while it is read
            if not set(table.sorted_by) <= set(self._parquet.schema_arrow.names):
                raise pa.ArrowInvalid("a column that identifies the rows is missing")
            self.row_count = self._parquet.metadata.num_rows

    def close(self) -> None:
        """Close and delete the local file."""
        self._file.close()
        if self._sorted is not None:
            self._sorted.close()

    @property
    def unknown_columns(self) -> list[str]:
        """The columns of the file that the table does not have: a newer version of this package wrote them."""
        return [name for name in self._parquet.schema_arrow.names if name not in self._table.column_names]

    @property
    def missing_columns(self) -> list[str]:
        """The columns of the table that the file does not have: an older version wrote it. They are read as null."""
        return [name for name in self._table.column_names if name not in self._parquet.schema_arrow.names]

    @property
    def erasure_token(self) -> str | None:
        """The token of the last erasure that touched the partition; writers carry it on.

        So no file from before the erasure has the bytes, and thereby the version, of a later one.
        """
        token = (self._parquet.schema_arrow.metadata or {}).get(_ERASURE_TOKEN)
        return token.decode(errors="replace") if token is not None else None

    def sha256(self) -> str:
        """Return the SHA-256 of the file, in hexadecimal."""
        return sha256_of(self._file)

    def batches(
        self,
        columns: Iterable[str] | None = None,
        *,
        rows_per_batch: int | None = None,
        among: Collection[str] | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """Yield the rows in the table's order, in batches; only `columns`, if they are named.

        With `among` row groups are left out that can have no row of these calls.
        """
        if not self._is_sorted:
            self._sort()
        if self._sorted is not None:
            return self._sorted.batches(columns, rows_per_batch=rows_per_batch, among=among)
        return self._read(columns, rows_per_batch, among)

    def _sort(self) -> None:
        if not is_in_order(self._table, self._read(self._table.sorted_by, None, None)):
            with of_this_machine(self._key), ExitStack() as close_unless_whole:
                file = close_unless_whole.enter_context(tempfile.TemporaryFile(prefix="kros-"))
                write_in_order(self._table, self._read(None, None, None), file)
                self._sorted = Partition(self._table, file, self.version, self._key)
                close_unless_whole.pop_all()
        self._is_sorted = True

    def _read(
        self, columns: Iterable[str] | None, rows_per_batch: int | None, among: Collection[str] | None
    ) -> Iterator[pa.RecordBatch]:
        names = list(columns or self._table.column_names)
        schema = pa.schema([self._table.schema.field(name) for name in names])
        present = [name for name in names if name in self._parquet.schema_arrow.names]
        identifying = set(self._table.sorted_by)
        with _readable(self._key):
            groups = range(self._parquet.num_row_groups) if among is None else self._groups_with(among)
            size = rows_per_batch or ROWS_PER_BATCH
            for batch in self._parquet.iter_batches(batch_size=size, columns=present, row_groups=groups):
                arrays = [
                    batch.column(field.name) if field.name in present else pa.nulls(batch.num_rows, field.type)
                    for field in schema
                ]
                if any(array.null_count for array, name in zip(arrays, names, strict=True) if name in identifying):
                    raise pa.ArrowInvalid("a row has no identity")
                whole = pa.RecordBatch.from_arrays(arrays, schema=schema)
                whole.validate(full=True)  # a damaged page may unpack to bytes that are no text
                yield whole

    def _groups_with(self, call_ids: Collection[str]) -> list[int]:
        """Return the row groups whose smallest and largest `call_id` have one of the calls between them."""
        ordered, metadata = sorted(call_ids), self._parquet.metadata
        groups = range(metadata.num_row_groups)
        paths = [metadata.schema.column(number).path for number in range(metadata.num_columns)]
        if "call_id" not in paths:  # it has parts: the rows say what is wrong
            return list(groups)
        place = paths.index("call_id")  # a column before it may have parts, each of which counts

        def may_have_one(number: int) -> bool:
            bounds = _text_bounds(metadata.row_group(number).column(place).statistics)
            return bounds is None or bisect_left(ordered, bounds[0]) < bisect_right(ordered, bounds[1])

        return list(filter(may_have_one, groups))

    def rows(self, columns: Iterable[str] | None = None) -> Iterator[Row]:
        """Yield the rows as dicts of plain Python values."""
        for batch in self.batches(columns):
            values = [plain_values(column) for column in batch.columns]
            yield from (dict(zip(batch.schema.names, row, strict=True)) for row in zip(*values, strict=True))


def _text_bounds(statistics: pq.Statistics | None) -> tuple[str, str] | None:
    """Return the smallest and the largest text of a row group; None where they are not known, or are no texts."""
    if statistics is None or not statistics.has_min_max:
        return None
    try:
        smallest, largest = statistics.min, statistics.max
    except UnicodeDecodeError:
        return None
    return (smallest, largest) if isinstance(smallest, str) and isinstance(largest, str) else None


@contextmanager
def _readable(key: str) -> Iterator[None]:
    """Turn what Arrow raises for a file that is cut, or not of this table, into `UnreadablePartition`.

    A fault of this machine is `LocalFault`: the object may be whole.
    """
    try:
        with of_this_machine(key):
            yield
    except (pa.ArrowException, OSError) as error:
        raise UnreadablePartition(
            f"{key} cannot be read as a partition of its table ({type(error).__name__}): it is cut, or another program "
            "wrote it. Restore an older version, or move the object away and materialize the day"
        ) from None


def plain_values(column: pa.Array) -> list[Any]:
    """Convert a column to plain Python values.

    Arrow needs 3 microseconds per timestamp; numpy converts the whole column at once.
    """
    if pa.types.is_timestamp(column.type):
        times = column.cast(pa.timestamp("us")).to_numpy(zero_copy_only=False).tolist()
        return [None if time is None else time.replace(tzinfo=UTC) for time in times]
    if pa.types.is_date(column.type):
        dates: list[Any] = column.to_numpy(zero_copy_only=False).tolist()
        return dates
    values: list[Any] = column.to_pylist()
    return values


def sha256_of(file: BinaryIO) -> str:
    """Hash a whole file, piece by piece; the file stands at its end afterwards."""
    file.seek(0)
    digest = hashlib.sha256()
    while piece := file.read(1 << 20):
        digest.update(piece)
    return digest.hexdigest()


def write_parquet(
    table: Table, file: BinaryIO, batches: Iterable[pa.RecordBatch], erasure_token: str | None = None
) -> int:
    """Write sorted batches as one Parquet file of the table's schema, and return the number of rows.

    A row group ends at about 100,000 rows, or at 64 MB of long texts.
    """
    schema = table.schema
    if erasure_token is not None:
        schema = schema.with_metadata({_ERASURE_TOKEN: erasure_token.encode()})
    row_count = held_rows = held_bytes = 0
    held: list[pa.RecordBatch] = []
    with pq.ParquetWriter(file, schema, compression="zstd", compression_level=3) as writer:
        for batch in batches:
            held.append(batch)
            held_rows += batch.num_rows
            held_bytes += batch.nbytes
            row_count += batch.num_rows
            if held_rows >= ROWS_PER_GROUP or held_bytes >= BYTES_PER_GROUP:
                writer.write_table(pa.Table.from_batches(held, table.schema), row_group_size=held_rows)
                held, held_rows, held_bytes = [], 0, 0
        if held_rows:
            writer.write_table(pa.Table.from_batches(held, table.schema), row_group_size=held_rows)
    return row_count


def batches_of(table: Table, rows: Iterable[Row]) -> Iterator[pa.RecordBatch]:
    """Cut rows into batches of the table's schema, a few thousand rows each."""
    held: list[Row] = []
    for row in rows:
        held.append(row)
        if len(held) == ROWS_PER_BATCH:
            yield pa.RecordBatch.from_pylist(held, table.schema)
            held = []
    if held:
        yield pa.RecordBatch.from_pylist(held, table.schema)


def merged_batches(
    table: Table, present: Partition | None, news: Mapping[str, _New], merge: Callable[[Row | None, _New], Row]
) -> Iterator[pa.RecordBatch]:
    """Add rows to a partition that has one row per call, or replace them by what `merge(old, new)` returns.

    `news` is keyed by `call_id`: rows, or what they are made of. Rows that do not change stay in Arrow: as dicts they
    take ten times the memory and the time.
    """
    return cut_evenly(table, _merged(table, present, news, merge))


def _merged(
    table: Table, present: Partition | None, news: Mapping[str, _New], merge: Callable[[Row | None, _New], Row]
) -> Iterator[pa.Table]:
    call_ids, begin = sorted(news), 0
    for batch in present.batches() if present else ():
        end = bisect_right(call_ids, batch.column("call_id")[-1].as_py(), begin)
        of_batch = call_ids[begin:end]  # looking for all of them costs the square of the calls
        # A second row of the last one may begin this batch, where another program wrote the table.
        is_touched = pc.is_in(batch.column("call_id"), pa.array(call_ids[max(0, begin - 1) : end], pa.string()))
        begin = end
        known = {row["call_id"]: row for row in batch.filter(is_touched).to_pylist()}
        rows = [merge(known.get(call_id), news[call_id]) for call_id in of_batch]
        unchanged = pa.Table.from_batches([batch.filter(pc.invert(is_touched))])
        yield pa.concat_tables([unchanged, pa.Table.from_pylist(rows, table.schema)]).sort_by("call_id")
    yield pa.Table.from_pylist([merge(None, news[call_id]) for call_id in call_ids[begin:]], table.schema)


def cut_evenly(table: Table, parts: Iterable[pa.Table | pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Cut rows into the batches that `batches_of` gives: how a file is cut decides its bytes."""
    rest = table.schema.empty_table()
    for part in parts:
        rows = part if isinstance(part, pa.Table) else pa.Table.from_batches([part], table.schema)
        rest = pa.concat_tables([rest, rows])
        while rest.num_rows >= ROWS_PER_BATCH:
            yield from rest.slice(0, ROWS_PER_BATCH).combine_chunks().to_batches()
            rest = rest.slice(ROWS_PER_BATCH)
    yield from rest.combine_chunks().to_batches()
