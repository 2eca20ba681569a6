"""A bucket in memory, for tests that run hundreds of whole days: what `ObjectStore` promises, and stricter than moto.

A SHA-256 that is not the body's is a mistake of ours and stops the test. `test_memory_bucket.py` holds it beside the
real store.
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

from kros_pipeline.archive.s3_store import Entry, Head, ObjectStore
from kros_pipeline.archive.settings import ArchiveSettings
from kros_pipeline.core.errors import ObjectChanged, ObjectExists
from kros_pipeline_tests.support.archive_check import Archive, table_key


@dataclass(frozen=True)
class Stored:
    """An object."""

    body: bytes
    etag: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    last_modified: datetime = field(default_factory=lambda: datetime.now(UTC))


_BUCKETS: dict[str, dict[str, Stored]] = {}
_PARSED: dict[str, list[dict[str, Any]]] = {}
_LOCK = threading.Lock()
_ETAGS = itertools.count(1)


def objects_of(bucket: str) -> dict[str, Stored]:
    """The objects of a bucket by their whole keys; the same dict each time."""
    return _BUCKETS.setdefault(bucket, {})


class MemoryStore(ObjectStore):
    """In place of `ObjectStore`: `kros_pipeline.steps.run_context.ObjectStore` is where the product takes it from."""

    def __init__(self, settings: ArchiveSettings):
        self.bucket, self._prefix = settings.bucket, f"{settings.prefix}/" if settings.prefix else ""
        self.requests_made = 0
        self._objects = objects_of(settings.bucket)

    def _found(self, key: str) -> Stored | None:
        self.requests_made += 1
        return self._objects.get(self.full_key(key))

    def head(self, key: str) -> Head | None:
        found = self._found(key)
        return found and Head(len(found.body), found.etag, found.metadata, found.last_modified)

    def copy_into(self, key: str, file: IO[bytes]) -> str | None:
        found = self._found(key)
        if found:
            file.write(found.body)
        return found and found.etag

    def read(self, key: str) -> bytes | None:
        found = self._found(key)
        return found and found.body

    def list(self, prefix: str) -> Iterator[Entry]:
        self.requests_made += 1
        with _LOCK:
            keys = sorted(key for key in self._objects if key.startswith(self.full_key(prefix)))
        for key in keys:
            if found := self._objects.get(key):
                yield Entry(key.removeprefix(self._prefix), len(found.body))

    def put(
        self,
        key: str,
        body: bytes | IO[bytes],
        *,
        sha256: str,
        only_if: str,
        metadata: Mapping[str, str] | None = None,
        content_type: str = "application/octet-stream",
    ) -> str:
        if not isinstance(body, bytes):
            body.seek(0)
            body = body.read()
        assert hashlib.sha256(body).hexdigest() == sha256, f"{key}: another checksum than the body's"
        return self._write(key, body, only_if, metadata or {})

    def put_audio(self, key: str, body: bytes | memoryview, *, metadata: Mapping[str, str]) -> None:
        self._write(key, bytes(body), "absent", metadata)

    def _write(self, key: str, body: bytes, only_if: str, metadata: Mapping[str, str]) -> str:
        assert len(self.full_key(key).encode()) <= 1024 and "".join(metadata.values()).isascii()
        self.requests_made += 1
        with _LOCK:
            there = self._objects.get(self.full_key(key))
            if only_if == "absent" and there is not None:
                raise ObjectExists(f"{key} exists")
            if only_if != "absent" and (there is None or there.etag != only_if):
                raise ObjectChanged(f"{key} was written by somebody else meanwhile")
            stored = self._objects[self.full_key(key)] = Stored(body, f'"{next(_ETAGS)}"', dict(metadata))
        return stored.etag


class MemoryArchive(Archive):
    """The independent look at it, which knows nothing of the pipeline's clients."""

    def __init__(self, bucket: str, prefix: str):
        super().__init__(SimpleNamespace(exceptions=SimpleNamespace(NoSuchKey=KeyError)), bucket, prefix)

    def table(self, name: str, day: date) -> list[dict[str, Any]]:
        """The rows; parsed once for each version of the object."""
        stored = objects_of(self.bucket).get(f"{self.prefix}/{table_key(name, day)}")
        if stored is None:
            return []
        if stored.etag not in _PARSED:
            file = pq.ParquetFile(io.BytesIO(stored.body))
            _PARSED[stored.etag] = file.read(use_threads=False).to_pylist()
        return _PARSED[stored.etag]

    def objects(self, below: str = "") -> dict[str, tuple[str, int]]:
        whole = f"{self.prefix}/"
        return {
            key.removeprefix(whole): (stored.etag, len(stored.body))
            for key, stored in sorted(objects_of(self.bucket).items())
            if key.startswith(whole + below)
        }

    def read(self, key: str) -> bytes:
        return objects_of(self.bucket)[f"{self.prefix}/{key}"].body

    def write(self, key: str, body: bytes) -> None:
        objects_of(self.bucket)[f"{self.prefix}/{key}"] = Stored(body, f'"{next(_ETAGS)}"')

    def delete(self, key: str) -> None:
        objects_of(self.bucket).pop(f"{self.prefix}/{key}", None)

    def forget(self) -> None:
        """Every object of it, so that the memory of one test is not the next one's."""
        for key, (etag, _) in self.objects().items():
            self.delete(key)
            _PARSED.pop(etag, None)
