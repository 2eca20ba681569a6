"""Looks for calls in what every day of the archive has: its tables `calls` and `reconciliation`, and its listing.

Of a table only the wanted columns are requested: two or three requests a day, however many calls the day has.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import date
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from ..archive.object_store import Entry, ObjectStore
from ..archive.parquet import Partition
from ..archive.ranged_tables import list_partitions, read_in_ranges
from ..archive.tables import Tables
from ..core import schemas
from ..core.id_digests import digest_id
from ..core.listed_digests import find_listed
from ..core.object_keys import LISTINGS, day_in, listing_key, table_key
from ..core.worker_threads import worker_threads
from .residue_search import ResidueSearch

_T = TypeVar("_T")
_Item = TypeVar("_Item")


class EveryDay:
    """All days of an archive. Threads share nothing of it but the store."""

    def __init__(self, store: ObjectStore, tables: Tables, threads: int):
        self._store, self._tables, self._threads = store, tables, threads

    def read(
        self,
        table: schemas.Table,
        use: Callable[[date, Partition], _T],
        *,
        only: Collection[date] | None = None,
        without: Collection[date] = (),
    ) -> Iterator[tuple[date, _T]]:
        """Yield what `use` makes of the partition of each day; `use` reads few columns, and may be called twice.

        Raises `UnreadablePartition`.
        """

        def read(place: tuple[date, Entry]) -> _T | None:
            day, entry = place
            return read_in_ranges(self._tables, self._store, table, day, entry, lambda partition: use(day, partition))

        listed = list_partitions(self._store, table)
        places = [(day, entry) for day, entry in listed.items() if day not in without and (only is None or day in only)]
        for (day, _), found in zip(places, self._map(read, places), strict=True):
            if found is not None:
                yield day, found

    def find_calls(self, call_ids: Collection[str]) -> Iterator[tuple[date, str]]:
        """Find calls in the tables `calls`, and yield each with its day."""
        for day, found in self.read(schemas.CALLS, lambda _, calls: find_ids(calls, call_ids)):
            for call_id in found:
                yield day, call_id

    def find_listed(self, call_ids: Collection[str]) -> Iterator[tuple[date, str]]:
        """Find calls in the listings, and yield each with its day. What is no listing is reported by the search."""
        by_digest = {digest_id(call_id): call_id for call_id in call_ids}
        for day, digests in self._read_listings(lambda body: _find_listed(body, by_digest.keys())):
            for digest in digests:
                yield day, by_digest[digest]

    def without_calls(self, days: Iterable[date]) -> list[date]:
        """Return those of the days that have no present table `calls`, which says whose the rest of a day is."""
        return sorted(set(days) - list_partitions(self._store, schemas.CALLS).keys())

    def find_residue(self, search: ResidueSearch, call_ids: Collection[str], without: Collection[date]) -> list[str]:
        """Return the keys of present tables and listings in which something is left; days of `without` are left out."""

        def is_in_calls(_: date, calls: Partition) -> bool:
            if search.has_number:
                return search.is_in_batches(calls.batches(("call_id", "from_number", "to_number", "extra")))
            return bool(find_ids(calls, call_ids))

        def is_in_row(_: date, rows: Partition) -> bool:
            return search.is_in_batches(rows.batches(("problems",)))

        found = []
        for table, is_in in ((schemas.CALLS, is_in_calls), (schemas.RECONCILIATION, is_in_row)):
            hits = self.read(table, is_in, without=without)
            found += [f"{table_key(table.name, day)} (present)" for day, is_hit in hits if is_hit]
        hits_of_days = self._read_listings(search.is_in_listing, without)
        return found + [f"{listing_key(day)} (present)" for day, is_hit in hits_of_days if is_hit]

    def _read_listings(self, use: Callable[[bytes], _T], without: Collection[date] = ()) -> Iterator[tuple[date, _T]]:
        """Yield what `use` makes of the listing of each day, in threads: all of them would not fit into memory."""
        listed = ((day_in(entry.key), entry.key) for entry in self._store.list(LISTINGS))
        found = {day: key for day, key in listed if day is not None and key == listing_key(day)}  # else it is a copy
        keys = {day: key for day, key in found.items() if day not in without}
        yield from zip(keys, self._map(lambda key: use(self._store.read(key) or b"{}"), keys.values()), strict=True)

    def _map(self, work: Callable[[_Item], _T], items: Iterable[_Item]) -> Iterator[_T]:
        with worker_threads(self._threads, "every-day") as pool:
            yield from pool.map(work, items)


def find_ids(partition: Partition, call_ids: Collection[str]) -> list[str]:
    """Return those of the calls that a partition has; row groups that can have none of them are not read."""
    wanted = pa.array(sorted(filter(_is_storable, call_ids)), pa.string())
    found: list[str] = []
    for batch in partition.batches(("call_id",), among=call_ids):
        ids = batch.column("call_id")
        found += ids.filter(pc.is_in(ids, wanted)).to_pylist()
    return found


def _is_storable(call_id: str) -> bool:
    """Return whether a table can have an id: none has a lone surrogate."""
    try:
        call_id.encode()
    except UnicodeEncodeError:
        return False
    return True


def _find_listed(listing: bytes, wanted: Collection[bytes]) -> set[bytes]:
    """Return those of the digests that a listing has; none where it cannot be read."""
    try:
        return find_listed(json.loads(listing), wanted)
    except ValueError:
        return set()
