"""Look at the tombstones before every answer."""

from datetime import date
from threading import Lock

from ..archive.tombstones import Tombstones
from ..core.clock import Clock


class ErasedCalls:
    """Knows which calls were erased, by a look that began after the question came. Threads may share it.

    Questions that wait for a look in progress share the next one: 50 listeners at once cost two requests, not 50.
    """

    def __init__(self, tombstones: Tombstones, clock: Clock):
        self._tombstones, self._clock = tombstones, clock
        self._lock = Lock()
        self._looked_at = float("-inf")
        self._pseudonyms: frozenset[str] = frozenset()

    def look(self, *, max_age_seconds: float = 0.0) -> frozenset[str]:
        """Return the pseudonyms of all erased calls, by a look at most so old. Raises `ArchiveError`."""
        enough = self._clock.monotonic() - max_age_seconds
        with self._lock:
            if self._looked_at < enough or self._looked_at == float("-inf"):
                began = self._clock.monotonic()
                self._pseudonyms = self._tombstones.pseudonyms()
                self._looked_at = began
            return self._pseudonyms

    def is_erased(self, key: str, *, max_age_seconds: float = 0.0) -> bool:
        """Return whether the call with this key was erased."""
        return self._tombstones.matches(key, self.look(max_age_seconds=max_age_seconds))

    def matches(self, key: str, pseudonyms: frozenset[str]) -> bool:
        """Return whether a call is among those of a look: for lists, which look once."""
        return self._tombstones.matches(key, pseudonyms)

    def of_day(self, day: date) -> frozenset[str]:
        """Return the pseudonyms of the calls erased from a day, by the last look."""
        return self._tombstones.pseudonyms_of(day, max_age_seconds=float("inf"))
