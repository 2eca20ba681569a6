"""Two sorted tables, read side by side in one go, so that neither has to be held."""

from collections.abc import Iterable
from typing import Any


class SortedLookup:
    """Rows sorted by `call_id`, looked up in ascending order."""

    def __init__(self, rows: Iterable[dict[str, Any]]):
        self._rows = iter(rows)
        self._next = next(self._rows, None)

    def of(self, call_id: str) -> dict[str, Any] | None:
        """The row of a call, or None; the calls must be asked for in ascending order."""
        while self._next is not None and self._next["call_id"] < call_id:
            self._next = next(self._rows, None)
        return self._next if self._next is not None and self._next["call_id"] == call_id else None
