"""An archive in memory, for tests that run hundreds of whole days: `ObjectStore` and `Governance` without S3.

`archive/test_object_store_contract.py` holds `MemoryObjectStore` to the same laws as the real store. It is stricter
than moto: it compares the SHA-256 of a body, and refuses keys above 1,024 bytes.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from types import SimpleNamespace
from typing import IO, Any

import pyarrow.parquet as pq

from kros_pipeline.archive.governance import NULL_VERSION, Governance, ObjectVersion
from kros_pipeline.archive.object_store import Entry, Head, ObjectStore, PutMode, Replace, VersionToken
from kros_pipeline.archive.settings import ArchiveSettings
from kros_pipeline.core.clock import Clock
from kros_pipeline.core.errors import ArchiveError, ObjectChanged, ObjectExists
from kros_pipeline.source.call_source import CallSource
from kros_pipeline.steps.run_context import RunContext, open_run_context
from kros_pipeline_tests.support.archive_check import Archive, table_key
from kros_pipeline_tests.support.memory_bucket import (
    LOCK,
    StoredObject,
    VersionedObjects,
    drop_versions,
    new_version,
    objects_of,
)

_MAX_KEY_BYTES = 1_024


_PARSED: dict[str, list[dict[str, Any]]] = {}


class MemoryServer:
    """The server of an archive in memory; see `Server`."""

    endpoint, name, encryption = "memory", "memory", None

    def encrypts(self, key: str) -> bool:
        return False

    def takes_unencrypted(self, key: str) -> bool:
        return True


class MemoryObjectStore:
    """One archive in one bucket of this process; see `ObjectStore` for every method."""

    def __init__(self, bucket: str, prefix: str = "") -> None:
        self.bucket, self._prefix = bucket, f"{prefix}/" if prefix else ""
        self.requests_made = self.writes_made = 0
        self.server, self.reads_audio_back = MemoryServer(), False
        self._objects = objects_of(bucket)

    def full_key(self, key: str) -> str:
        return self._prefix + key

    def url(self, key: str) -> str:
        return f"s3://{self.bucket}/{self.full_key(key)}"

    def _count_write(self) -> None:
        self.requests_made += 1
        self.writes_made += 1

    def _get(self, key: str) -> StoredObject | None:
        self.requests_made += 1
        return self._objects.get(self.full_key(key))

    def head(self, key: str) -> Head | None:
        found = self._get(key)
        return Head(len(found.body), found.version, found.metadata, found.last_modified) if found else None

    def read(self, key: str) -> bytes | None:
        found = self._get(key)
        return found.body if found else None

    def copy_into(self, key: str, file: IO[bytes]) -> VersionToken | None:
        found = self._get(key)
        if found is None:
            return None
        file.write(found.body)
        return found.version

    def digest(self, key: str) -> tuple[str, int] | None:
        found = self._get(key)
        return (hashlib.sha256(found.body).hexdigest(), len(found.body)) if found else None

    def read_range(self, key: str, begin: int, end: int, *, version: VersionToken | None = None) -> bytes | None:
        found = self._get(key)
        if found is not None and version not in (None, found.version):
            raise ObjectChanged(f"{key}: S3 says PreconditionFailed")
        if found is not None and begin >= len(found.body):
            raise ArchiveError(f"{key}: S3 says InvalidRange")
        return found.body[begin:end] if found else None

    def list(self, prefix: str, *, after: str = "") -> Iterator[Entry]:
        self._count_write()
        for key, found in self._below(prefix):
            if key > after:
                yield Entry(key, len(found.body), found.version)

    def folders(self, prefix: str) -> Iterator[str]:
        self._count_write()
        rests = [key.removeprefix(prefix) for key, _ in self._below(prefix)]
        yield from sorted({f"{prefix}{rest.split('/')[0]}/" for rest in rests if "/" in rest})

    def _below(self, prefix: str) -> Sequence[tuple[str, StoredObject]]:
        with LOCK:
            found = sorted((key, stored) for key, stored in self._objects.items() if key.startswith(self._prefix))
        relative = [(key.removeprefix(self._prefix), stored) for key, stored in found]
        return [(key, stored) for key, stored in relative if key.startswith(prefix)]

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
        self._count_write()
        if not isinstance(body, bytes | memoryview):
            body.seek(0)
            body = body.read()
        content = bytes(body)
        if hashlib.sha256(content).hexdigest() != sha256:
            raise ArchiveError(f"{key}: S3 says BadDigest")
        if len(self.full_key(key).encode()) > _MAX_KEY_BYTES or not "".join((metadata or {}).values()).isascii():
            raise ArchiveError(f"{key}: the key is too long, or the metadata is not ASCII")
        with LOCK:
            present = self._objects.get(self.full_key(key))
            if isinstance(mode, Replace):
                if present is None or present.version != mode.version:
                    raise ObjectChanged(f"{key}: another writer was first")
            elif present is not None:
                raise ObjectExists(f"{key}: another writer was first")
            stored = self._objects[self.full_key(key)] = StoredObject(content, new_version(), dict(metadata or {}))
        return stored.version


def split_level(prefix: str, versions: Iterable[ObjectVersion]) -> tuple[list[ObjectVersion], list[str]]:
    """Return the versions directly below a prefix, and the folders of all others."""
    direct, folders = list[ObjectVersion](), set[str]()
    for version in versions:
        name, slash, _ = version.key.removeprefix(prefix).partition("/")
        if slash:
            folders.add(f"{prefix}{name}/")
        else:
            direct.append(version)
    return direct, sorted(folders)


class MemoryGovernance:
    """Governs a bucket in memory; see `Governance` for every method.

    A bucket that `create_versioned_bucket` made has versions and Object Lock. In every other one the only version of an
    object is `null`.
    """

    def __init__(self, store: MemoryObjectStore) -> None:
        self._store, self._objects = store, objects_of(store.bucket)

    def _locked(self, key: str) -> VersionedObjects:
        if not isinstance(self._objects, VersionedObjects):
            raise ArchiveError(f"{key}: S3 says InvalidRequest (the bucket has no Object Lock)")
        return self._objects

    def has_object_lock(self) -> bool:
        return isinstance(self._objects, VersionedObjects)

    def has_default_retention(self) -> bool:
        return False

    def place_legal_hold(self, key: str, version_id: str | None = None) -> None:
        held = self._locked(key).held
        held.add((self._store.full_key(key), version_id or self._latest(key)))

    def lift_legal_hold(self, key: str) -> None:
        self._locked(key).held.discard((self._store.full_key(key), self._latest(key)))

    def _latest(self, key: str) -> str:
        return self._objects[self._store.full_key(key)].version.strip('"')

    def has_legal_hold(self, version: ObjectVersion) -> bool:
        name = self._store.full_key(version.key), version.version_id
        return isinstance(self._objects, VersionedObjects) and name in self._objects.held

    def retain(self, key: str, until: datetime) -> None:
        raise ArchiveError(f"{key}: S3 says InvalidRequest (retention is not kept in memory)")

    def tag_as_flagged(self, key: str) -> None:
        pass  # tags are not kept

    def versions(self, prefix: str) -> Iterator[ObjectVersion]:
        if not isinstance(self._objects, VersionedObjects):
            for entry in self._store.list(prefix):
                yield ObjectVersion(entry.key, NULL_VERSION, True, False, entry.size_bytes, entry.version)
            return
        self._store.requests_made += 1
        for version in self._objects.versions(self._store.full_key(prefix)):
            yield replace(version, key=version.key.removeprefix(self._store.full_key("")))

    def level(self, prefix: str) -> tuple[list[ObjectVersion], list[str]]:
        return split_level(prefix, self.versions(prefix))

    def read_version_range(self, version: ObjectVersion, begin: int, end: int) -> bytes:
        if version.version_id == NULL_VERSION:
            part = self._store.read_range(version.key, begin, end, version=version.token)
        else:
            body = self.read_version(version)
            part = body[begin:end] if body is not None else None
        if part is None:
            raise ObjectChanged(f"{version.key}: the version was deleted meanwhile")
        return part

    def read_version(self, version: ObjectVersion) -> bytes | None:
        if not isinstance(self._objects, VersionedObjects):
            return self._store.read(version.key)
        self._store.requests_made += 1
        return self._objects.body(self._store.full_key(version.key), version.version_id)

    def copy_version_into(self, version: ObjectVersion, file: IO[bytes]) -> bool:
        body = self.read_version(version)
        if body is not None:
            file.write(body)
        return body is not None

    def delete(self, versions: list[ObjectVersion]) -> None:
        with LOCK:
            for version in versions:
                key = self._store.full_key(version.key)
                if isinstance(self._objects, VersionedObjects):
                    self._objects.delete(key, version.version_id)
                else:
                    self._objects.pop(key, None)


def open_memory_archive(settings: ArchiveSettings) -> tuple[ObjectStore, Governance]:
    """Open an archive in memory: for `open_run_context(..., open_archive=open_memory_archive)`."""
    store = MemoryObjectStore(settings.bucket, settings.prefix)
    return store, MemoryGovernance(store)


def open_memory_run(archive: MemoryArchive, source: CallSource, clock: Clock, **more_settings: str) -> RunContext:
    """Open a run of an account whose archive is in memory, over a source of the test."""
    settings = more_settings | {
        "KROSAI_API_KEY": "kros_test_memory",
        "KROS_ARCHIVE_URL": f"s3://{archive.bucket}/{archive.prefix}",
        "KROS_ERASURE_KEY": "a key of the tests, long enough for them",
        "KROSAI_RETENTION_DAYS": "90",
        "KROS_DOWNLOAD_WORKERS": "1",
    }
    ctx = open_run_context(settings, clock=clock, open_archive=open_memory_archive)
    ctx.source.close()
    ctx.source = source
    return ctx


class MemoryArchive(Archive):
    """The independent look at it, which knows nothing of the pipeline's clients."""

    def __init__(self, bucket: str, prefix: str) -> None:
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
        objects_of(self.bucket)[f"{self.prefix}/{key}"] = StoredObject(body, new_version())

    def delete(self, key: str) -> None:
        objects_of(self.bucket).pop(f"{self.prefix}/{key}", None)

    def versions(self) -> dict[tuple[str, str], bytes]:
        objects, whole = objects_of(self.bucket), f"{self.prefix}/"
        if not isinstance(objects, VersionedObjects):
            return {(key, "null"): self.read(key) for key in self.objects()}
        return {
            (found.key.removeprefix(whole), found.version_id): objects.body(found.key, found.version_id) or b""
            for found in objects.versions(whole)
        }

    def delete_version(self, key: str, version_id: str) -> None:
        objects = objects_of(self.bucket)
        assert isinstance(objects, VersionedObjects)
        objects.delete(f"{self.prefix}/{key}", version_id)

    def forget(self) -> None:
        """Delete every object, so that the memory of one test is not the next one's."""
        for key, (version, _) in self.objects().items():
            self.delete(key)
            _PARSED.pop(version, None)
        drop_versions(self.bucket)
