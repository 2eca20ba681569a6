"""An archive in one SQLite file: `ObjectStore` without a server. A process that opens it holds nothing of it in memory.

A file for each object would do, too; but what the file system needs to create one grows, and is larger than what is
measured. Only large bodies are files. Requests are counted as S3 does: a listing is one for each thousand objects.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, cast

from benchmarks.scale.made_calls import MadeCalls
from kros_pipeline.archive.object_store import Entry, Head, PutMode, Replace, VersionToken
from kros_pipeline.core.errors import ArchiveError, ObjectChanged, ObjectExists
from kros_pipeline.core.object_keys import audio_prefix
from kros_pipeline_tests.support.memory_store import MemoryServer

_ENTRIES_PER_PAGE, _PIECE_BYTES = 1_000, 1 << 20
_MOST_BYTES_IN_ROW = 1 << 14
_MAX_KEY_BYTES = 1_024
_SETTINGS = ("journal_mode = OFF", "synchronous = OFF")  # nobody needs the archive after a crash
_TABLE = """
CREATE TABLE IF NOT EXISTS objects (
    key TEXT PRIMARY KEY, size_bytes INTEGER, version INTEGER, metadata TEXT, body BLOB
)
"""


class SqliteStore:
    """One archive in one folder; see `ObjectStore` for every method. A version is the time of a write, in ns.

    One process at a time may write.
    """

    def __init__(self, folder: Path, prefix: str = "") -> None:
        self.bucket, self._prefix = folder.name, f"{prefix}/" if prefix else ""
        self.requests_made = self.writes_made = 0
        self.server, self.reads_audio_back = MemoryServer(), False
        self._bodies = folder / "bodies"  # of large objects, named by their versions
        self._bodies.mkdir(parents=True, exist_ok=True)
        self._lock, self._last_version = threading.RLock(), 0
        self._database = sqlite3.connect(folder / "objects.sqlite", isolation_level=None, check_same_thread=False)
        for setting in _SETTINGS:
            self._database.execute(f"PRAGMA {setting}")
        self._database.execute(_TABLE)

    def full_key(self, key: str) -> str:
        return self._prefix + key

    def url(self, key: str) -> str:
        return f"s3://{self.bucket}/{self.full_key(key)}"

    def _count(self, *, is_write: bool = False) -> None:
        with self._lock:
            self.requests_made += 1
            self.writes_made += is_write

    def _select(self, columns: str, condition: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._database.execute(f"SELECT {columns} FROM objects WHERE {condition}", values).fetchall()

    def _open(self, key: str) -> tuple[VersionToken, IO[bytes]] | None:
        self._count()
        with self._lock:  # another writer would delete the file of a large body
            for version, body in self._select("version, body", "key = ?", self.full_key(key)):
                file = io.BytesIO(body) if body is not None else (self._bodies / f"{version}").open("rb")
                return VersionToken(f"{version}"), file
        return None

    def head(self, key: str) -> Head | None:
        self._count()
        for size, version, metadata in self._select("size_bytes, version, metadata", "key = ?", self.full_key(key)):
            written_at = datetime.fromtimestamp(version / 1e9, UTC)
            return Head(size, VersionToken(f"{version}"), json.loads(metadata), written_at)
        return None

    def read(self, key: str) -> bytes | None:
        opened = self._open(key)
        if opened is None:
            return None
        with opened[1] as body:
            return body.read()

    def copy_into(self, key: str, file: IO[bytes]) -> VersionToken | None:
        opened = self._open(key)
        if opened is None:
            return None
        version, body = opened
        with body:
            shutil.copyfileobj(body, file, _PIECE_BYTES)
        return version

    def digest(self, key: str) -> tuple[str, int] | None:
        opened = self._open(key)
        if opened is None:
            return None
        with opened[1] as body:
            return hashlib.file_digest(cast(Any, body), "sha256").hexdigest(), body.tell()

    def read_range(self, key: str, begin: int, end: int, *, version: VersionToken | None = None) -> bytes | None:
        opened = self._open(key)
        if opened is None:
            return None
        present, body = opened
        with body:
            if version not in (None, present):
                raise ObjectChanged(f"{key}: S3 says PreconditionFailed")
            if begin >= body.seek(0, io.SEEK_END):
                raise ArchiveError(f"{key}: S3 says InvalidRange")
            body.seek(begin)
            return body.read(end - begin)

    def list(self, prefix: str, *, after: str = "") -> Iterator[Entry]:
        begins_with = self.full_key(prefix)
        condition, at = "key >= ?", begins_with
        if after and self.full_key(after) >= begins_with:
            condition, at = "key > ?", self.full_key(after)
        while True:
            self._count(is_write=True)
            page = self._select("key, size_bytes, version", f"{condition} ORDER BY key LIMIT {_ENTRIES_PER_PAGE}", at)
            for key, size, version in page:
                if not key.startswith(begins_with):
                    return
                yield Entry(key.removeprefix(self._prefix), size, VersionToken(f"{version}"))
            if len(page) < _ENTRIES_PER_PAGE:
                return
            condition, at = "key > ?", page[-1][0]

    def folders(self, prefix: str) -> Iterator[str]:
        self._count(is_write=True)
        begins_with = at = self.full_key(prefix)
        while found := self._select("key", "key >= ? ORDER BY key LIMIT 1", at):
            key = found[0][0]
            if not key.startswith(begins_with):
                return
            name, slash, _ = key.removeprefix(begins_with).partition("/")
            if slash:
                yield f"{prefix}{name}/"
            at = f"{begins_with}{name}0" if slash else f"{key}\0"  # 0 comes next after the slash

    def put(
        self,
        key: str,
        body: bytes | memoryview | IO[bytes],
        *,
        sha256: str,
        mode: PutMode,
        metadata: Mapping[str, str] | None = None,
        content_type: str = "application/octet-stream",
    ) -> VersionToken:
        self._count(is_write=True)
        if len(self.full_key(key).encode()) > _MAX_KEY_BYTES or not "".join((metadata or {}).values()).isascii():
            raise ArchiveError(f"{key}: the key is too long, or the metadata is not ASCII")
        file = io.BytesIO(body) if isinstance(body, bytes | memoryview) else body
        file.seek(0)
        if hashlib.file_digest(cast(Any, file), "sha256").hexdigest() != sha256:
            raise ArchiveError(f"{key}: S3 says BadDigest")
        return self._place(key, file, file.seek(0, io.SEEK_END), mode, metadata or {})

    def _place(
        self, key: str, file: IO[bytes] | None, size: int, mode: PutMode, metadata: Mapping[str, str]
    ) -> VersionToken:
        """Write an object under the condition of `mode`; only its size where there is no `file`."""
        with self._lock:
            found = self._select("version", "key = ?", self.full_key(key))
            present = found[0][0] if found else None
            if isinstance(mode, Replace):
                if present is None or mode.version != f"{present}":
                    raise ObjectChanged(f"{key}: another writer was first")
            elif present is not None:
                raise ObjectExists(f"{key}: another writer was first")
            self._last_version = version = max(time.time_ns(), self._last_version + 1, (present or 0) + 1)
            body = None
            if file is not None:
                file.seek(0)
                if size <= _MOST_BYTES_IN_ROW:
                    body = file.read()
                else:
                    with (self._bodies / f"{version}").open("wb") as new:
                        shutil.copyfileobj(file, new, _PIECE_BYTES)
            row = (self.full_key(key), size, version, json.dumps(dict(metadata)), body)
            self._database.execute("INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?)", row)
            if present is not None:
                with suppress(FileNotFoundError):
                    (self._bodies / f"{present}").unlink()
        return VersionToken(f"{version}")


class AudiolessStore(SqliteStore):
    """The same, without the bytes of the audio of one day: they are made of its calls."""

    def __init__(self, folder: Path, made: MadeCalls) -> None:
        super().__init__(folder)
        self._made, self._audio = made, audio_prefix(made.day)

    def digest(self, key: str) -> tuple[str, int] | None:
        if not key.startswith(self._audio):
            return super().digest(key)
        head = self.head(key)
        if head is None:
            return None
        number = self._made.number_of(key.removeprefix(self._audio).removesuffix(".mp3"))
        return self._made.sha256(number), head.size_bytes

    def put(
        self,
        key: str,
        body: bytes | memoryview | IO[bytes],
        *,
        sha256: str,
        mode: PutMode,
        metadata: Mapping[str, str] | None = None,
        content_type: str = "application/octet-stream",
    ) -> VersionToken:
        if not key.startswith(self._audio):
            return super().put(key, body, sha256=sha256, mode=mode, metadata=metadata, content_type=content_type)
        self._count(is_write=True)
        size = body.seek(0, io.SEEK_END) if not isinstance(body, bytes | memoryview) else len(body)
        return self._place(key, None, size, mode, metadata or {})
