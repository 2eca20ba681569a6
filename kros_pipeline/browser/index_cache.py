"""The local folder of day indexes: built on demand and ahead, replaced when a table changes, deleted at any time.

A file is named by its day and a fingerprint of what it was made of: the versions of the day's tables, the tombstones of
its calls, and the markers of those that an earlier day keeps. Whatever changes one of them makes another
name, and the file before is deleted.
"""

import hashlib
import logging
import shutil
import threading
import uuid
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from ..archive.object_store import ObjectStore
from ..archive.tables import Tables
from ..core.clock import Clock
from ..core.errors import ArchiveError, ExternalError
from ..core.object_keys import MOVED, call_key_in, day_in, table_prefix
from .day_index import DayIndex
from .erased_calls import ErasedCalls
from .index_builder import INDEX_VERSION, INDEXED_TABLES, build_index
from .index_connections import IndexConnections

REFRESH_SECONDS = 30.0
_BUILDERS = 2
_ATTEMPTS = 3  # to open a day that changes while it is indexed


class IndexOutdated(ArchiveError):
    """A day changed while its index was built: the next question builds another one."""


@dataclass(frozen=True, slots=True)
class ReadyDays:
    """The days of a range whose index is there, how many are still being built, and what is wrong with others."""

    indexes: list[DayIndex]
    pending: int
    problems: list[str]


@dataclass(frozen=True, slots=True)
class _MovedKeys:
    """The keys of a day's calls that an earlier day keeps, with their digest: made once for each look."""

    keys: frozenset[str]
    digest: str


_NONE_MOVED = _MovedKeys(frozenset(), "")


class IndexCache:
    """The indexes of the archive's days. Threads may share it."""

    def __init__(self, folder: Path, *, store: ObjectStore, tables: Tables, erased: ErasedCalls, clock: Clock):
        self._folder, self._store, self._tables = folder, store, tables
        self._erased, self._clock = erased, clock
        self._connections = IndexConnections()
        self._versions: dict[date, dict[str, str]] = {}
        self._moved: dict[date, _MovedKeys] = {}
        self._refreshed_at: float | None = None
        self._known_pseudonyms: frozenset[str] = frozenset()
        self._builds: dict[Path, Future[None]] = {}
        self._lock = threading.Lock()
        self._refreshing = threading.Lock()
        self._pool = ThreadPoolExecutor(_BUILDERS, thread_name_prefix="index")
        self._ahead = threading.Thread(target=self._build_ahead, name="index-ahead", daemon=True)
        self._is_closed = threading.Event()

    def start(self) -> None:
        """Build the indexes of all days in the background, the newest first."""
        self._ahead.start()

    def close(self) -> None:
        """Stop building."""
        self._is_closed.set()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._connections.close()

    def days(self) -> list[date]:
        """Return the days of which the archive has calls or turns, in ascending order."""
        self._refresh_if_due()
        return sorted(self._versions)

    def ready(self, first: date, last: date, *, within_seconds: float) -> ReadyDays:
        """Return the indexes of a range, the newest first. Those that are missing are built for so long at most."""
        self._refresh_if_due()
        days = [day for day in sorted(self._versions, reverse=True) if first <= day <= last]
        # Each path once: where a table is replaced meanwhile, the answer is of the version before.
        builds = {day: (path := self._path(day), self._build(day, path)) for day in days}
        wait([build for _, build in builds.values() if build is not None], timeout=within_seconds)
        indexes, problems, pending = [], [], 0
        for day, (path, build) in builds.items():
            error = build.exception() if build is not None and build.done() else None
            if isinstance(error, IndexOutdated) or (build is not None and not build.done()):
                pending += 1
            elif error is not None:
                problems.append(f"{day}: {error if isinstance(error, ExternalError) else 'its index cannot be built'}")
            else:
                indexes.append(DayIndex(day, path, self._connections))
        return ReadyDays(indexes, pending, problems)

    def open(self, day: date) -> DayIndex | None:
        """Return a day's index, and build it first if need be; None where the archive has no such day.

        Raises `ArchiveError` where a table cannot be read.
        """
        self._refresh_if_due()
        if day not in self._versions:
            return None
        for attempt in range(_ATTEMPTS):
            path = self._path(day)
            try:
                if (build := self._build(day, path)) is not None:
                    build.result()
                break
            except IndexOutdated:
                if attempt == _ATTEMPTS - 1:
                    raise
        return DayIndex(day, path, self._connections)

    def peaks_path(self, day: date, digest: str) -> Path:
        """Return where the peaks of a recording are kept."""
        return self._folder / "peaks" / day.isoformat() / f"{digest}.json"

    def _refresh_if_due(self) -> None:
        """Ask for the tables' versions where that is due, and at once where a call was erased."""
        pseudonyms = self._erased.look(max_age_seconds=REFRESH_SECONDS)
        now = self._clock.monotonic()
        is_due = self._refreshed_at is None or now - self._refreshed_at > REFRESH_SECONDS
        if not is_due and pseudonyms == self._known_pseudonyms:
            return
        with self._refreshing:
            if self._refreshed_at is None or self._refreshed_at < now:
                self._refresh()

    def _refresh(self) -> None:
        began, pseudonyms = self._clock.monotonic(), self._erased.look(max_age_seconds=REFRESH_SECONDS)
        versions: dict[date, dict[str, str]] = {}
        with ThreadPoolExecutor(len(INDEXED_TABLES), thread_name_prefix="versions") as pool:
            listings = pool.map(lambda table: list(self._store.list(table_prefix(table.name))), INDEXED_TABLES)
            for table, entries in zip(INDEXED_TABLES, listings, strict=True):
                for entry in entries:
                    if (day := day_in(entry.key)) is not None:
                        versions.setdefault(day, {})[table.name] = entry.version
        moved = self._list_moved()
        has_changed = (versions, moved, pseudonyms) != (self._versions, self._moved, self._known_pseudonyms)
        self._versions, self._moved, self._known_pseudonyms = versions, moved, pseudonyms
        self._refreshed_at = began
        with self._lock:  # what failed is tried again: S3 may have been away
            self._builds = {path: build for path, build in self._builds.items() if not build.done()}
        if has_changed:
            self._delete_outdated()

    def _list_moved(self) -> dict[date, _MovedKeys]:
        """Return the keys of calls that an earlier day keeps, by day. A run that goes on may write more of them."""
        moved: dict[date, set[str]] = {}
        for entry in self._store.list(MOVED):
            day, key = day_in(entry.key), call_key_in(entry.key)
            if day is not None and key is not None:
                moved.setdefault(day, set()).add(key)
        return {day: _MovedKeys(frozenset(keys), _digest(sorted(keys))) for day, keys in moved.items()}

    def _path(self, day: date) -> Path:
        moved = self._moved.get(day, _NONE_MOVED)
        facts = [INDEX_VERSION, *sorted(self._erased.of_day(day)), *filter(None, [moved.digest])]
        facts += [f"{name}={version}" for name, version in sorted(self._versions.get(day, {}).items())]
        return self._folder / f"{day.isoformat()}-{_digest(facts)[:24]}.sqlite"

    def _build(self, day: date, path: Path) -> Future[None] | None:
        """Begin to build a day's index; None where it is there."""
        with self._lock:
            build = self._builds.get(path)
            if build is not None and not (build.done() and build.exception() is None):
                return build
            if path.exists():
                self._builds.pop(path, None)
                return None
            build = self._builds[path] = self._pool.submit(self._write, day, path)
            return build

    def _write(self, day: date, path: Path) -> None:
        """Build a file beside its place, and move it there: a reader never sees half of one."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = path.with_name(f"{path.stem}-{uuid.uuid4().hex}.part")
        moved, pseudonyms = self._moved.get(day, _NONE_MOVED).keys, self._erased.look()
        try:
            build_index(part, day, self._tables, lambda key: key in moved or self._erased.matches(key, pseudonyms))
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        if path != self._path(day):
            path.unlink(missing_ok=True)  # the day has changed while it was read: a call may have been erased
            raise IndexOutdated(f"{day} has changed while its index was built")
        self._delete_old_peaks(day, path)

    def _delete_outdated(self) -> None:
        """Delete every file that is of no day as it is now: an erased call stays in none of them."""
        wanted = {self._path(day).name for day in self._versions}
        with suppress(OSError):  # the folder may be deleted at any time
            for path in [*self._folder.glob("*.sqlite"), *self._folder.glob("*.part")]:
                if path.name not in wanted and not self._is_being_written(path):
                    path.unlink(missing_ok=True)
                    self._connections.close()  # an open file would outlive its name
            for folder in (self._folder / "peaks").iterdir():
                if folder.name not in {day.isoformat() for day in self._versions}:
                    shutil.rmtree(folder, ignore_errors=True)

    def _is_being_written(self, path: Path) -> bool:
        return path.suffix == ".part" and any(
            path.name.startswith(build.stem) for build, future in list(self._builds.items()) if not future.done()
        )

    def _delete_old_peaks(self, day: date, path: Path) -> None:
        """Delete the peaks of recordings that the day no longer has."""
        present = DayIndex(day, path, self._connections).audio_digests()
        for peaks in self.peaks_path(day, "any").parent.glob("*"):
            if peaks.stem not in present:
                peaks.unlink(missing_ok=True)

    def _build_ahead(self) -> None:
        """Build what is missing, and look for changes again and again."""
        while not self._is_closed.is_set():
            try:
                self._build_missing(sorted(self.days(), reverse=True))
            except ExternalError as error:
                logging.getLogger(__name__).warning("The index is not brought up to date: %s", error)
            self._is_closed.wait(REFRESH_SECONDS)

    def _build_missing(self, days: Sequence[date]) -> None:
        """Build days one after the other, so that a reader's day is not behind all of them."""
        for day in days:
            if self._is_closed.is_set():
                return
            build = self._build(day, self._path(day))
            if build is not None:
                wait([build])


def _digest(facts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()


def own_folder(base: Path, archive_url: str) -> Path:
    """Return the folder of an archive's indexes below one that others may use, too.

    What is in it is deleted when it is outdated, so that nothing else may lie there: neither the indexes of another
    archive, nor files of other programs.
    """
    return base / hashlib.sha256(archive_url.encode()).hexdigest()[:16]


def protect(folder: Path) -> None:
    """Make the folder, which has transcripts in it, and let nobody else into it. Raises `OSError`."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
