"""Read a few columns of the tables of many days: of each file its footer and these columns, in ranges."""

from collections.abc import Callable
from datetime import date
from typing import BinaryIO, TypeVar, cast

from ..core.errors import ObjectChanged, UnreadablePartition
from ..core.object_keys import day_in, table_key, table_prefix
from ..core.schemas import Table
from .object_store import Entry, ObjectStore
from .parquet import Partition
from .ranged_file import RangedFile
from .tables import Tables

_T = TypeVar("_T")


def list_partitions(store: ObjectStore, table: Table) -> dict[date, Entry]:
    """Return the object of each partition of a table, by day. It costs a request per 1,000 days."""
    entries = ((day_in(entry.key), entry) for entry in store.list(table_prefix(table.name)))
    return {day: entry for day, entry in entries if day is not None and entry.key == table_key(table.name, day)}


def read_in_ranges(
    tables: Tables, store: ObjectStore, table: Table, day: date, entry: Entry, use: Callable[[Partition], _T]
) -> _T | None:
    """Return what `use` makes of a partition that was listed; it should read few columns, and may be called twice.

    Where the partition was replaced meanwhile, or its parts cannot be read, it is read whole. Returns None where it is
    gone, and raises `UnreadablePartition` as `Tables.opened` does.
    """

    def read_range(begin: int, end: int) -> bytes:
        part = store.read_range(entry.key, begin, end, version=entry.version)
        if part is None or len(part) != end - begin:
            raise ObjectChanged(f"{entry.key} was replaced or deleted while it was read")
        return part

    try:
        file = cast(BinaryIO, RangedFile(read_range, entry.size_bytes))
        return use(Partition(table, file, entry.version, entry.key))
    except (ObjectChanged, UnreadablePartition):
        with tables.opened(table, day) as partition:
            return use(partition) if partition is not None else None
