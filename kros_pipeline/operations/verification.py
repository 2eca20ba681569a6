"""Verification: archived recordings are read back, hashed, and compared with their tables.

Each day one twenty-eighth of the archive's days is read, so that every object is read once in four weeks.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import islice

from ..archive.audit_log import AuditEvent, AuditLog
from ..archive.object_store import ObjectStore
from ..archive.parquet import Partition
from ..archive.reviewed_calls import reviews_of_erased_calls
from ..archive.tables import Tables
from ..archive.tombstones import Tombstones
from ..archive.verified_days import begin_everything, end_everything, record_verified_days
from ..core import schemas
from ..core.clock import Clock
from ..core.days import start_of
from ..core.errors import ArchiveError, UnreadablePartition
from ..core.object_keys import audio_prefix, call_key_in, table_key
from ..core.object_sizes import ObjectSizes
from ..core.statuses import RecordingStatus
from ..core.worker_threads import worker_threads

PARTS = 28
_EVERY = timedelta(days=PARTS)
_RECORD_EVERY_SECONDS = 60.0
_AT_ONCE = 10_000  # recordings, and as many lines of one object of the audit log
_LATE_AFTER = _EVERY + timedelta(days=1)  # a turn takes its time


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many of the archive's days were read back in the last 28 days. A late day had its turn, and was not."""

    days: int
    days_verified: int
    days_late: int

    @property
    def percent(self) -> float:
        """The share of the days that were read back; 100 where there is none."""
        return 100 * self.days_verified / self.days if self.days else 100.0


def measure_coverage(kept_since: Mapping[date, date], verified: Mapping[date, datetime], now: datetime) -> Coverage:
    """Measure how far the nightly verification keeps up.

    `kept_since` says of each day of the archive since when it is there: a day that came later has had no turn yet.
    `verified` says when a day was last read back whole.
    """
    return Coverage(
        days=len(kept_since),
        days_verified=sum(day in verified and now - verified[day] <= _LATE_AFTER for day in kept_since),
        days_late=sum(
            now - max(start_of(since), verified.get(day, start_of(since))) > _LATE_AFTER
            for day, since in kept_since.items()
        ),
    )


@dataclass(frozen=True, slots=True)
class _Recording:
    call_id: str
    key: str
    sha256: str | None


@dataclass
class Verification:
    """What was read, and the keys of what is not as it should be.

    `days_before` were read, and found as they were archived, by the launch that this one goes on from.
    """

    days: list[date] = field(default_factory=list)
    days_before: int = 0
    objects: int = 0
    bytes_read: int = 0
    drifted: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    erased: list[str] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        """Whether everything was read, and is as it should be."""
        return not self.count_findings()

    def count_findings(self) -> int:
        """Return how many objects are not as they should be, or were not read."""
        return sum(map(len, (self.drifted, self.missing, self.unknown, self.unread, self.erased)))


def select_days(days: Sequence[date], today: date) -> list[date]:
    """Return the days whose turn it is today: each of them once in 28 days."""
    return [day for day in days if day.toordinal() % PARTS == today.toordinal() % PARTS]


def verify_days(
    days: Sequence[date],
    *,
    store: ObjectStore,
    tables: Tables,
    tombstones: Tombstones,
    audit_log: Callable[[date, str], AuditLog],
    clock: Clock,
    threads: int,
    log: logging.Logger,
    is_everything: bool = False,
) -> Verification:
    """Read back and hash every recording of these days. Each object gets a line in the audit log of its day.

    When a day was read back whole is recorded once a minute and at the end, also where the run fails before that. With
    `is_everything` the days are all that the archive has: a launch after one that was killed leaves out the days that
    it found as they were archived, and reads those with findings again.
    """
    before = begin_everything(store, clock.now()) if is_everything else set[date]()
    count, days = len(days), [day for day in days if day not in before]
    found, recorded_at = Verification(days=list(days), days_before=count - len(days)), clock.monotonic()
    read, sound = list[date](), list[date]()

    def record() -> None:
        record_verified_days(store, read, clock.now(), sound=sound if is_everything else ())
        read.clear()
        sound.clear()

    try:
        with worker_threads(threads, "verification") as pool:
            for number, day in enumerate(days, 1):
                unread, findings = len(found.unread), found.count_findings()
                _verify_day(day, found, pool, store, tables, tombstones, audit_log(day, "verify"), log)
                if len(found.unread) == unread:
                    read.append(day)
                if found.count_findings() == findings:
                    sound.append(day)
                if clock.monotonic() - recorded_at > _RECORD_EVERY_SECONDS:
                    record()
                    recorded_at = clock.monotonic()
                gigabytes = found.bytes_read / 1e9
                log.info(
                    "%s: verified; %d of %d days, %d objects, %.2f GB",
                    day, number, len(days), found.objects, gigabytes,
                )  # fmt: skip
    finally:
        record()
    if is_everything:
        end_everything(store)
    return found


def _verify_day(
    day: date,
    found: Verification,
    pool: ThreadPoolExecutor,
    store: ObjectStore,
    tables: Tables,
    tombstones: Tombstones,
    audit: AuditLog,
    log: logging.Logger,
) -> None:
    """Read back a day, some thousand recordings at a time. Of its objects only hashes of their keys are held."""
    pseudonyms = tombstones.pseudonyms()
    try:
        with tables.opened(schemas.RECORDINGS, day) as recordings:
            # After the table was read: a run of the day puts an object before it writes the row.
            stored = ObjectSizes((entry.key, entry.size_bytes) for entry in store.list(audio_prefix(day)))
            archived = _archived(recordings, store.full_key(""))
            while some := list(islice(archived, _AT_ONCE)):
                present = [one for one in some if stored.take(one.key) is not None]
                found.missing += sorted({one.key for one in some}.difference(one.key for one in present))
                _verify_recordings(present, found, pool, store, audit, log)
    except UnreadablePartition as error:
        log.warning("%s: %s", day, error)
        found.unread.append(table_key(schemas.RECORDINGS.name, day))
        return
    found.erased += reviews_of_erased_calls(store, day, tombstones, pseudonyms)
    if not stored.has_left:
        return
    moved = tables.moved.keys_of(day)
    for key in (entry.key for entry in store.list(audio_prefix(day))):
        if not stored.is_left(key):
            continue
        if tombstones.matches(call_key_in(key) or "", pseudonyms):
            found.erased.append(key)
        elif call_key_in(key) not in moved:  # the object of a call that an earlier day keeps stays: no step deletes
            found.unknown.append(key)


def _archived(recordings: Partition | None, prefix: str) -> Iterator[_Recording]:
    for row in recordings.rows(("call_id", "status", "object_key", "sha256")) if recordings is not None else ():
        if row["status"] == RecordingStatus.ARCHIVED:
            yield _Recording(row["call_id"], (row["object_key"] or "").removeprefix(prefix), row["sha256"])


def _verify_recordings(
    recordings: Sequence[_Recording],
    found: Verification,
    pool: ThreadPoolExecutor,
    store: ObjectStore,
    audit: AuditLog,
    log: logging.Logger,
) -> None:
    digests = pool.map(lambda recording: _read_digest(store, recording.key, log), recordings)
    for recording, digest in zip(recordings, digests, strict=True):
        if digest is None:
            found.unread.append(recording.key)
            continue
        sha256, size_bytes = digest
        found.objects += 1
        found.bytes_read += size_bytes
        if sha256 == recording.sha256:
            audit.record(AuditEvent.VERIFIED, recording.call_id, sha256=sha256)
        else:
            found.drifted.append(recording.key)
            audit.record(AuditEvent.DRIFTED, recording.call_id, sha256=sha256, archived_sha256=recording.sha256)
    audit.write()


def _read_digest(store: ObjectStore, key: str, log: logging.Logger) -> tuple[str, int] | None:
    """Return SHA-256 and size in bytes; None where the bucket does not give the object (gone, denied, cold storage)."""
    try:
        return store.digest(key)
    except ArchiveError as error:
        log.warning("%s could not be read back: %s", key, error)
        return None
