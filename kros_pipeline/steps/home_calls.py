"""The calls of one listing, by the day that keeps each. Only those that another day keeps, or learns of, are copied."""

import heapq
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from itertools import compress, groupby
from operator import attrgetter

from ..core.calls import Call
from ..core.days import days_beside
from ..core.digest_set import Digests, DigestSet, digest_all
from ..core.home_days import find_home_days
from .archived_ids import ArchivedIds
from .call_runs import CallRuns
from .listed_rows import ListedRows

_by_id = attrgetter("call_id")


class HomeCalls:
    """The calls of the listing of `day`, by the day that keeps each.

    `kept` are the day's own. `added` counts those that are new in another day, and `updated` has those that another day
    knows. `removed` are rows of the day that an earlier day keeps, each with that day. `doubled` are later days that
    have a call of the day, too: their next run removes it.
    """

    def __init__(self, day: date, rows: ListedRows):
        self._day, self._rows = day, rows
        self._away = DigestSet()  # of the calls that are listed as the day's, those that another day keeps
        # calls by the day that keeps each, where they are listed as another's
        self._moved = CallRuns(lambda _, new: new)
        self.kept = DigestSet()
        self.added: Counter[date] = Counter()
        self.updated: dict[date, DigestSet] = {}
        self.removed: dict[str, date] = {}
        self.doubled: set[date] = set()

    def close(self) -> None:
        """Delete the temporary file of the calls."""
        self._moved.close()

    @property
    def other_days(self) -> list[date]:
        """The days whose tables learn something, in ascending order."""
        return sorted({*self.added, *self.updated})

    def calls_of(self, day: date) -> Iterator[Call]:
        """Yield the calls that a day keeps, in ascending order of their ids."""
        moved = self._moved.of_day(day)
        if day != self._day:
            yield from moved
            return
        for _, same in groupby(heapq.merge(self._own_calls(), moved, key=_by_id), key=_by_id):
            *_, last = same
            yield last

    def _own_calls(self) -> Iterator[Call]:
        for calls in self._rows.batches_of(self._day):
            if len(self._away):
                yield from compress(calls, ~self._away.has(_digests_of(calls)))
            else:
                yield from calls

    def find(
        self, archived: ArchivedIds, is_erased: Callable[[str], bool], may_be_added: Callable[[date], bool]
    ) -> None:
        """Assign every listed call to the day that keeps it; see `core.home_days`. No erased call of others is."""
        before, after = days_beside(self._day)
        self.removed = dict.fromkeys(archived.find_common(self._day, before), before)
        if archived.find_common(self._day, after):
            self.doubled.add(after)

        def find_homes(created_on: date, calls: Digests) -> list[date | None]:
            return find_home_days(self._day, created_on, calls, archived=archived, may_be_added=may_be_added)

        suspects = (self._rows.ids & archived.beside()).digests
        is_away = [home != self._day for home in find_homes(self._day, suspects)]
        self._away = DigestSet.of_digests(suspects[is_away])
        self.kept = self._rows.ids - self._away
        for created_on in ([self._day] if len(self._away) else []) + self._rows.other_days:
            for batch in self._rows.batches_of(created_on):
                calls = [call for call in batch if created_on == self._day or not is_erased(call.call_id)]
                for call, home in zip(calls, find_homes(created_on, _digests_of(calls)), strict=True):
                    if home is not None and not home == created_on == self._day:
                        self._assign(call, created_on, home)

    def _assign(self, call: Call, created_on: date, home: date) -> None:
        self._moved.add(home, replace(call, call_date=home))
        if home == created_on:
            self.added[home] += 1
        elif home == self._day:
            self.kept.add(call.call_id)
        else:
            self.updated.setdefault(home, DigestSet()).add(call.call_id)


def _digests_of(calls: list[Call]) -> Digests:
    return digest_all(call.call_id for call in calls)
