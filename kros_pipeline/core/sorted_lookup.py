"""Merge-joins of sorted tables, so that none has to be held in memory."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any


class SortedLookup:
    """Rows sorted by `call_id`, looked up in ascending order."""

    def __init__(self, rows: Iterable[dict[str, Any]]):
        self._rows = iter(rows)
        self._next = next(self._rows, None)

    def find(self, call_id: str) -> dict[str, Any] | None:
        """Return the row of a call; None where there is none. Calls must be looked up in ascending order."""
        while self._next is not None and self._next["call_id"] < call_id:
            self._next = next(self._rows, None)
        return self._next if self._next is not None and self._next["call_id"] == call_id else None


def outer_join(
    left: Iterable[dict[str, Any]], right: Iterable[dict[str, Any]]
) -> Iterator[tuple[dict[str, Any] | None, dict[str, Any] | None]]:
    """Yield the rows of two tables side by side, by `call_id`; None where a table has no row of the call.

    Both are sorted by `call_id`, with one row a call. A second row of a call has no partner.
    """
    lefts, rights = iter(left), iter(right)
    ours, theirs = next(lefts, None), next(rights, None)
    while ours is not None or theirs is not None:
        if theirs is None or (ours is not None and ours["call_id"] < theirs["call_id"]):
            yield ours, None
            ours = next(lefts, None)
        elif ours is None or theirs["call_id"] < ours["call_id"]:
            yield None, theirs
            theirs = next(rights, None)
        else:
            yield ours, theirs
            ours, theirs = next(lefts, None), next(rights, None)


def group_by_call(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield one row a call, with its `call_id` and its `rows`, of a table that is sorted by `call_id`."""
    for call_id, group in groupby(rows, key=lambda row: row["call_id"]):
        yield {"call_id": call_id, "rows": list(group)}
