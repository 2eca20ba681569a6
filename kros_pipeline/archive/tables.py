"""The archive's tables: one Parquet object per partition, replaced as a whole, and only where it changed."""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from itertools import chain
from typing import BinaryIO, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from ..core.errors import MissingTable, NewerTable, ObjectChanged, UnreadablePartition
from ..core.object_keys import call_key, table_key
from ..core.redaction import redact
from ..core.schemas import Table
from .compare_and_swap import compare_and_swap
from .local_files import of_this_machine
from .moved_calls import MovedCalls
from .object_store import CREATE, ObjectStore, PutMode, Replace, VersionToken
from .parquet import Partition, Row, cut_evenly, sha256_of, write_parquet
from .tombstones import MAX_AGE_SECONDS, Tombstones

Build: TypeAlias = Callable[[Partition | None], Iterator[pa.RecordBatch]]
"""Makes a partition's new rows, sorted, from the present one.

It may be called again after a conflict. It raises neither `ObjectExists` nor `ObjectChanged`: they would pass for one.
"""
BeforePut: TypeAlias = Callable[[Partition | None, str, int], None]
"""Is called right before each PUT, with the present partition, and SHA-256 and number of rows of the new file."""


@dataclass(frozen=True, slots=True)
class WriteResult:
    """Size of a partition. `changed` is False where its bytes equal those that were read: then nothing is put."""

    rows: int
    size_bytes: int
    changed: bool


class Tables:
    """The archive's tables, by table and day. No row of an erased call, or of one that an earlier day keeps, is put."""

    def __init__(self, store: ObjectStore, tombstones: Tombstones):
        self._store, self._tombstones = store, tombstones
        self.moved = MovedCalls(store)

    @contextmanager
    def transaction(
        self, table: Table, day: date, *, replaces_unreadable: bool = False
    ) -> Iterator["PartitionTransaction"]:
        """Read a partition, to replace it once or several times. Raises `UnreadablePartition`.

        With `replaces_unreadable` an unreadable partition counts as absent, and is replaced: for a table that can be
        computed again from the others.
        """
        transaction = PartitionTransaction(
            self._store, self._tombstones, self.moved, table, day, replaces_unreadable=replaces_unreadable
        )
        try:
            yield transaction
        finally:
            transaction.close()

    @contextmanager
    def opened(self, table: Table, day: date) -> Iterator[Partition | None]:
        """Read a partition; None where there is none."""
        with self.transaction(table, day) as transaction:
            yield transaction.present

    @contextmanager
    def required(self, table: Table, day: date) -> Iterator[Partition]:
        """Read a partition that a step cannot do without. Raises `MissingTable` where there is none."""
        with self.opened(table, day) as partition:
            if partition is None:
                raise MissingTable(
                    f"{table.name} of {day} is missing: materialize `{table.name}` first, or restore the object "
                    f"{table_key(table.name, day)}"
                )
            yield partition

    def version(self, table: Table, day: date) -> VersionToken | None:
        """Return the version of a partition; None where there is none."""
        head = self._store.head(table_key(table.name, day))
        return head.version if head is not None else None

    def rows(self, table: Table, day: date, columns: Iterable[str] | None = None) -> list[Row]:
        """Return all rows of a partition, none where there is no partition. For tables that fit into memory."""
        with self.transaction(table, day) as transaction:
            return list(transaction.rows(columns))

    def commit(self, table: Table, day: date, build: Build, *, replaces_unreadable: bool = False) -> WriteResult:
        """Open a transaction, and commit `build` in it."""
        with self.transaction(table, day, replaces_unreadable=replaces_unreadable) as transaction:
            return transaction.commit(build)

    def bar_late_writes(self, table: Table, day: date, erasure_token: str) -> WriteResult:
        """Make every write fail that has read the partition, or found none, before this one.

        The rows stay, but for those of erased calls. The partition gets a new version even so, because the file has the
        token; where there is none, an empty one is created. A writer whose condition does not hold reads again, and
        then sees the tombstones, which exist already.
        """
        with self.transaction(table, day) as transaction:
            return transaction.commit(_unchanged, erasure_token=erasure_token)


def _unchanged(present: Partition | None) -> Iterator[pa.RecordBatch]:
    return present.batches() if present is not None else iter(())


class PartitionTransaction:
    """One partition: read once, and read again only where another writer has replaced it since."""

    def __init__(
        self,
        store: ObjectStore,
        tombstones: Tombstones,
        moved: MovedCalls,
        table: Table,
        day: date,
        *,
        replaces_unreadable: bool = False,
    ):
        self._store, self._tombstones, self._moved = store, tombstones, moved
        self._table, self._day, self._key = table, day, table_key(table.name, day)
        self._replaces_unreadable = replaces_unreadable
        self._unreadable_version: VersionToken | None = None
        self._is_to_look = False  # for tombstones, because the partition that was read has an erasure's token
        self._tried: tuple[str, WriteResult] | None = None  # what the last PUT tried to write, by its SHA-256
        self.present: Partition | None = None
        self._read()

    def close(self) -> None:
        """Close and delete the local file."""
        self._set_present(None)

    def rows(self, columns: Iterable[str] | None = None) -> Iterator[Row]:
        """Yield the rows of the present partition; none where there is no partition."""
        return self.present.rows(columns) if self.present is not None else iter(())

    def commit(
        self, build: Build, *, erasure_token: str | None = None, before_put: BeforePut | None = None
    ) -> WriteResult:
        """Write the partition that `build` makes of the present one; it is the present one afterwards.

        If another writer replaced the partition meanwhile, `build` is called again with what that writer wrote: two
        runs of one day lose nothing of each other's. No row of an erased call is written, whatever `build` makes: an
        erasure gives the partition another version, so that the condition of a writer that had read it before does not
        hold; and a writer that reads the erasure's token looks for its tombstones. The list of erased calls is at most
        `MAX_AGE_SECONDS` old otherwise. `erasure_token` is that of an erasure; other writers carry the present one on.

        Raises `ArchiveUnavailable` where others replace the partition again and again, and `NewerTable` where it has
        columns that this version does not know. Raises `LocalFault` where this machine has no disk or memory for it.
        """
        self._tried = None
        return compare_and_swap(self._key, lambda: self._write(build, erasure_token, before_put), read_again=self._read)

    def _write(self, build: Build, erasure_token: str | None, before_put: BeforePut | None) -> WriteResult:
        if self._tried is not None and self.present is not None and self.present.sha256() == self._tried[0]:
            return self._tried[1]  # the last PUT was ours, and its answer was lost
        if self.present is not None and self.present.unknown_columns:
            raise NewerTable(
                f"{self._key} has columns that this version of kros_pipeline does not know "
                f"({', '.join(map(redact, self.present.unknown_columns))}): it would drop them. Nothing was written. "
                "Install the version that wrote them, or a newer one, on every machine"
            )
        with ExitStack() as close_unless_put:
            erased = self._erased()
            if erasure_token is None and self.present is not None:
                erasure_token = self.present.erasure_token
            with of_this_machine(self._key):
                file = close_unless_put.enter_context(tempfile.TemporaryFile(prefix="kros-"))
                rows = write_parquet(self._table, file, self._without(erased, build(self.present)), erasure_token)
                size_bytes, digest = file.tell(), sha256_of(file)
            if self.present is not None and self.present.sha256() == digest:
                return WriteResult(rows, size_bytes, changed=False)
            if self._has_row_of(file, self._erased() - erased):
                raise ObjectChanged(f"{self._key}: one of its calls was erased meanwhile")
            if before_put is not None:
                before_put(self.present, digest, rows)
            self._tried = digest, WriteResult(rows, size_bytes, changed=True)
            version = self._store.put(
                self._key,
                file,
                sha256=digest,
                mode=self._mode(),
                content_type="application/vnd.apache.parquet",
            )
            self._set_present(Partition(self._table, file, version, self._key))
            close_unless_put.pop_all()
        result, self._tried = self._tried[1], None
        return result

    def _read(self) -> None:
        with of_this_machine(self._key), ExitStack() as close_unless_present:
            file = close_unless_present.enter_context(tempfile.TemporaryFile(prefix="kros-"))
            version = self._store.copy_into(self._key, file)
            file.seek(0)
            self._set_present(None)
            self._unreadable_version = None
            if version is None:
                return
            try:
                self._set_present(partition := Partition(self._table, file, version, self._key, is_sorted=False))
                self._is_to_look = partition.erasure_token is not None
            except UnreadablePartition:
                if not self._replaces_unreadable:
                    raise
                self._unreadable_version = version
                return
            close_unless_present.pop_all()

    def _mode(self) -> PutMode:
        version = self.present.version if self.present is not None else self._unreadable_version
        return Replace(version) if version is not None else CREATE

    def _set_present(self, partition: Partition | None) -> None:
        if self.present is not None:
            self.present.close()
        self.present = partition

    def _erased(self) -> frozenset[str]:
        erased = self._tombstones.pseudonyms(max_age_seconds=0.0 if self._is_to_look else MAX_AGE_SECONDS)
        self._is_to_look = False
        return erased

    def _without(self, erased: frozenset[str], batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Leave out calls. From the first one on, the batches are cut as if the call had never been there."""
        moved = self._moved.keys_of(self._day)
        for batch in batches:
            left = self._leave_out(batch, erased, moved)
            if left.num_rows < batch.num_rows:
                rest = (self._leave_out(other, erased, moved) for other in batches)
                yield from cut_evenly(self._table, chain([left], rest))
                return
            yield batch

    def _leave_out(self, batch: pa.RecordBatch, erased: frozenset[str], moved: frozenset[str]) -> pa.RecordBatch:
        gone = self._find_erased(batch, erased, moved)
        if not gone:
            return batch
        ids = batch.column("call_id")
        return batch.filter(pc.invert(pc.is_in(ids, pa.array(gone, ids.type))))

    def _has_row_of(self, file: BinaryIO, erased: frozenset[str]) -> bool:
        """Return whether a written file has a row of one of these calls. It is not read where there are none."""
        if not erased or "call_id" not in self._table.column_names:
            return False
        written = Partition(self._table, file, VersionToken(""), self._key)
        return any(self._find_erased(batch, erased) for batch in written.batches(("call_id",)))

    def _find_erased(
        self, batch: pa.RecordBatch, erased: frozenset[str], moved: frozenset[str] = frozenset()
    ) -> list[str]:
        """Return the calls of a batch that are erased, and those with a key in `moved`."""
        if not (erased or moved) or "call_id" not in batch.schema.names:
            return []
        keys = {call_id: call_key(call_id) for call_id in batch.column("call_id").unique().to_pylist()}
        return [call_id for call_id, key in keys.items() if key in moved or self._tombstones.matches(key, erased)]
