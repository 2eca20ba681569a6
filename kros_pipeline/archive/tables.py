"""The tables: one Parquet object a partition, replaced whole, under a condition, and only where it changed."""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ..core.object_keys import call_key, table_key
from ..core.schemas import Table
from .compare_and_swap import Conflict, retry_on_conflict
from .object_store import CREATE, ObjectStore, Replace
from .parquet import Partition, file_sha256, write_parquet
from .tombstones import MAX_AGE_SECONDS, Tombstones

Build = Callable[[Partition | None], Iterator[pa.RecordBatch]]
"""Makes the new rows of a partition out of the present ones."""


@dataclass(frozen=True, slots=True)
class WriteResult:
    """What a partition holds. `changed` is False where its bytes are those that were read, and nothing was put."""

    rows: int
    size_bytes: int
    changed: bool


class Tables:
    """The archive's tables, by table and day."""

    def __init__(self, store: ObjectStore, tombstones: Tombstones):
        self._store, self._tombstones = store, tombstones

    @contextmanager
    def transaction(self, table: Table, day: date) -> Iterator["PartitionTransaction"]:
        """Read a partition once, to commit to it once or several times."""
        transaction = PartitionTransaction(self._store, self._tombstones, table, day)
        try:
            yield transaction
        finally:
            transaction.close()

    @contextmanager
    def opened(self, table: Table, day: date) -> Iterator[Partition | None]:
        """Open the partition as it is now; None where there is none."""
        with self.transaction(table, day) as transaction:
            yield transaction.present

    def rows(self, table: Table, day: date, columns: Iterable[str] | None = None) -> list[dict[str, Any]]:
        """Return all rows of a partition; none where there is no partition. For tables that fit into memory."""
        with self.transaction(table, day) as transaction:
            return list(transaction.rows(columns))

    def commit(self, table: Table, day: date, build: Build) -> WriteResult:
        """Read one partition and write it once; see `PartitionTransaction.commit`."""
        with self.transaction(table, day) as transaction:
            return transaction.commit(build)


class PartitionTransaction:
    """One partition, read once; and again only where another writer has replaced it since."""

    def __init__(self, store: ObjectStore, tombstones: Tombstones, table: Table, day: date):
        self._store, self._tombstones = store, tombstones
        self._table, self._day, self._key = table, day, table_key(table.name, day)
        self.present: Partition | None = None
        self._read()

    def close(self) -> None:
        """Close the local file."""
        self._keep(None)

    def rows(self, columns: Iterable[str] | None = None) -> Iterator[dict[str, Any]]:
        """Yield the rows as they were last read or written; none where there is no partition."""
        return self.present.rows(columns) if self.present is not None else iter(())

    def commit(self, build: Build) -> WriteResult:
        """Write the rows that `build` makes of the present ones, under the condition that nobody wrote in between.

        Where somebody did, the partition is read again and `build` is called with what they wrote: so two runs of one
        day lose nothing of each other's. No row of an erased call is written, whatever `build` makes: the tombstones
        are read before the rows are made and before they are put, and are at most as old as for a recording's PUT.
        """

        def attempt(number: int) -> WriteResult:
            if number:
                self._read()
                self._tombstones.pseudonyms_of(self._day)  # the other writer may have been an erasure
            return self._write(build)

        return retry_on_conflict(self._key, attempt)

    def _write(self, build: Build) -> WriteResult:
        with ExitStack() as unless_put:
            file = unless_put.enter_context(tempfile.TemporaryFile(prefix="kros-"))
            pseudonyms = self._pseudonyms()
            rows = write_parquet(self._table, file, self._drop_erased(pseudonyms, build(self.present)))
            size_bytes, digest = file.tell(), file_sha256(file)
            if self.present is not None and self.present.sha256() == digest:
                return WriteResult(rows, size_bytes, changed=False)
            if self._pseudonyms() != pseudonyms:
                raise Conflict
            version = self._store.put(
                self._key,
                file,
                sha256=digest,
                mode=Replace(self.present.version) if self.present else CREATE,
                content_type="application/vnd.apache.parquet",
            )
            self._keep(Partition(self._table, file, version))
            unless_put.pop_all()
            return WriteResult(rows, size_bytes, changed=True)

    def _read(self) -> None:
        with ExitStack() as unless_present:
            file = unless_present.enter_context(tempfile.TemporaryFile(prefix="kros-"))
            version = self._store.copy_into(self._key, file)
            file.seek(0)
            self._keep(Partition(self._table, file, version) if version is not None else None)
            if version is not None:
                unless_present.pop_all()

    def _keep(self, partition: Partition | None) -> None:
        if self.present is not None:
            self.present.close()
        self.present = partition

    def _pseudonyms(self) -> frozenset[str]:
        return self._tombstones.pseudonyms_of(self._day, max_age_seconds=MAX_AGE_SECONDS)

    def _drop_erased(self, pseudonyms: frozenset[str], batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            if pseudonyms and "call_id" in batch.schema.names:
                ids = batch.column("call_id")
                erased = [
                    call_id
                    for call_id in ids.unique().to_pylist()
                    if self._tombstones.matches(call_key(call_id), pseudonyms)
                ]
                if erased:
                    batch = batch.filter(pc.invert(pc.is_in(ids, pa.array(erased, ids.type))))
            yield batch
