"""`recordings`: download the audio of a day's calls into the archive, in threads, and write the outcome of each.

A run tries only what is not safe yet. An object that an earlier run stored without writing its row is adopted, not
downloaded again.
"""

import logging
import queue
import tempfile
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from datetime import date
from itertools import chain, islice
from threading import BoundedSemaphore

import pyarrow as pa

from ..archive.audit_log import AuditEvent, AuditLog
from ..archive.object_store import ObjectStore
from ..archive.parquet import Partition, Row, merged_batches
from ..archive.tables import Tables
from ..archive.tombstones import Tombstones
from ..core import schemas
from ..core.audio import CONTRADICTED, SAME_BYTES
from ..core.clock import Clock
from ..core.days import grace_is_over
from ..core.digest_set import DigestSet
from ..core.errors import ApiUnauthorized, ArchiveDenied, ExternalError, LocalFault, TooManyRequests
from ..core.sorted_lookup import SortedLookup
from ..core.statuses import UNSAFE_RECORDINGS, RecordingStatus
from ..core.worker_threads import worker_threads
from ..source.call_source import CallSource
from ..source.local_faults import as_local_fault
from .circuit_breaker import CircuitBreaker
from .day_snapshot import CALL_COLUMNS, DaySnapshot
from .late_calls import note_late_calls
from .pending_file import PendingFile
from .pending_recordings import SortedCalls, choose_calls, make_pending, sort_calls
from .progress_log import ProgressLog
from .recording_archiver import RecordingArchiver
from .recording_rows import ASKED_TOO_LATE, PendingRecording, merge_rows
from .recording_urls import mint_urls
from .report import Report

_SAVE_EVERY_CALLS = 1_000
_SAVE_SETTLED_CALLS = 50_000  # to bound the memory: a run that is killed loses nothing of them
_MAX_CHECKPOINTS = 20  # of one kind: each writes the whole table, and work must not grow with the square of the calls
_THREADS_PER_DOWNLOAD = 1.5  # the connections limit the downloads; the other threads verify and put meanwhile


def archive_recordings(
    day: date,
    *,
    source: CallSource,
    store: ObjectStore,
    tables: Tables,
    tombstones: Tombstones,
    audit: AuditLog,
    clock: Clock,
    lookback_days: int,
    retention_days: int | None,
    download_workers: int,
    log: logging.Logger,
    call_ids: Collection[str] = (),
) -> Report:
    """Archive every recording of a day that can be archived now, and write a row for every call.

    With `call_ids` these calls are tried, whatever their rows say but `archived`, and no other call. An error that
    every further call would meet (quota, key, bucket) ends the step early: it is in the report, and the rest is
    `pending`. Raises `UnknownCalls` for ids of no call of the day, `LocalFault` where what is pending cannot be kept in
    a temporary file, and otherwise `ArchiveError` only where a table is missing, or cannot be read or written.
    """
    archiver = RecordingArchiver(
        day,
        source=source,
        store=store,
        tombstones=tombstones,
        audit=audit,
        clock=clock,
        lookback_days=lookback_days,
        retention_days=retention_days,
    )
    with (
        DaySnapshot.load(day, store=store, tables=tables, tombstones=tombstones) as snapshot,
        SortedCalls.opened() as found,
    ):
        threads = int(download_workers * _THREADS_PER_DOWNLOAD)
        chosen = choose_calls(day, call_ids, snapshot.calls) if call_ids else None
        step = _Step(snapshot, archiver, audit, clock, threads=threads)
        may_ask = grace_is_over(day, clock.now(), lookback_days)
        sort_calls(snapshot, archiver, found, chosen=chosen, may_ask=may_ask, now=clock.now())
        step.keep_settled(found.settled)
        step.adopt_all(found.to_adopt)
        known = DigestSet(row["call_id"] for row in (snapshot.calls.rows(("call_id",)) if found.to_archive else ()))
        late: set[str] = set()
        progress = ProgressLog(day, len(found.to_archive) + len(found.to_ask), clock, log)
        minted = mint_urls(
            day,
            found.to_archive,
            snapshot.listing,
            known=known,
            late=late,
            source=source,
            breaker=step.breaker,
            log=log,
        )
        step.archive_all(chain(minted, ((call, None) for call in found.to_ask.take_all())), progress)
        step.save()
        step.recheck_shared()
        outcomes = Counter(
            (row["status"], row["reason"] in ASKED_TOO_LATE) for row in snapshot.recordings.rows(("status", "reason"))
        )
    for (status, is_too_late), count in outcomes.items():
        step.report.counts[status] += count
        step.report.counts["asked_after_retention"] += count * is_too_late
    step.report.counts["late_calls"] = note_late_calls(day, late, store=store, tables=tables, tombstones=tombstones)
    step.report.error = step.breaker.error
    return step.report


class _Step:
    """One run over one day's recordings."""

    def __init__(
        self,
        snapshot: DaySnapshot,
        archiver: RecordingArchiver,
        audit: AuditLog,
        clock: Clock,
        *,
        threads: int,
    ):
        self._snapshot, self._archiver, self._audit, self._threads = snapshot, archiver, audit, threads
        self._clock = clock
        self.breaker = CircuitBreaker()
        names = ("archived_now", "adopted", "bytes_archived_now", *map(str, RecordingStatus), "asked_after_retention")
        self.report = Report(counts=dict.fromkeys(names, 0))
        self._unsaved: dict[str, Row] = {}

    def keep_settled(self, rows: PendingFile[Row]) -> None:
        """Keep the rows of the calls that need no request: too early to ask, or answered."""
        total = len(rows)
        for row in rows.take_all():
            self._unsaved[row["call_id"]] = row
            self._save_if_due(_SAVE_SETTLED_CALLS, total)

    def adopt_all(self, calls: PendingFile[PendingRecording]) -> None:
        """Adopt the objects that an earlier run stored without writing their rows."""
        total, left = len(calls), calls.take_all()
        with worker_threads(self._threads, "recordings", self._clock) as pool:
            while some := list(islice(left, _SAVE_EVERY_CALLS)):
                for pending, adopted in zip(some, pool.map(self._adopt_one, some), strict=True):
                    if adopted["status"] == RecordingStatus.ARCHIVED:
                        self.report.counts["adopted"] += 1
                        self._archiver.shared.claim(adopted["duration_seconds"], adopted["sha256"])
                    self._keep(pending, adopted)
                    self._save_if_due(_SAVE_EVERY_CALLS, total)

    def recheck_shared(self) -> None:
        """Download the recordings once more that were archived before another call turned out to have their bytes."""
        if not self._archiver.shared.has_shared() or self.breaker.is_open:
            return
        rows = [
            row
            for row in self._snapshot.recordings.rows()
            if row["status"] == RecordingStatus.ARCHIVED
            and self._archiver.shared.is_shared(row["sha256"])
            and not any(text in (row["defects"] or "") for text in (SAME_BYTES, CONTRADICTED))
        ]
        calls = SortedLookup(self._snapshot.calls.rows(CALL_COLUMNS) if rows else ())
        try:
            for row in rows:
                call = calls.find(row["call_id"])
                if call is not None:
                    self._recheck_one(make_pending(call, row, None), row)
        except LocalFault as error:
            self.breaker.trip(error)
        except OSError as error:
            self.breaker.trip(as_local_fault(error, tempfile.gettempdir()))
        finally:  # an object that was replaced must not be left without its row
            self.save()

    def _recheck_one(self, call: PendingRecording, row: Row) -> None:
        found = self._archiver.holders.recheck(call, row)
        self._unsaved[call.call_id] = found
        if found["sha256"] != row["sha256"]:
            self._audit.record(AuditEvent.ARCHIVED, call.call_id, sha256=found["sha256"], bytes=found["size_bytes"])

    def archive_all(self, calls: Iterable[tuple[PendingRecording, str | None]], progress: ProgressLog) -> None:
        """Give every call to a thread, a few ahead of the threads at most, and keep the rows that come back."""
        room = BoundedSemaphore(2 * self._threads)
        finished: queue.SimpleQueue[tuple[PendingRecording, Row | BaseException]] = queue.SimpleQueue()

        def archive(call: PendingRecording, url: str | None) -> None:
            try:
                finished.put((call, self._archive_one(call, url)))
            except BaseException as error:  # a thread's crash is the step's: `collect` raises it
                finished.put((call, error))
            finally:
                room.release()

        def collect() -> None:
            while not finished.empty():
                call, row = finished.get()
                if isinstance(row, BaseException):
                    raise row
                self._keep(call, row)
                progress.count(row["size_bytes"] or 0)
            self._save_if_due(_SAVE_EVERY_CALLS, progress.total)

        with worker_threads(self._threads, "recordings", self._clock) as pool:
            for call, url in calls:
                room.acquire()
                pool.submit(archive, call, url)
                collect()
        collect()

    def _adopt_one(self, call: PendingRecording) -> Row:
        """Adopt one object; what the bucket refuses to show ends the adoption, and what was read stays."""
        if not self.breaker.is_open:
            try:
                return self._archiver.adopt(call)
            except (ArchiveDenied, LocalFault) as error:
                self.breaker.trip(error)
            except OSError as error:
                self.breaker.trip(as_local_fault(error, tempfile.gettempdir()))
        return self._archiver.rows.untried(call, self.breaker.error)

    def _archive_one(self, call: PendingRecording, url: str | None) -> Row:
        if not self.breaker.is_open:
            try:
                row = self._archiver.archive(call, url)
                self.breaker.on_success()
                return row
            except (TooManyRequests, ApiUnauthorized, ArchiveDenied, LocalFault) as error:
                self.breaker.trip(error)
            except OSError as error:
                self.breaker.trip(as_local_fault(error, tempfile.gettempdir()))
            except ExternalError as error:
                self.breaker.on_failure(error)
                return self._archiver.rows.failed(call, error)
        return self._archiver.rows.untried(call, self.breaker.error)

    def _keep(self, call: PendingRecording, row: Row) -> None:
        """Keep a row for the next checkpoint, with its audit line and its counts."""
        self._unsaved[call.call_id] = row
        status = row["status"]
        if status == RecordingStatus.ARCHIVED:
            is_new = row["attempts"] > call.attempts
            event = AuditEvent.ARCHIVED if is_new else AuditEvent.ADOPTED
            self._audit.record(event, call.call_id, sha256=row["sha256"], bytes=row["size_bytes"])
            self.report.counts["archived_now"] += is_new
            self.report.counts["bytes_archived_now"] += row["size_bytes"] * is_new
        if status == RecordingStatus.REFUSED:
            self._audit.record(AuditEvent.REFUSED, call.call_id)
        if status in UNSAFE_RECORDINGS:
            self.report.add_problem(call.call_id, f"{status}: {row['reason']}")

    def _save_if_due(self, fewest: int, total: int) -> None:
        if len(self._unsaved) >= max(fewest, total // _MAX_CHECKPOINTS):
            self.save()

    def save(self) -> None:
        """Write the audit lines, and then the rows that are not written yet."""
        self._audit.write()
        rows, self._unsaved = self._unsaved, {}

        def build(present: Partition | None) -> Iterator[pa.RecordBatch]:
            return merged_batches(schemas.RECORDINGS, present, rows, merge_rows)

        if rows or self.report.written is None:
            self.report.written = self._snapshot.recordings.commit(build)
