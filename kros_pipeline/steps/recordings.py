"""`recordings`: the audio of a day's calls, moved into the archive by threads, and what became of each.

URLs are minted a page at a time, right before they are used, and live in this step's memory alone. A run touches only
what is not safe yet; what an earlier run stored and did not write down is adopted, not fetched again.
"""

import queue
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from threading import BoundedSemaphore, Event
from typing import Self

import pyarrow as pa

from ..archive.audit_log import AuditEvent
from ..archive.listings import read_listing
from ..archive.parquet import Partition, merged_batches
from ..archive.tables import PartitionTransaction
from ..core import schemas
from ..core.days import grace_is_over, parse_time
from ..core.errors import ApiError, ApiUnauthorized, ArchiveDenied, ExternalError, TooManyRequests
from ..core.listing import Listing
from ..core.object_keys import audio_key, audio_prefix
from ..core.sorted_lookup import SortedLookup
from ..source.krosai import PAGE_LIMIT, Window
from .recording_archiver import (
    ARCHIVED,
    FAILED,
    LOST,
    NOT_RECORDED,
    PENDING,
    REFUSED,
    RETENTION_WAS_OVER,
    STATUSES,
    PendingRecording,
    RecordingArchiver,
    Row,
    merged,
)
from .report import Report
from .run_context import RunContext, audit_log

_SAVE_EVERY_CALLS = 1_000
_MOST_CHECKPOINTS = 20  # of one run: each writes the whole table, and work must not grow with the square of the calls
_MOST_CONSECUTIVE_FAILURES = 50  # after so many calls for which the API or the bucket gave no answer, nothing is up
_PROGRESS_EVERY_SECONDS = 10.0


def archive_recordings(ctx: RunContext, day: date) -> Report:
    """Archives what can be archived now, and writes a row for every call.

    What closes the door for all calls (quota, key, bucket) ends it early, with the rest `pending` and the error in the
    report. Raises `ArchiveError` only where the table itself cannot be read or written.
    """
    with ExitStack() as opened:
        run = _Run(ctx, day, DaySnapshot.load(ctx, day, opened))
        to_move, to_ask = run.sort_out()
        run.move_all(run.with_urls(to_move, to_ask), len(to_move) + len(to_ask))
        run.save()
        told = Counter(tuple(row.values()) for row in run.snapshot.recordings.rows(("status", "reason")))
    for (status, reason), count in told.items():
        run.report.counts[status] += count
        run.report.counts["asked_after_retention"] += count * (reason == RETENTION_WAS_OVER)
    return run.report


@dataclass(frozen=True)
class DaySnapshot:
    """What the archive says of a day when the step begins."""

    calls: Partition | None
    recordings: PartitionTransaction
    listing: Listing | None
    audio: set[str]

    @classmethod
    def load(cls, ctx: RunContext, day: date, opened: ExitStack) -> Self:
        """All of it, at once: one after the other is a second of every day, where S3 takes a while to answer."""
        with ThreadPoolExecutor() as pool:
            calls = pool.submit(opened.enter_context, ctx.tables.opened(schemas.CALLS, day))
            recordings = pool.submit(opened.enter_context, ctx.tables.transaction(schemas.RECORDINGS, day))
            listing = pool.submit(read_listing, ctx.store, day)
            pool.submit(ctx.tombstones.pseudonyms_of, day)  # which is known then, when the first recording is to be put
            audio = {entry.key for entry in ctx.store.list(audio_prefix(day))}
        return cls(calls.result(), recordings.result(), listing.result(), audio)


class _Run:
    """One run over one day's recordings."""

    def __init__(self, ctx: RunContext, day: date, snapshot: DaySnapshot):
        self.ctx, self.day, self.snapshot = ctx, day, snapshot
        self.audit = audit_log(ctx, day, "recordings")
        self.archiver = RecordingArchiver(ctx, day, self.audit)
        names = ("archived_now", "adopted", "bytes_archived_now", *STATUSES, "asked_after_retention")
        self.report = Report(counts=dict.fromkeys(names, 0))
        self._unsaved: dict[str, Row] = {}
        self._closed = Event()
        self._consecutive_failures = 0  # in a row; threads may miscount it by a few
        # So many download at once, which is what their connections allow; the others verify and put meanwhile.
        self._threads = ctx.settings.download_workers * 3 // 2

    def sort_out(self) -> tuple[list[PendingRecording], list[PendingRecording]]:
        """The calls whose recording is to be moved, and those of which upstream is to be asked whether there is one.

        All others get their row here: safe already, in the bucket already, or too early to ask.
        """
        may_ask = grace_is_over(self.day, self.ctx.now(), self.ctx.settings.lookback_days)
        to_move, to_ask, to_adopt = [], [], []
        for call, row in self._calls_and_rows():
            status = row["status"] if row else None
            wanted = PendingRecording(
                call["call_id"], call["duration_seconds"], call["has_recording"], row["attempts"] if row else 0
            )
            if audio_key(self.day, wanted.call_id) in self.snapshot.audio:
                if status != ARCHIVED:
                    to_adopt.append(wanted)
            elif wanted.has_recording or status == LOST:
                to_move.append(wanted)
            elif status == NOT_RECORDED:
                continue
            elif may_ask:
                to_ask.append(wanted)
            else:
                self._unsaved[wanted.call_id] = self.archiver.row(wanted, PENDING, "no recording URL yet")
        with ThreadPoolExecutor(self._threads) as pool:
            for wanted, row in zip(to_adopt, pool.map(self.archiver.adopt, to_adopt), strict=True):
                self.report.counts["adopted"] += row["status"] == ARCHIVED
                self._keep(wanted, row)
        return to_move, to_ask

    def _calls_and_rows(self) -> Iterator[tuple[Row, Row | None]]:
        """Each call of the day beside its row in the table, if it has one; neither table is held."""
        rows = SortedLookup(self.snapshot.recordings.rows(("call_id", "status", "attempts")))
        calls = self.snapshot.calls
        for call in calls.rows(("call_id", "duration_seconds", "has_recording")) if calls else ():
            yield call, rows.of(call["call_id"])

    def with_urls(
        self, to_move: list[PendingRecording], to_ask: list[PendingRecording]
    ) -> Iterator[tuple[PendingRecording, str | None]]:
        """Each call once, with a fresh URL if listing again gave one. A page is listed when threads run out of work."""
        left = {call.call_id: call for call in to_move}
        listing = self.snapshot.listing
        # Listing again costs a request a page; asking by itself, one a call, and an id of dots fits into no path.
        is_cheaper = listing is not None and len(left) > -(-listing.listed_total // PAGE_LIMIT)
        if listing is not None and (is_cheaper or not left.keys().isdisjoint((".", ".."))):
            try:
                for start, end in listing.windows:
                    if not left:
                        break
                    for call_id, url in self._urls_of(start, end):
                        if call_id in left and url is not None:
                            yield left.pop(call_id), url
                        if not left:
                            break
            except (TooManyRequests, ApiUnauthorized) as error:
                self._close(error)
            except ApiError as error:
                self.ctx.log.warning("%s: listing again for URLs failed (%s); asking call by call", self.day, error)
        for call in (*left.values(), *to_ask):
            yield call, None

    def _urls_of(self, start: str, end: str) -> Iterator[tuple[str, str | None]]:
        begins, ends = parse_time(start), parse_time(end)
        if begins is not None and ends is not None:
            for page in self.ctx.api.pages(Window(begins, ends)):
                for listed in page.calls:
                    yield listed.call.call_id, listed.recording_url

    def move_all(self, calls: Iterator[tuple[PendingRecording, str | None]], total: int) -> None:
        """Hands every call to a thread, never more of them than there is soon a thread for, and keeps their rows."""
        room = BoundedSemaphore(2 * self._threads)
        finished: queue.SimpleQueue[tuple[PendingRecording, Row | BaseException]] = queue.SimpleQueue()

        def move(call: PendingRecording, url: str | None) -> None:
            try:
                finished.put((call, self._move_one(call, url)))
            except BaseException as error:  # a thread's crash is the step's: handed over, and raised by `collect`
                finished.put((call, error))
            finally:
                room.release()

        progress = _Progress(self.ctx, self.day, total)

        def collect() -> None:
            while not finished.empty():
                call, row = finished.get()
                if isinstance(row, BaseException):
                    raise row
                self._keep(call, row)
                progress.show(row)
            if len(self._unsaved) >= max(_SAVE_EVERY_CALLS, total // _MOST_CHECKPOINTS):
                self.save()

        with ThreadPoolExecutor(self._threads, thread_name_prefix="recordings") as pool:
            try:
                for call, url in calls:
                    room.acquire()
                    pool.submit(move, call, url)
                    collect()
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        collect()

    def _move_one(self, call: PendingRecording, url: str | None) -> Row:
        if not self._closed.is_set():
            try:
                row = self.archiver.move(call, url)
                self._consecutive_failures = 0
                return row
            except (TooManyRequests, ApiUnauthorized, ArchiveDenied) as error:
                self._close(error)
            except ExternalError as error:
                self._consecutive_failures += 1
                if self._consecutive_failures >= _MOST_CONSECUTIVE_FAILURES:
                    self._close(error)
                return self.archiver.row(call, FAILED, str(error))
        return self.archiver.row(call, PENDING, f"not tried: {self.report.error}")

    def _close(self, error: ExternalError) -> None:
        """Lets no further call be tried: the next one would meet the same."""
        self.report.stop(error)
        self._closed.set()

    def _keep(self, call: PendingRecording, row: Row) -> None:
        self._unsaved[call.call_id] = row
        if row["status"] == ARCHIVED:
            is_new = row["attempts"] > call.attempts
            self.audit.record(
                AuditEvent.ARCHIVED if is_new else AuditEvent.ADOPTED,
                call.call_id,
                sha256=row["sha256"],
                bytes=row["size_bytes"],
            )
            self.report.counts["archived_now"] += is_new
            self.report.counts["bytes_archived_now"] += row["size_bytes"] * is_new
        if row["status"] == REFUSED:
            self.audit.record(AuditEvent.REFUSED, call.call_id)
        if row["status"] in (FAILED, LOST, REFUSED):
            self.report.problem(call.call_id, f"{row['status']}: {row['reason']}")

    def save(self) -> None:
        """Writes the rows that are not written yet."""
        self.audit.write()
        rows, self._unsaved = self._unsaved, {}

        def build(present: Partition | None) -> Iterator[pa.RecordBatch]:
            return merged_batches(schemas.RECORDINGS, present, rows, merged)

        if rows or self.report.written is None:
            self.report.written = self.snapshot.recordings.commit(build)


class _Progress:
    """A line in the log every ten seconds."""

    def __init__(self, ctx: RunContext, day: date, total: int):
        self._log, self._day, self._total = ctx.log, day, total
        self._done = self._bytes = 0
        self._began = self._shown = time.monotonic()

    def show(self, row: Mapping[str, object]) -> None:
        self._done += 1
        size = row["size_bytes"]
        self._bytes += size if isinstance(size, int) else 0
        now = time.monotonic()
        if now - self._shown >= _PROGRESS_EVERY_SECONDS:
            self._shown = now
            rate = self._bytes / 1e6 / (now - self._began)
            mb = self._bytes / 1e6
            self._log.info("%s: %d of %d recordings, %.0f MB, %.1f MB/s", self._day, self._done, self._total, mb, rate)
