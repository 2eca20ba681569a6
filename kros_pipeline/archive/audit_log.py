"""The audit log: what each step did to which call, in which run and when. Create-only, one JSON object per line.

A line has the call's key and hashes, never a number, a text or a URL. It is written before the table that says the
same, so that every row of a table has its line; a run that follows one killed in between writes the line again, and a
further try of a step in the same run does not. The line of an erased call stays, under its pseudonym.
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
from ..core.statuses import ExtensionStatus
from .object_store import CREATE, ObjectStore
from .tombstones import MAX_AGE_SECONDS, Tombstones

_MAX_PARTS = 10_000


class AuditEvent(StrEnum):
    """What was done to a call."""

    ARCHIVED = "archived"
    ADOPTED = "adopted"
    QUARANTINED = "quarantined"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    HELD = "held"
    ERASED = "erased"
    VERIFIED = "verified"
    DRIFTED = "drifted"
    MOVED = "moved"
    EXPORTED = "exported"
    PLAYED = "played"
    READ = "read"
    REVIEWED = "reviewed"


PREMIS_NAMES: dict[str, str] = {
    AuditEvent.ARCHIVED: "ingestion",
    AuditEvent.ADOPTED: "ingestion",
    AuditEvent.QUARANTINED: "quarantine",
    AuditEvent.ACCEPTED: "unquarantine",
    AuditEvent.HELD: "policy assignment",
    ExtensionStatus.EXTENDED: "policy assignment",
    AuditEvent.ERASED: "deletion",
    AuditEvent.VERIFIED: "fixity check",
    AuditEvent.DRIFTED: "fixity check",
    AuditEvent.MOVED: "metadata modification",
    AuditEvent.EXPORTED: "dissemination",
    AuditEvent.PLAYED: "dissemination",
    AuditEvent.READ: "dissemination",
}
"""What PREMIS, the vocabulary of archivists, calls the same; of events without a name there, nothing was done."""


class AuditLog:
    """What one step of one run does to the calls of one day. Threads may share it."""

    def __init__(self, store: ObjectStore, tombstones: Tombstones, clock: Clock, *, run_id: str, day: date, step: str):
        self._store, self._tombstones, self._clock = store, tombstones, clock
        self._run_id, self._day, self._step = run_id, day, step
        self._lines: list[dict[str, Any]] = []
        self._lock = Lock()
        self._next_part = 1

    def record(self, event: str, call_id: str, **facts: str | int | None) -> None:
        """Add one line. `event` is an `AuditEvent`, or the status of a retention extension.

        `facts` are hashes, sizes and names of rules or checks.
        """
        at = self._clock.now().isoformat(timespec="milliseconds")
        premis = {"premis": PREMIS_NAMES[event]} if event in PREMIS_NAMES else {}
        with self._lock:
            self._lines.append({"at": at, "event": event, "call": call_key(call_id)} | premis | facts)

    def write(self) -> None:
        """Write the lines that were recorded since the last time as one more object; none where there are none.

        Where that fails, they are kept for the next time.
        """
        with self._lock:
            lines, self._lines = self._lines, []
        try:
            if lines:
                self._write(lines)
        except BaseException:
            with self._lock:
                self._lines = lines + self._lines
            raise

    def _write(self, lines: list[dict[str, Any]]) -> None:
        erased = self._tombstones.pseudonyms(max_age_seconds=MAX_AGE_SECONDS)
        for line in lines:
            if self._tombstones.matches(line["call"], erased):
                line["call"] = self._tombstones.pseudonym(line["call"])
        run = {"run": self._run_id, "step": self._step}
        self._create_next_part([run | line for line in lines])

    def _create_next_part(self, lines: list[dict[str, Any]]) -> None:
        """Write lines at the next free key.

        Where an object is there already, this PUT wrote it and its answer was lost, or an earlier try of this step in
        this run did. Either way the lines that it has are not written again.
        """
        while lines and self._next_part < _MAX_PARTS:
            key = audit_key(self._day, self._run_id, self._step, self._next_part)
            body = "".join(json.dumps(line, sort_keys=True) + "\n" for line in lines).encode()
            digest = sha256(body).hexdigest()
            try:
                self._store.put(key, body, sha256=digest, mode=CREATE, content_type="application/x-ndjson")
                lines = []
            except ObjectExists:
                written = _facts_in(self._store.read(key) or b"")
                lines = [line for line in lines if _facts_of(line) not in written]
            self._next_part += 1
        if lines:
            raise ArchiveUnavailable(f"the audit log of {self._step} for {self._day} has no free key left")


def _facts_of(line: dict[str, Any]) -> str:
    """Return what a line says, without the time at which it was recorded."""
    return json.dumps({name: value for name, value in line.items() if name != "at"}, sort_keys=True)


def _facts_in(body: bytes) -> set[str]:
    """Return what the lines of an object say; nothing where somebody else wrote it."""
    try:
        return {_facts_of(json.loads(line)) for line in body.splitlines()}
    except (ValueError, AttributeError):
        return set()
