"""An archive in a folder: `ObjectStore` without a server. A process that opens it holds nothing of it in memory.

It counts requests as S3 does: a listing is one for each thousand objects. One process at a time may write.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from heapq import merge
from pathlib import Path
from typing import IO, Any, cast

from benchmarks.scale.made_calls import AUDIO_BYTES, MadeCalls
from kros_pipeline.archive.object_store import Entry, Head, PutMode, Replace, VersionToken
from kros_pipeline.core.errors import ArchiveError, ObjectChanged, ObjectExists
from kros_pipeline.core.object_keys import audio_prefix
from kros_pipeline_tests.support.memory_store import MemoryServer

_ENTRIES_PER_PAGE, _PIECE_BYTES = 1_000, 1 << 20
_MAX_KEY_BYTES = 1_024


class FolderStore:
    """One archive in one folder; see `ObjectStore` for every method. A version is the time of the file's last write."""

    def __init__(self, folder: Path, prefix: str = "") -> None:
        self.bucket, self._prefix = folder.name, f"{prefix}/" if prefix else ""
        self._objects, self._metadata = folder / "objects" / prefix, folder / "metadata" / prefix
        self._new = folder / "new"
        self.requests_made = self.writes_made = 0
        self.server, self.reads_audio_back = MemoryServer(), False
        self._lock, self._last_version = threading.Lock(), 0
        self._new.mkdir(parents=True, exist_ok=True)

    def full_key(self, key: str) -> str:
        return self._prefix + key

    def url(self, key: str) -> str:
        return f"s3://{self.bucket}/{self.full_key(key)}"

    def _count(self, *, is_write: bool = False) -> None:
        with self._lock:
            self.requests_made += 1
            self.writes_made += is_write

    def _open(self, key: str) -> IO[bytes] | None:
        self._count()
        try:
            return (self._objects / key).open("rb")
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None

    def head(self, key: str) -> Head | None:
        file = self._open(key)
        if file is None:
            return None
        with file:
            facts = os.fstat(file.fileno())
        noted = self._metadata / key
        metadata = json.loads(noted.read_bytes()) if noted.is_file() else {}
        return Head(facts.st_size, _version_of(facts), metadata, datetime.fromtimestamp(facts.st_mtime, UTC))

    def read(self, key: str) -> bytes | None:
        file = self._open(key)
        if file is None:
            return None
        with file:
            return file.read()

    def copy_into(self, key: str, file: IO[bytes]) -> VersionToken | None:
        source = self._open(key)
        if source is None:
            return None
        with source:
            shutil.copyfileobj(source, file, _PIECE_BYTES)
            return _version_of(os.fstat(source.fileno()))

    def digest(self, key: str) -> tuple[str, int] | None:
        file = self._open(key)
        if file is None:
            return None
        with file:
            return hashlib.file_digest(cast(Any, file), "sha256").hexdigest(), file.tell()

    def read_range(self, key: str, begin: int, end: int, *, version: VersionToken | None = None) -> bytes | None:
        file = self._open(key)
        if file is None:
            return None
        with file:
            facts = os.fstat(file.fileno())
            if version not in (None, _version_of(facts)):
                raise ObjectChanged(f"{key}: S3 says PreconditionFailed")
            if begin >= facts.st_size:
                raise ArchiveError(f"{key}: S3 says InvalidRange")
            file.seek(begin)
            return file.read(end - begin)

    def list(self, prefix: str, *, after: str = "") -> Iterator[Entry]:
        listed = -1
        for listed, entry in enumerate(one for one in self._entries(prefix) if one.key > after):
            if listed % _ENTRIES_PER_PAGE == 0:
                self._count(is_write=True)
            yield entry
        if listed == -1:
            self._count(is_write=True)

    def _entries(self, prefix: str) -> Iterator[Entry]:
        """Yield every object below a prefix, in ascending order of keys."""
        folder, slash, name = prefix.rpartition("/")
        for key, path in _walk(self._objects / folder, folder + slash, name):
            with suppress(FileNotFoundError):  # deleted meanwhile
                facts = path.stat()
                yield Entry(key, facts.st_size, _version_of(facts))

    def folders(self, prefix: str) -> Iterator[str]:
        self._count(is_write=True)
        below = self._objects / prefix
        names = sorted(one.name for one in below.iterdir() if one.is_dir()) if below.is_dir() else []
        yield from (f"{prefix}{name}/" for name in names)

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
        new = self._new / f"{threading.get_ident()}"
        with new.open("wb") as file:
            if isinstance(body, bytes | memoryview):
                digest = hashlib.sha256(body).hexdigest()
                file.write(body)
            else:
                body.seek(0)
                digest = hashlib.file_digest(cast(Any, body), "sha256").hexdigest()
                body.seek(0)
                shutil.copyfileobj(body, file, _PIECE_BYTES)
        if digest != sha256:
            raise ArchiveError(f"{key}: S3 says BadDigest")
        return self._place(key, new, mode, metadata or {})

    def _place(self, key: str, new: Path, mode: PutMode, metadata: Mapping[str, str]) -> VersionToken:
        """Move a new file to its key, under the condition of `mode`."""
        path, noted = self._objects / key, self._metadata / key
        with self._lock:
            present = _version_of(path.stat()) if path.is_file() else None
            if isinstance(mode, Replace):
                if present != mode.version:
                    raise ObjectChanged(f"{key}: another writer was first")
            elif present is not None:
                raise ObjectExists(f"{key}: another writer was first")
            self._last_version = max(time.time_ns(), self._last_version + 1)
            os.utime(new, ns=(self._last_version, self._last_version))
            path.parent.mkdir(parents=True, exist_ok=True)
            noted.unlink(missing_ok=True)
            if metadata:
                noted.parent.mkdir(parents=True, exist_ok=True)
                noted.write_text(json.dumps(dict(metadata)))
            new.replace(path)
        return VersionToken(f"{self._last_version}")


class AudiolessStore(FolderStore):
    """The same, without the bytes and the metadata of the audio of one day: they are made of its calls.

    What is put is a file of that size without content. With `are_put` all recordings of the day are there already, and
    no file of them.
    """

    def __init__(self, folder: Path, made: MadeCalls, *, are_put: bool) -> None:
        super().__init__(folder)
        self._made, self._are_put, self._audio = made, are_put, audio_prefix(made.day)

    def digest(self, key: str) -> tuple[str, int] | None:
        if not key.startswith(self._audio):
            return super().digest(key)
        self._count()
        return self._made.sha256(self._number_in(key)), AUDIO_BYTES

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
        new = self._new / f"{threading.get_ident()}"
        with new.open("wb") as file:
            file.truncate(AUDIO_BYTES)
        return self._place(key, new, mode, {})

    def _entries(self, prefix: str) -> Iterator[Entry]:
        stored = super()._entries(prefix)
        if not (self._are_put and self._audio.startswith(prefix)):
            return stored
        keys = (f"{self._audio}{call_id}.mp3" for call_id in self._made.sorted_ids())
        made = (Entry(key, AUDIO_BYTES, VersionToken("made")) for key in keys)
        return merge(stored, made, key=lambda entry: entry.key)

    def _number_in(self, key: str) -> int:
        return self._made.number_of(key.removeprefix(self._audio).removesuffix(".mp3"))


def _walk(folder: Path, key: str, begins_with: str = "") -> Iterator[tuple[str, Path]]:
    """Yield the keys and the paths of the files below a folder, in ascending order of keys."""
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as found:
        entries = sorted((f"{one.name}/" if one.is_dir() else one.name, Path(one.path)) for one in found)
        for name, path in entries:
            if not name.startswith(begins_with):
                continue
            if name.endswith("/"):
                yield from _walk(path, f"{key}{name}")
            else:
                yield f"{key}{name}", path


def _version_of(facts: os.stat_result) -> VersionToken:
    return VersionToken(f"{facts.st_mtime_ns}")
