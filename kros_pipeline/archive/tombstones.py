"""Tombstones of erased calls: one object per call, named by its pseudonym.

A run that is under way when a call is erased still has the call in memory, and would write it again. So every write
lists the tombstones first, or uses a list that is at most `MAX_AGE_SECONDS` old.
"""

from datetime import date
from threading import Lock

from ..core.clock import Clock
from ..core.errors import ArchiveDenied
from ..core.object_keys import ERASURE_IDENTITY, call_key, erased_row_key, tombstone_key, tombstone_prefix
from ..core.pseudonyms import key_check, pseudonym
from .json_objects import create_json, read_json
from .object_store import ObjectStore

MAX_AGE_SECONDS = 2.0  # of the list that a write relies on: one listing per write would double the requests


class Tombstones:
    """The erased calls of the archive, by day. Threads may share it."""

    def __init__(self, store: ObjectStore, key: str | None, clock: Clock):
        self._store, self._key, self._clock = store, key, clock
        self._known: dict[date, tuple[float, frozenset[str]]] = {}  # by day: when it was listed, and the pseudonyms
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
        """Return the pseudonyms of a day's erased calls, from a list that is at most `max_age_seconds` old.

        With 0 they are always listed again.
        """
        known = self._recent(day, max_age_seconds)
        if known is None:
            with self._lock:
                known = self._recent(day, max_age_seconds)  # another thread may have listed them meanwhile
                if known is None:
                    asked_at, prefix = self._clock.monotonic(), tombstone_prefix(day)
                    entries = self._store.list(prefix)
                    known = frozenset(entry.key.removeprefix(prefix).removesuffix(".json") for entry in entries)
                    self._known[day] = (asked_at, known)
        return known

    def _recent(self, day: date, max_age_seconds: float) -> frozenset[str] | None:
        known = self._known.get(day)
        if known is None or not max_age_seconds:
            return None
        listed_at, pseudonyms = known
        return pseudonyms if self._clock.monotonic() - listed_at <= max_age_seconds else None

    def is_erased(self, day: date, call_id: str, *, max_age_seconds: float = MAX_AGE_SECONDS) -> bool:
        """Return whether a call was erased, by a list that is at most `max_age_seconds` old."""
        return self.matches(call_key(call_id), self.pseudonyms_of(day, max_age_seconds=max_age_seconds))

    def matches(self, key: str, pseudonyms: frozenset[str]) -> bool:
        """Return whether one of the pseudonyms is that of a call key."""
        return bool(pseudonyms) and self.pseudonym(key) in pseudonyms

    def pseudonym(self, key: str) -> str:
        """Return the pseudonym of a call key. Raises `ArchiveDenied` where the setting of the key is missing."""
        if self._key is None:
            raise ArchiveDenied("KROS_ERASURE_KEY is missing: calls of this archive were erased, or are to be.")
        return pseudonym(self._key, key)

    def add_call(self, day: date, call_id: str) -> None:
        """Write a call's tombstone. It is erased from now on, for good."""
        create_json(self._store, tombstone_key(day, self.pseudonym(call_key(call_id))), self._content())
        with self._lock:
            self._known.pop(day, None)

    def is_row_erased(self, unparsed_key: str) -> bool:
        """Return whether an unparsed row of the list was erased. It may have no id: its key, a hash, stands for it."""
        return self._key is not None and self._store.head(self._row_key(unparsed_key)) is not None

    def add_unparsed_row(self, unparsed_key: str) -> None:
        """Write the tombstone of an unparsed row."""
        create_json(self._store, self._row_key(unparsed_key), self._content())

    def _row_key(self, unparsed_key: str) -> str:
        return erased_row_key(self.pseudonym(unparsed_key))

    def _content(self) -> dict[str, str]:
        return {"erased_at": self._clock.now().isoformat(timespec="seconds")}
