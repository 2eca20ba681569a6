"""Record in the archive's audit log who played and read which call, before the answer is sent."""

import uuid
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from threading import Lock

from ..archive.audit_log import AuditEvent, AuditLog
from ..archive.object_store import ObjectStore
from ..archive.tombstones import Tombstones
from ..core.clock import Clock

_STEP = "browse"
_THREADS = 16
_SAME_PLAY_SECONDS = 600.0
_MAX_PLAYS = 10_000


class AccessLog:
    """Writes one object for each answer and day, so that answers do not wait for each other. Threads may share it.

    Where it cannot be written, `ArchiveError` is raised and the call is not shown.
    """

    def __init__(self, store: ObjectStore, tombstones: Tombstones, clock: Clock):
        self._store, self._tombstones, self._clock = store, tombstones, clock
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="access")
        self._plays: dict[tuple[str, date, str], float] = {}
        self._lock = Lock()

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=True)

    def read(self, who: str, calls: Iterable[tuple[date, str]], how: str) -> None:
        """Record that somebody is about to read calls, by day and id: a page, search results, an export."""
        by_day: dict[date, list[str]] = {}
        for day, call_id in calls:
            by_day.setdefault(day, []).append(call_id)
        for done in [
            self._pool.submit(self._write, day, AuditEvent.READ, ids, who, how) for day, ids in by_day.items()
        ]:
            done.result()

    def played(self, who: str, day: date, call_id: str, *, from_begin: bool) -> None:
        """Record that somebody is about to hear a call.

        A player asks for a recording in parts: a part that follows within ten minutes belongs to the same play, unless
        it begins the recording anew.
        """
        key, now = (who, day, call_id), self._clock.monotonic()
        with self._lock:
            is_same = not from_begin and now - self._plays.get(key, float("-inf")) < _SAME_PLAY_SECONDS
        if not is_same:
            self._write(day, AuditEvent.PLAYED, [call_id], who, "recording")
        with self._lock:
            if len(self._plays) >= _MAX_PLAYS:
                self._plays.clear()
            self._plays[key] = now

    def reviewed(self, who: str, day: date, call_id: str) -> None:
        """Record that somebody is about to save a review."""
        self._write(day, AuditEvent.REVIEWED, [call_id], who, "review")

    def _write(self, day: date, event: AuditEvent, call_ids: list[str], who: str, how: str) -> None:
        log = AuditLog(self._store, self._tombstones, self._clock, run_id=str(uuid.uuid4()), day=day, step=_STEP)
        for call_id in call_ids:
            log.record(event, call_id, by=who, how=how)
        log.write()
