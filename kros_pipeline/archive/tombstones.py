"""Which calls were erased on request: an object each, named by a pseudonym, asked before anything is written.

A run that was at work when a call was erased would bring it back from its own memory. So every write looks here
first, or has looked a moment before.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import date, datetime
from threading import Lock

from ..core.errors import ArchiveDenied, ObjectExists
from ..core.object_keys import ERASURE_IDENTITY, call_key, erased_row_key, tombstone_key, tombstone_prefix
from ..core.pseudonyms import key_check, pseudonym
from .s3_store import ObjectStore

MOST_SECONDS_OLD = 2.0  # of what a PUT relies on: a listing for each would double the requests


class Tombstones:
    """The erased calls of the archive, by day. Threads may share it."""

    def __init__(self, store: ObjectStore, key: str | None, monotonic: Callable[[], float] = time.monotonic):
        self._store, self._key, self._monotonic = store, key, monotonic
        self._known: dict[date, tuple[float, frozenset[str]]] = {}
        self._lock = Lock()

    def check_key(self) -> None:
        """Raises `ArchiveDenied` where calls were erased, and the setting is not the key that they were erased with."""
        stored = self._store.read_json(ERASURE_IDENTITY)
        if stored is None:
            return
        if self._key is None:
            raise ArchiveDenied(
                "KROS_ERASURE_KEY is missing: calls of this archive were erased, and without the key nobody could tell "
                "which must not come back."
            )
        if stored.get("key_check") != key_check(self._key):
            raise ArchiveDenied("KROS_ERASURE_KEY is not the key with which calls of this archive were erased.")

    def of_day(self, day: date, *, most_seconds_old: float = 0.0) -> frozenset[str]:
        """The pseudonyms of a day's erased calls; listed anew unless what is known is young enough."""
        known = self._young(day, most_seconds_old)
        if known is None:
            with self._lock:
                known = self._young(day, most_seconds_old)  # another thread may have asked meanwhile
                if known is None:
                    asked_at, prefix = self._monotonic(), tombstone_prefix(day)
                    entries = self._store.list(prefix)
                    known = frozenset(entry.key.removeprefix(prefix).removesuffix(".json") for entry in entries)
                    self._known[day] = (asked_at, known)
        return known

    def _young(self, day: date, most_seconds_old: float) -> frozenset[str] | None:
        listed_at, known = self._known.get(day, (-1e9, frozenset[str]()))
        return known if most_seconds_old and self._monotonic() - listed_at <= most_seconds_old else None

    def is_erased(self, day: date, call_id: str, *, most_seconds_old: float = MOST_SECONDS_OLD) -> bool:
        """Whether a call was erased, as far as was known a moment ago."""
        return self.names(call_key(call_id), self.of_day(day, most_seconds_old=most_seconds_old))

    def names(self, key: str, erased: frozenset[str]) -> bool:
        """Whether a call key is one of the pseudonyms."""
        return bool(erased) and self.pseudonym(key) in erased

    def pseudonym(self, key: str) -> str:
        """The pseudonym of a call key. Raises `ArchiveDenied` without the key to make it."""
        if self._key is None:
            raise ArchiveDenied("KROS_ERASURE_KEY is missing: calls of this archive were erased, or are to be.")
        return pseudonym(self._key, key)

    def is_row_erased(self, unparsed_key: str) -> bool:
        """Whether a row of the list that nobody could read was erased: it has no id to be known by, only its JSON."""
        return self._key is not None and self._store.head(self._row_key(unparsed_key)) is not None

    def add_unparsed_row(self, unparsed_key: str, now: datetime) -> None:
        """Makes it known that such a row is erased."""
        with suppress(ObjectExists):
            told = {"erased_at": now.isoformat(timespec="seconds")}
            self._store.put_json(self._row_key(unparsed_key), told, only_if="absent")

    def _row_key(self, unparsed_key: str) -> str:
        return erased_row_key(self.pseudonym(unparsed_key))

    def claim_key(self) -> None:
        """Makes the key the archive's, if nothing was erased yet. Raises `ArchiveDenied` where another one is."""
        if self._key is None:
            raise ArchiveDenied("KROS_ERASURE_KEY is missing: without it nothing can be erased.")
        with suppress(ObjectExists):
            self._store.put_json(ERASURE_IDENTITY, {"key_check": key_check(self._key)}, only_if="absent")
        self.check_key()

    def add_call(self, day: date, call_id: str, now: datetime) -> None:
        """Makes it known that a call is erased, from now on and for good."""
        key = tombstone_key(day, self.pseudonym(call_key(call_id)))
        with suppress(ObjectExists):
            self._store.put_json(key, {"erased_at": now.isoformat(timespec="seconds")}, only_if="absent")
        with self._lock:
            self._known.pop(day, None)
