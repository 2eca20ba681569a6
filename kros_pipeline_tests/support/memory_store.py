"""An archive in memory, for tests that run hundreds of whole days; stricter than moto.

A SHA-256 that is not the body's is a bug of ours, and stops the test. `test_object_store_contract.py` holds it to the
same laws as S3.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import IO, Any

import pyarrow.parquet as pq

from kros_pipeline.archive.governance import ObjectVersion
from kros_pipeline.archive.object_store import CREATE, Entry, Head, PutMode, Replace, VersionToken
from kros_pipeline.archive.settings import ArchiveSettings
from kros_pipeline.core.errors import ArchiveError, ObjectChanged, ObjectExists
from kros_pipeline_tests.support.archive_check import Archive, table_key


@dataclass(frozen=True)
class Stored:
    """An object."""

    body: bytes
    version: VersionToken
    metadata: Mapping[str, str] = field(default_factory=dict)
    last_modified: datetime = field(default_factory=lambda: datetime.now(UTC))


_BUCKETS: dict[str, dict[str, Stored]] = {}
_PARSED: dict[str, list[dict[str, Any]]] = {}
_LOCK = threading.Lock()
_NUMBERS = itertools.count(1)


def new_version() -> VersionToken:
    return VersionToken(f'"{next(_NUMBERS)}"')


def objects_of(bucket: str) -> dict[str, Stored]:
    """The objects of a bucket by their whole keys; the same dict each time."""
    return _BUCKETS.setdefault(bucket, {})


class MemoryObjectStore:
    """An `ObjectStore` in memory, shared by all that are opened on one bucket."""

    def __init__(self, settings: ArchiveSettings):
        self.bucket, self._prefix = settings.bucket, f"{settings.prefix}/" if settings.prefix else ""
        self.requests_made = 0
        self._objects = objects_of(settings.bucket)

    def full_key(self, key: str) -> str:
        return self._prefix + key

    def url(self, key: str) -> str:
        return f"memory://{self.bucket}/{self.full_key(key)}"

    def _find(self, key: str) -> Stored | None:
        self.requests_made += 1
        return self._objects.get(self.full_key(key))

    def head(self, key: str) -> Head | None:
        found = self._find(key)
        return found and Head(len(found.body), found.version, found.metadata, found.last_modified)

    def read(self, key: str) -> bytes | None:
        found = self._find(key)
        return found and found.body

    def copy_into(self, key: str, file: IO[bytes]) -> VersionToken | None:
        found = self._find(key)
        if found:
            file.write(found.body)
        return found and found.version

    def digest(self, key: str) -> tuple[str, int] | None:
        found = self._find(key)
        return found and (hashlib.sha256(found.body).hexdigest(), len(found.body))

    def list(self, prefix: str) -> Iterator[Entry]:
        self.requests_made += 1
        with _LOCK:
            keys = sorted(key for key in self._objects if key.startswith(self.full_key(prefix)))
        for key in keys:
            if found := self._objects.get(key):
                yield Entry(key.removeprefix(self._prefix), len(found.body))

    def folders(self, prefix: str) -> Iterator[str]:
        below = [entry.key.removeprefix(prefix) for entry in self.list(prefix)]
        yield from sorted({prefix + name.split("/")[0] + "/" for name in below if "/" in name})

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
        if not isinstance(body, bytes | memoryview):
            body.seek(0)
            body = body.read()
        content, stated = bytes(body), dict(metadata or {})
        assert hashlib.sha256(content).hexdigest() == sha256, f"{key}: another checksum than the body's"
        assert len(self.full_key(key).encode()) <= 1024 and "".join(stated.values()).isascii()
        self.requests_made += 1
        with _LOCK:
            there = self._objects.get(self.full_key(key))
            if mode == CREATE and there is not None:
                raise ObjectExists(f"{key} exists")
            if isinstance(mode, Replace) and (there is None or there.version != mode.version):
                raise ObjectChanged(f"{key} was written by somebody else meanwhile")
            stored = self._objects[self.full_key(key)] = Stored(content, new_version(), stated)
        return stored.version


class MemoryGovernance:
    """A `Governance` over objects in memory: a bucket without versions and without Object Lock."""

    def __init__(self, store: MemoryObjectStore):
        self._store, self._objects = store, objects_of(store.bucket)

    def can_hold(self) -> bool:
        return False

    def deletes_only_later(self) -> bool:
        return False

    def hold(self, key: str) -> None:
        raise ArchiveError(f"{key}: this bucket has no Object Lock")

    def tag_as_flagged(self, key: str) -> None:
        raise ArchiveError(f"{key}: this bucket has no tags")

    def is_held(self, version: ObjectVersion) -> bool:
        return False

    def versions(self, prefix: str) -> Iterator[ObjectVersion]:
        for entry in self._store.list(prefix):
            yield ObjectVersion(entry.key, "null", True, False, entry.size_bytes)

    def copy_version_into(self, version: ObjectVersion, file: IO[bytes]) -> bool:
        return self._store.copy_into(version.key, file) is not None

    def read_version(self, version: ObjectVersion) -> bytes | None:
        return self._store.read(version.key)

    def delete(self, versions: list[ObjectVersion]) -> None:
        for version in versions:
            self._objects.pop(self._store.full_key(version.key), None)


def open_memory_archive(settings: ArchiveSettings) -> tuple[MemoryObjectStore, MemoryGovernance]:
    """In place of `open_s3`."""
    store = MemoryObjectStore(settings)
    return store, MemoryGovernance(store)


class MemoryArchive(Archive):
    """The independent look at it, which knows nothing of the pipeline's clients."""

    def __init__(self, bucket: str, prefix: str):
        super().__init__(SimpleNamespace(exceptions=SimpleNamespace(NoSuchKey=KeyError)), bucket, prefix)

    def table(self, name: str, day: date) -> list[dict[str, Any]]:
        """The rows; parsed once for each version of the object."""
        stored = objects_of(self.bucket).get(f"{self.prefix}/{table_key(name, day)}")
        if stored is None:
            return []
        if stored.version not in _PARSED:
            file = pq.ParquetFile(io.BytesIO(stored.body))
            _PARSED[stored.version] = file.read(use_threads=False).to_pylist()
        return _PARSED[stored.version]

    def objects(self, below: str = "") -> dict[str, tuple[str, int]]:
        whole = f"{self.prefix}/"
        return {
            key.removeprefix(whole): (stored.version, len(stored.body))
            for key, stored in sorted(objects_of(self.bucket).items())
            if key.startswith(whole + below)
        }

    def read(self, key: str) -> bytes:
        return objects_of(self.bucket)[f"{self.prefix}/{key}"].body

    def write(self, key: str, body: bytes) -> None:
        objects_of(self.bucket)[f"{self.prefix}/{key}"] = Stored(body, new_version())

    def delete(self, key: str) -> None:
        objects_of(self.bucket).pop(f"{self.prefix}/{key}", None)

    def forget(self) -> None:
        """Every object of it, so that the memory of one test is not the next one's."""
        for key, (version, _) in self.objects().items():
            self.delete(key)
            _PARSED.pop(version, None)
