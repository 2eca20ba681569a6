"""Acceptance: an operator makes a body of the quarantine the recording of its call.

The bytes are copied to the recording's key as they came. The order of writes makes it safe to kill at any point: the
object, the audit line, the row, the day's verdict. An object without its row is adopted by the next run.
"""

import hashlib
import mmap
import tempfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import date

import pyarrow as pa

from ..archive.archived_days import days_of_table
from ..archive.audit_log import AuditEvent, AuditLog
from ..archive.object_store import CREATE, ObjectStore
from ..archive.parquet import Partition, Row, merged_batches
from ..archive.tables import Tables
from ..archive.tombstones import Tombstones
from ..core import schemas
from ..core.audio import Inspection
from ..core.audio_check import describe_accepted
from ..core.clock import Clock
from ..core.errors import ArchiveError, ObjectExists
from ..core.kept_body import without_kept_body
from ..core.object_keys import audio_key, call_key, call_key_in, quarantined_bodies_prefix, quarantined_digits
from ..core.redaction import redact
from ..core.statuses import RecordingStatus
from ..core.worker_threads import worker_threads
from ..source.spool import choose_folder
from ..steps.recording_rows import ACCEPTED, PendingRecording, RecordingRows, StoredAudio, audio_to_metadata, merge_rows
from ..steps.run_context import RunContext
from .touched_days import reconcile_again

_MAX_NAMED_CALLS = 5


class AcceptanceRefused(ArchiveError):
    """The request cannot be carried out as it is. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class KeptBodyOfCall:
    """A body in quarantine, and the row of its call. `key` is below the archive's prefix."""

    day: date
    row: Row
    key: str
    size_bytes: int

    @property
    def call_id(self) -> str:
        """The call's id."""
        return str(self.row["call_id"])

    @property
    def why_rejected(self) -> str:
        """Why it was rejected, as the row says it."""
        return without_kept_body(self.row["reason"] or "") or "rejected"


@dataclass
class Acceptance:
    """What was accepted, or in a dry run would be, and what could not be."""

    bodies: list[KeptBodyOfCall] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def days(self) -> list[date]:
        """The days of the accepted bodies."""
        return sorted({body.day for body in self.bodies})


class Accepter:
    """Accepts kept bodies of one archive. `reconcile` reconciles a day again, if it has a row."""

    def __init__(
        self,
        *,
        store: ObjectStore,
        tables: Tables,
        tombstones: Tombstones,
        audit_log: Callable[[date, str], AuditLog],
        reconcile: Callable[[date], None],
        clock: Clock,
        run_id: str,
        threads: int,
    ):
        self._store, self._tables, self._tombstones = store, tables, tombstones
        self._audit_log, self._reconcile, self._clock = audit_log, reconcile, clock
        self._run_id, self._threads = run_id, threads

    def accept(self, call_ids: Collection[str], day: date | None, reason: str, *, dry_run: bool) -> Acceptance:
        """Accept the kept bodies of these calls, or of all calls of a day that have no recording; safe to repeat.

        Of several bodies of a call, the one that its row names is taken, otherwise the largest. Raises
        `AcceptanceRefused` before anything is changed.
        """
        if not call_ids and day is None:
            raise AcceptanceRefused("Name the calls in `call_ids`, or a day like 2025-01-10 in `day`.")
        if not reason.strip():
            raise AcceptanceRefused("Say why in `reason`: it stays in the audit log, and must name nobody.")
        result = self._find(call_ids, day)
        if not result.bodies:
            raise AcceptanceRefused(" ".join(["There is no body to accept.", *result.problems]))
        if dry_run:
            return result
        accepted = Acceptance(problems=result.problems)
        for accepted_day in result.days:
            self._accept_day(accepted_day, [b for b in result.bodies if b.day == accepted_day], reason, accepted)
        if not accepted.bodies:
            raise AcceptanceRefused(" ".join(["Nothing was accepted.", *accepted.problems]))
        return accepted

    def _find(self, call_ids: Collection[str], day: date | None) -> Acceptance:
        days = [day] if day is not None else days_of_table(self._store, schemas.RECORDINGS.name)
        wanted = set(call_ids)
        result, found = Acceptance(), set[str]()

        def read(of: date) -> list[Row]:
            rows = self._tables.rows(schemas.RECORDINGS, of)
            return [row for row in rows if not wanted or wanted & {row["call_id"], call_key(row["call_id"])}]

        with worker_threads(self._threads, "acceptance", self._clock) as pool:
            for of, rows in zip(days, pool.map(read, days), strict=True):
                for row in rows:
                    found |= wanted & {row["call_id"], call_key(row["call_id"])}
                    self._find_body(of, row, result, is_named=bool(wanted))
        if unknown := wanted - found:
            shown = ", ".join(sorted(map(redact, unknown))[:_MAX_NAMED_CALLS])
            where = f" on {day}" if day is not None else ""
            raise AcceptanceRefused(f"{len(unknown)} of the calls have no row in `recordings`{where}: {shown}.")
        return result

    def _find_body(self, day: date, row: Row, result: Acceptance, *, is_named: bool) -> None:
        call_id = row["call_id"]
        shown = call_key(call_id)
        is_archived = row["status"] == RecordingStatus.ARCHIVED
        if is_archived and (not is_named or self._store.head(audio_key(day, call_id)) is not None):
            if is_named:
                result.problems.append(f"{shown} is archived already.")
            return
        if row["quarantine_key"] is None and not is_named and row["status"] not in _MAY_BE_KEPT:
            return
        bodies = [
            entry
            for entry in self._store.list(quarantined_bodies_prefix(day, call_id))
            if call_key_in(entry.key) == shown
        ]
        if not bodies:
            if is_named:
                result.problems.append(f"{shown} has no body in quarantine.")
            return
        named = [entry for entry in bodies if self._store.full_key(entry.key) == row["quarantine_key"]]
        chosen = named[0] if named else max(bodies, key=lambda entry: (entry.size_bytes, entry.key))
        result.bodies.append(KeptBodyOfCall(day, row, chosen.key, chosen.size_bytes))

    def _accept_day(self, day: date, bodies: list[KeptBodyOfCall], reason: str, result: Acceptance) -> None:
        audit, rows = self._audit_log(day, "accept"), dict[str, Row]()
        for body in bodies:
            if self._tombstones.is_erased(body.call_id):
                result.problems.append("A call was erased meanwhile.")
                continue
            row = self._copy(body, result)
            if row is None:
                continue
            rows[body.call_id] = row
            result.bodies.append(body)
            audit.record(
                AuditEvent.ACCEPTED, body.call_id, sha256=row["sha256"], bytes=row["size_bytes"], reason=reason
            )
        audit.write()

        def build(present: Partition | None) -> Iterator[pa.RecordBatch]:
            return merged_batches(schemas.RECORDINGS, present, rows, merge_rows)

        if rows:
            self._tables.commit(schemas.RECORDINGS, day, build)
            self._reconcile(day)

    def _copy(self, body: KeptBodyOfCall, result: Acceptance) -> Row | None:
        """Copy one body to its recording's key, and return its row; None where that cannot be, with a problem."""
        shown, key = call_key(body.call_id), audio_key(body.day, body.call_id)
        with tempfile.TemporaryFile(dir=choose_folder(), prefix="kros-") as file:
            if self._store.copy_into(body.key, file) is None or not file.tell():
                result.problems.append(f"{shown}: the body is gone from quarantine.")
                return None
            file.flush()
            size = file.tell()
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            sha256 = hashlib.sha256(data).hexdigest()
            if not sha256.startswith(quarantined_digits(body.key)):
                result.problems.append(f"{shown}: the body in quarantine was changed since it came.")
                return None
            found = describe_accepted(data)
            defect = f"accepted by an operator, and rejected before: {body.why_rejected.replace('; ', ', ')}"
            found = found._replace(defects=(defect, *found.defects))
            metadata = audio_to_metadata(sha256, found) | {ACCEPTED: self._run_id or "by an operator"}
            try:
                self._store.put(
                    key, file, sha256=sha256, mode=CREATE, metadata=metadata, content_type=found.content_type
                )
            except ObjectExists:
                head = self._store.head(key)
                if head is None or head.metadata.get("sha256") != sha256:
                    result.problems.append(f"{shown}: another object is at the recording's key.")
                    return None
        return self._make_row(body, size, sha256, found)

    def _make_row(self, body: KeptBodyOfCall, size: int, sha256: str, found: Inspection) -> Row:
        row = body.row
        call = PendingRecording(
            body.call_id,
            row["declared_duration_seconds"],
            has_recording=True,
            attempts=row["attempts"],
            quarantine_key=self._store.full_key(body.key),
        )
        stored = StoredAudio(size, sha256, found, self._clock.now())
        key = self._store.full_key(audio_key(body.day, body.call_id))
        made = RecordingRows(body.day, row["upstream_expires_on"]).archived(call, key, stored, attempts=0)
        return made | {"declared_size_bytes": row["declared_size_bytes"]}


_MAY_BE_KEPT = (RecordingStatus.FAILED, RecordingStatus.LOST)  # an earlier version named no body in its rows


def open_accepter(ctx: RunContext) -> Accepter:
    """Make the accepter of a run's archive."""
    return Accepter(
        store=ctx.store,
        tables=ctx.tables,
        tombstones=ctx.tombstones,
        audit_log=ctx.audit_log,
        reconcile=lambda day: reconcile_again(ctx, day),
        clock=ctx.clock,
        run_id=ctx.run_id,
        threads=ctx.settings.download_workers,
    )
