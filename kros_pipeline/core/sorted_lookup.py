"""The sorted lookup: a merge-join of two sorted tables, so that neither has to be held in memory."""

from collections.abc import Iterable
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
