"""Verification: archived recordings are read back, hashed, and compared with their tables.

Each day one twenty-eighth of the archive's days is read, so that every object is read once in four weeks. A day with
findings is read again by each night's launch until it is sound, and the check is red until then.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import islice

from ..archive.audit_log import AuditEvent, AuditLog
from ..archive.object_store import ObjectStore
from ..archive.parquet import Partition, Row
from ..archive.reviewed_calls import reviews_of_erased_calls
from ..archive.tables import Tables
from ..archive.tombstones import Tombstones
from ..archive.verified_days import (
    VerifiedDays,
    begin_everything,
    end_everything,
    read_verified_days,
    record_verified_days,
)
from ..core import schemas
from ..core.clock import Clock
from ..core.days import start_of
from ..core.errors import ArchiveError, UnreadablePartition
from ..core.object_keys import audio_prefix, call_key_in, table_key
from ..core.object_sizes import ObjectSizes
from ..core.statuses import RecordingStatus
from ..core.worker_threads import worker_threads
from ..steps.reconciliation import read_reconciliation

PARTS = 28
_MOST_DAYS_AGAIN = 14  # of those with findings, a night
_EVERY = timedelta(days=PARTS)
_RECORD_EVERY_SECONDS = 60.0
_AT_ONCE = 10_000  # recordings, and as many lines of one object of the audit log
_LATE_AFTER = _EVERY + timedelta(days=1)  # a turn takes its time


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many of the archive's days were read back in the last 28 days. A late day had its turn, and was not.

    A day with findings was read, and is not verified.
    """

    days: int
    days_verified: int
    days_late: int
    days_with_findings: int

    @property
    def percent(self) -> float:
        """The share of the days that were read back; 100 where there is none."""
        return 100 * self.days_verified / self.days if self.days else 100.0


def measure_coverage(kept_since: Mapping[date, date], verified: VerifiedDays, now: datetime) -> Coverage:
    """Measure how far the nightly verification keeps up.

    `kept_since` says of each day of the archive since when it is there: a day that came later has had no turn yet.
    """
    read_at = verified.read_at
    sound = read_at.keys() - verified.with_findings.keys()
    return Coverage(
        days=len(kept_since),
        days_verified=sum(day in sound and now - read_at[day] <= _LATE_AFTER for day in kept_since),
        days_late=sum(
            now - max(start_of(since), read_at.get(day, start_of(since))) > _LATE_AFTER
            for day, since in kept_since.items()
        ),
        days_with_findings=len(verified.with_findings),
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
    `days_with_findings` are those of other launches: no later reading of them was sound. `lost_rows` are tables that
    have fewer archived recordings than the day's row of `reconciliation` says.
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
    lost_rows: list[str] = field(default_factory=list)
    days_with_findings: list[date] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        """Whether everything was read, and is as it should be, and no other day has findings."""
        return not self.count_findings() and not self.days_with_findings

    def count_findings(self) -> int:
        """Return how many objects of this launch are not as they should be, or were not read."""
        kinds = (self.drifted, self.missing, self.unknown, self.unread, self.erased, self.lost_rows)
        return sum(map(len, kinds))


def select_days(days: Sequence[date], today: date, with_findings: Mapping[date, datetime]) -> list[date]:
    """Return the days whose turn it is today, each of them once in 28 days; and those with findings.

    `with_findings` says when such a day was last read. If they are many, those come first that were read longest ago.
    """
    turn = {day for day in days if day.toordinal() % PARTS == today.toordinal() % PARTS}
    again = sorted(with_findings.keys() - turn, key=lambda day: (with_findings[day], day))
    return sorted(turn.union(again[:_MOST_DAYS_AGAIN]))


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

    When a day was read back whole, and which days have findings, is recorded once a minute and at the end, also where
    the run fails before that. With `is_everything` the days are all that the archive has: a launch after one that was
    killed leaves out the days that it found as they were archived, and reads those with findings again.
    """
    before = begin_everything(store, clock.now()) if is_everything else set[date]()
    count, days = len(days), [day for day in days if day not in before]
    found, recorded_at = Verification(days=list(days), days_before=count - len(days)), clock.monotonic()
    read, bad = list[date](), list[date]()

    def record() -> None:
        record_verified_days(store, read, clock.now(), with_findings=bad, is_everything=is_everything)
        read.clear()
        bad.clear()

    try:
        with worker_threads(threads, "verification") as pool:
            for number, day in enumerate(days, 1):
                unread, findings = len(found.unread), found.count_findings()
                _verify_day(day, found, pool, store, tables, tombstones, audit_log(day, "verify"), log)
                if len(found.unread) == unread:
                    read.append(day)
                if found.count_findings() > findings:
                    bad.append(day)
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
    found.days_with_findings = sorted(read_verified_days(store).with_findings.keys() - set(days))
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
        row = read_reconciliation(tables, day)  # before the table: a run of the day adds recordings before it counts
    except UnreadablePartition as error:
        log.warning("%s: %s", day, error)
        found.unread.append(table_key(schemas.RECONCILIATION.name, day))
        row = None
    count = 0
    try:
        with tables.opened(schemas.RECORDINGS, day) as recordings:
            # After the table was read: a run of the day puts an object before it writes the row.
            stored = ObjectSizes((entry.key, entry.size_bytes) for entry in store.list(audio_prefix(day)))
            archived = _archived(recordings, store.full_key(""))
            while some := list(islice(archived, _AT_ONCE)):
                count += len(some)
                present = [one for one in some if stored.take(one.key) is not None]
                found.missing += sorted({one.key for one in some}.difference(one.key for one in present))
                _verify_recordings(present, found, pool, store, audit, log)
    except UnreadablePartition as error:
        log.warning("%s: %s", day, error)
        found.unread.append(table_key(schemas.RECORDINGS.name, day))
        return
    if row is not None and _count_lost_rows(row, count, day, tables, tombstones) > 0:
        log.warning("%s: %d of %d archived recordings are in the table", day, count, row["recordings_archived"])
        found.lost_rows.append(table_key(schemas.RECORDINGS.name, day))
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


def _count_lost_rows(row: Row, archived: int, day: date, tables: Tables, tombstones: Tombstones) -> int:
    """Return how many archived recordings the table had when the day was reconciled, and has no more.

    Calls that were erased since then do not count, nor those that an earlier day keeps.
    """
    lost: int = row["recordings_archived"] - archived
    if lost <= 0:
        return 0
    erased_since: int = max(0, len(tombstones.pseudonyms_of(day)) - row["erased"])
    return lost - erased_since - len(tables.moved.keys_of(day))


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
