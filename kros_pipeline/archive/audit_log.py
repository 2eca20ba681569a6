"""The account of every step: what was done to which call, by which run and when. Create-only, a JSON object a line.

A line has the call's key and hashes, never a number, a text or a URL. It is written before the table that says the
same, so that no row of a table is without its line; a run that was killed in between is followed by one that says it
again. Of an erased call the line stays, under its pseudonym.
"""

import json
from contextlib import suppress
from datetime import date
from hashlib import sha256
from threading import Lock
from typing import Any

from ..core.errors import ArchiveUnavailable, ObjectExists
from ..core.object_keys import audit_key, call_key
from ..steps.run_context import RunContext
from .tombstones import MOST_SECONDS_OLD

ARCHIVED, ADOPTED, QUARANTINED, REFUSED = "archived", "adopted", "quarantined", "refused"
HELD, ERASED, VERIFIED, DRIFTED = "held", "erased", "verified", "drifted"
_MOST_PARTS = 10_000


class AuditLog:
    """What one step of one run does to the calls of one day. Threads may share it."""

    def __init__(self, ctx: RunContext, day: date, step: str):
        self._ctx, self._day, self._step = ctx, day, step
        self._lines: list[dict[str, Any]] = []
        self._lock = Lock()
        self._part = 1

    def record(self, event: str, call_id: str, **facts: str | int | None) -> None:
        """One line: `facts` are hashes, sizes and names of rules or checks."""
        line = {"at": self._ctx.now().isoformat(timespec="milliseconds"), "event": event, "call": call_key(call_id)}
        with self._lock:
            self._lines.append(line | facts)

    def write(self) -> None:
        """Writes what was noted since the last time, as one more object; nothing where nothing was."""
        with self._lock:
            lines, self._lines = self._lines, []
        if not lines:
            return
        erased = self._ctx.tombstones.of_day(self._day, most_seconds_old=MOST_SECONDS_OLD)
        for line in lines:
            if self._ctx.tombstones.names(line["call"], erased):
                line["call"] = self._ctx.tombstones.pseudonym(line["call"])
        told = {"run": self._ctx.run_id, "step": self._step}
        body = "".join(json.dumps(told | line, sort_keys=True) + "\n" for line in lines).encode()
        digest = sha256(body).hexdigest()
        while self._part < _MOST_PARTS:
            key = audit_key(self._day, self._ctx.run_id, self._step, self._part)
            self._part += 1
            with suppress(ObjectExists):  # of an earlier try of this step in this run
                self._ctx.store.put(key, body, sha256=digest, only_if="absent", content_type="application/x-ndjson")
                return
        raise ArchiveUnavailable(f"no free key for the audit of {self._step} of {self._day}")
