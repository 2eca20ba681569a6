"""Reads which calls the days around a listing have: as digests, and by their ids where two digests are equal."""

from collections.abc import Callable, Iterator
from datetime import date
from itertools import compress
from typing import TypeVar

from ..archive.object_store import VersionToken
from ..archive.parquet import Partition
from ..archive.tables import Tables
from ..core import schemas
from ..core.days import days_beside
from ..core.digest_set import DigestSet, digest_all
from ..core.errors import UnreadablePartition

_T = TypeVar("_T")


class ArchivedIds:
    """The ids of the table `calls`, by day; each day is read once, and only when it is asked for.

    Another day's table that cannot be read stops nothing here: it counts as absent, and is named in `unreadable`.
    """

    def __init__(self, day: date, tables: Tables):
        self._day, self._tables = day, tables
        self._ids: dict[date, DigestSet | None] = {}
        self._versions: dict[date, VersionToken | None] = {}
        self.unreadable: dict[date, str] = {}

    def __call__(self, day: date) -> DigestSet:
        """Return the ids of a day; none where there is no table."""
        return self._read(day) or DigestSet()

    def beside(self) -> DigestSet:
        """Return the ids of the day before and of the day after."""
        before, after = days_beside(self._day)
        return self(before) | self(after)

    def find(self, day: date, digests: DigestSet) -> set[str]:
        """Return the ids of a day that have one of these digests. The table is read again, if there are any."""
        if not len(digests):
            return set()
        return self._look(day, lambda partition: ids_with(digests, partition)) or set()

    def find_common(self, day: date, other: date) -> set[str]:
        """Return the ids that two days have. Where digests match, the ids themselves are compared."""
        common = self(day) & self(other)
        return self.find(day, common) & self.find(other, common)

    def has_table(self, day: date) -> bool:
        """Return whether the day has a table."""
        return self._read(day) is not None

    def forget_changed(self, day: date) -> None:
        """Read a day again, when it is asked for, if its table was replaced since it was read."""
        if day in self._ids and self._tables.version(schemas.CALLS, day) != self._versions[day]:
            del self._ids[day]

    def _read(self, day: date) -> DigestSet | None:
        if day not in self._ids:
            version, ids = self._look(day, lambda partition: (partition.version, digests_of(partition))) or (None, None)
            self._versions[day], self._ids[day] = version, ids
        return self._ids[day]

    def _look(self, day: date, read: Callable[[Partition], _T]) -> _T | None:
        """Read a day's table; None where there is none, or where another day's cannot be read, which is noted."""
        try:
            with self._tables.opened(schemas.CALLS, day) as partition:
                return read(partition) if partition is not None else None
        except UnreadablePartition as error:
            if day == self._day:
                raise
            self.unreadable[day] = str(error)
            return None


def ids_in(partition: Partition | None) -> Iterator[list[str]]:
    """Yield the ids of a partition, a batch at a time; none where there is no partition."""
    for batch in partition.batches(("call_id",)) if partition is not None else ():
        yield batch.column("call_id").to_pylist()


def digests_of(partition: Partition | None) -> DigestSet:
    """Return the ids of a partition as digests."""
    found = DigestSet()
    for ids in ids_in(partition):
        found.update(ids)
    return found


def ids_with(digests: DigestSet, partition: Partition | None) -> set[str]:
    """Return the ids of a partition that have one of these digests. It is not read where there are none."""
    if not len(digests):
        return set()
    return {call_id for ids in ids_in(partition) for call_id in compress(ids, digests.has(digest_all(ids)))}
