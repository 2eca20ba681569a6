"""Tombstones: the calls that were erased on request, an object each, named by a pseudonym.

A run at work when a call is erased still has the call in memory, and would write it again. So every write asks here
first: a table right before it is put, a recording at most two seconds before.
"""

from datetime import date
from threading import Lock

from ..core.clock import Clock
from ..core.errors import ArchiveDenied
from ..core.object_keys import ERASURE_IDENTITY, call_key, erased_row_key, tombstone_key, tombstone_prefix
from ..core.pseudonyms import key_check, pseudonym
from .json_objects import create_json, read_json
from .object_store import ObjectStore

MAX_AGE_SECONDS = 2.0  # of what a recording's PUT relies on: a listing for each PUT would double the requests


class Tombstones:
    """The erased calls of the archive, by day. Threads share it. `key` is `KROS_ERASURE_KEY`."""

    def __init__(self, store: ObjectStore, key: str | None, clock: Clock):
        self._store, self._key, self._clock = store, key, clock
        self._cache: dict[date, tuple[float, frozenset[str] | None]] = {}
        self._lock = Lock()

    def check_key(self) -> None:
        """Raise `ArchiveDenied` where calls were erased with another key than the setting's."""
        stored = read_json(self._store, ERASURE_IDENTITY)
        if stored is None:
            return
        if self._key is None:
            raise ArchiveDenied(
                "KROS_ERASURE_KEY is missing: calls of this archive were erased, and without the key nobody could tell "
                "which must not come back."
            )
        if stored.get("key_check") != key_check(self._key):
            raise ArchiveDenied("KROS_ERASURE_KEY is not the key with which calls of this archive were erased.")

    def claim_key(self) -> None:
        """Make the key the archive's, if nothing was erased yet. Raises `ArchiveDenied` where it has another one."""
        if self._key is None:
            raise ArchiveDenied("KROS_ERASURE_KEY is missing: without it nothing can be erased.")
        create_json(self._store, ERASURE_IDENTITY, {"key_check": key_check(self._key)})
        self.check_key()

    def pseudonyms_of(self, day: date, *, max_age_seconds: float = 0.0) -> frozenset[str]:
        """Return the pseudonyms of a day's erased calls. They are listed anew, unless a listing is young enough."""
        known = self._cached(day, max_age_seconds)
        if known is None:
            with self._lock:
                known = self._cached(day, max_age_seconds)  # another thread may have listed them meanwhile
                if known is None:
                    asked_at, prefix = self._clock.monotonic(), tombstone_prefix(day)
                    entries = self._store.list(prefix)
                    known = frozenset(entry.key.removeprefix(prefix).removesuffix(".json") for entry in entries)
                    self._cache[day] = (asked_at, known)
        return known

    def _cached(self, day: date, max_age_seconds: float) -> frozenset[str] | None:
        listed_at, known = self._cache.get(day, (float("-inf"), None))
        is_young = max_age_seconds > 0 and self._clock.monotonic() - listed_at <= max_age_seconds
        return known if is_young else None

    def is_erased(self, day: date, call_id: str, *, max_age_seconds: float = MAX_AGE_SECONDS) -> bool:
        """Return whether a call was erased, as far as was known `max_age_seconds` ago."""
        return self.matches(call_key(call_id), self.pseudonyms_of(day, max_age_seconds=max_age_seconds))

    def matches(self, key: str, pseudonyms: frozenset[str]) -> bool:
        """Return whether the pseudonym of a call key is one of these."""
        return bool(pseudonyms) and self.pseudonym(key) in pseudonyms

    def pseudonym(self, key: str) -> str:
        """Return the pseudonym of a call key. Raises `ArchiveDenied` where there is no key to make it with."""
        if self._key is None:
            raise ArchiveDenied("KROS_ERASURE_KEY is missing: calls of this archive were erased, or are to be.")
        return pseudonym(self._key, key)

    def add_call(self, day: date, call_id: str) -> None:
        """Write the tombstone of a call. It stays for good."""
        create_json(self._store, tombstone_key(day, self.pseudonym(call_key(call_id))), self._content())
        with self._lock:
            self._cache.pop(day, None)

    def is_row_erased(self, unparsed_key: str) -> bool:
        """Return whether an unparsed row of the list was erased: it may have no id, so that its JSON identifies it."""
        return self._key is not None and self._store.head(self._row_key(unparsed_key)) is not None

    def add_unparsed_row(self, unparsed_key: str) -> None:
        """Write the tombstone of an unparsed row."""
        create_json(self._store, self._row_key(unparsed_key), self._content())

    def _row_key(self, unparsed_key: str) -> str:
        return erased_row_key(self.pseudonym(unparsed_key))

    def _content(self) -> dict[str, str]:
        return {"erased_at": self._clock.now().isoformat(timespec="seconds")}
