"""The audit log: what each step of each run did to which call, and when. Create-only objects of JSON lines.

A line has the call's key and hashes, never a number, a text or a URL. It is written before the table that says the
same, so that every row of a table has its line; after a killed run, the next one may write a line again. The lines of
an erased call stay, under its pseudonym.
"""

import json
from datetime import date
from enum import StrEnum
from hashlib import sha256
from threading import Lock
from typing import Any

from ..core.clock import Clock
from ..core.errors import ArchiveUnavailable, ObjectExists
from ..core.object_keys import audit_key, call_key
from .object_store import CREATE, ObjectStore
from .tombstones import MAX_AGE_SECONDS, Tombstones

_MAX_PARTS = 10_000


class AuditEvent(StrEnum):
    """What was done to a call. Extensions are recorded by their status."""

    ARCHIVED = "archived"
    ADOPTED = "adopted"
    QUARANTINED = "quarantined"
    REFUSED = "refused"
    HELD = "held"
    ERASED = "erased"
    VERIFIED = "verified"
    DRIFTED = "drifted"


class AuditLog:
    """The lines of one step of one run, about the calls of one day. Threads share it."""

    def __init__(self, store: ObjectStore, tombstones: Tombstones, clock: Clock, *, run_id: str, day: date, step: str):
        self._store, self._tombstones, self._clock = store, tombstones, clock
        self._run_id, self._day, self._step = run_id, day, step
        self._lines: list[dict[str, Any]] = []
        self._lock = Lock()
        self._part = 1

    def record(self, event: str, call_id: str, **facts: str | int | None) -> None:
        """Record one line. `facts` are hashes, sizes in bytes, and names of rules or checks."""
        at = self._clock.now().isoformat(timespec="milliseconds")
        line: dict[str, Any] = {"at": at, "event": str(event), "call": call_key(call_id)}
        with self._lock:
            self._lines.append(line | facts)

    def write(self) -> None:
        """Write the lines since the last call as one more object; write nothing where there are none."""
        with self._lock:
            lines, self._lines = self._lines, []
        if not lines:
            return
        pseudonyms = self._tombstones.pseudonyms_of(self._day, max_age_seconds=MAX_AGE_SECONDS)
        for line in lines:
            if self._tombstones.matches(line["call"], pseudonyms):
                line["call"] = self._tombstones.pseudonym(line["call"])
        run = {"run": self._run_id, "step": self._step}
        body = "".join(json.dumps(run | line, sort_keys=True) + "\n" for line in lines).encode()
        digest = sha256(body).hexdigest()
        while self._part < _MAX_PARTS:
            key = audit_key(self._day, self._run_id, self._step, self._part)
            self._part += 1
            try:
                self._store.put(key, body, sha256=digest, mode=CREATE, content_type="application/x-ndjson")
            except ObjectExists:
                continue  # of an earlier try of this step in this run
            return
        raise ArchiveUnavailable(f"no free key for the audit of {self._step} of {self._day}")
