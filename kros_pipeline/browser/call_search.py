"""Find calls over all days of a range, and the turns that matched."""

import heapq
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from itertools import islice

from .call_filter import CallFilter
from .day_index import CallRow, DayIndex, IndexedTurn
from .erased_calls import ErasedCalls
from .index_cache import IndexCache

PAGE_SIZE = 25
_SNIPPETS_PER_CALL = 3
_THREADS = 4  # SQLite works without the GIL
_FIRST_ROWS = PAGE_SIZE + 1  # of each day; more are read of the days that fill a later page
_BUILD_SECONDS = 2.0  # how long an answer waits for days that have no index yet


@dataclass(frozen=True, slots=True)
class FoundCall:
    """A call of a list with the turns that matched, at most three."""

    row: CallRow
    turns: list[IndexedTurn]


@dataclass(frozen=True, slots=True)
class FoundPage:
    """One page of a list. `pending_days` have no index yet: their calls are not counted."""

    total: int
    calls: list[FoundCall]
    days: int
    pending_days: int
    problems: list[str]
    has_more: bool


class CallSearch:
    """Searches the day indexes. Threads may share it."""

    def __init__(self, cache: IndexCache, erased: ErasedCalls):
        self._cache, self._erased = cache, erased
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="search")

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def find(self, wanted: CallFilter) -> FoundPage:
        """Return one page of the calls that a filter holds for."""
        erased = self._erased.look()
        ready = self._cache.ready(wanted.first, wanted.last, within_seconds=_BUILD_SECONDS)
        begin, end = (wanted.page - 1) * PAGE_SIZE, wanted.page * PAGE_SIZE
        results = list(self._pool.map(lambda index: index.find(wanted, _FIRST_ROWS), ready.indexes))
        days = [_all_rows(index, wanted, *found) for index, found in zip(ready.indexes, results, strict=True)]
        rows = _merge(days, wanted.effective_order)
        kept = list(islice((row for row in rows if not self._erased.matches(row.key, erased)), begin, end + 1))
        by_day = {index.day: index for index in ready.indexes}
        calls = list(self._pool.map(lambda row: self._with_turns(by_day[row.day], row, wanted), kept[:PAGE_SIZE]))
        return FoundPage(
            total=sum(count for count, _ in results),
            calls=calls,
            days=len(ready.indexes),
            pending_days=ready.pending,
            problems=ready.problems,
            has_more=len(kept) > PAGE_SIZE,
        )

    def iterate(self, wanted: CallFilter) -> Iterator[CallRow]:
        """Yield every call that a filter holds for, by time. Days without an index are built first, however long."""
        days = [day for day in self._cache.days() if wanted.first <= day <= wanted.last]
        for day in days if wanted.effective_order == "oldest" else reversed(days):
            index = self._cache.open(day)
            erased = self._erased.look()
            if index is not None:
                yield from (row for row in index.iterate(wanted) if not self._erased.matches(row.key, erased))

    def rows(self, places: Iterable[tuple[date, str]]) -> list[CallRow]:
        """Return the calls at these days and keys, in their order, without those that are gone or erased."""
        erased = self._erased.look()
        found = []
        for day, key in places:
            index = self._cache.open(day)
            call = index.call(key) if index is not None and not self._erased.matches(key, erased) else None
            if call is not None:
                found.append(call.row)
        return found

    def values(self, wanted: CallFilter) -> tuple[list[str], list[str]]:
        """Return the languages and rules of a range, for the filter's choices."""
        ready = self._cache.ready(wanted.first, wanted.last, within_seconds=0)
        found = list(self._pool.map(DayIndex.values, ready.indexes))
        return (
            sorted(set().union(*(languages for languages, _ in found))),
            sorted(set().union(*(rules for _, rules in found))),
        )

    def _with_turns(self, index: DayIndex, row: CallRow, wanted: CallFilter) -> FoundCall:
        conditions = tuple(condition for condition in wanted.conditions if not condition.is_without)
        return FoundCall(row, index.matching_turns(row.no, conditions, _SNIPPETS_PER_CALL) if conditions else [])


def _all_rows(index: DayIndex, wanted: CallFilter, total: int, first: list[CallRow]) -> Iterator[CallRow]:
    """Yield the rows of a day, the first of which are known; the others are read in larger and larger parts."""
    rows, at = first, 0
    while rows:
        yield from rows
        at += len(rows)
        rows = index.find(wanted, at, at)[1] if at < total else []


def _merge(days: list[Iterator[CallRow]], order: str) -> Iterator[CallRow]:
    """Merge the days' rows, each in order already."""

    def place(row: CallRow) -> tuple[float, float]:
        at = row.created_at.timestamp() if row.created_at is not None else 0.0
        match order:
            case "best":
                return -row.score, -at
            case "oldest":
                return at, 0.0
            case "longest":
                return -(row.duration_seconds or -1.0), -at
        return -at, 0.0

    return heapq.merge(*days, key=place)
