"""Calls that two days had, and that the earlier day keeps: their rows and objects of the later day count no more.

Two runs at once can put one call into two days, if its `created_at` moves over midnight upstream meanwhile. No step has
the right to delete, so the later day's object stays in the bucket; a marker says why no table names it.
"""

from datetime import date
from threading import Lock

from ..core.object_keys import moved_key, moved_prefix
from .json_objects import create_json, list_names
from .object_store import ObjectStore


class MovedCalls:
    """The markers, by day; each day is listed once. Threads may share it."""

    def __init__(self, store: ObjectStore):
        self._store = store
        self._known: dict[date, frozenset[str]] = {}
        self._lock = Lock()

    def keys_of(self, day: date) -> frozenset[str]:
        """Return the call keys of the calls that an earlier day keeps."""
        with self._lock:
            if day not in self._known:
                self._known[day] = list_names(self._store, moved_prefix(day))
            return self._known[day]

    def add(self, day: date, call_id: str, home: date) -> None:
        """Write that the earlier day `home` keeps a call of `day`."""
        create_json(self._store, moved_key(day, call_id), {"home": home.isoformat()})
        with self._lock:
            self._known.pop(day, None)
