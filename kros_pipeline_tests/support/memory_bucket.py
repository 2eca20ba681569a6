"""The objects of buckets in memory. One with versions has Object Lock, too: it lists what was replaced or deleted."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from kros_pipeline.archive.governance import ObjectVersion
from kros_pipeline.archive.object_store import VersionToken
from kros_pipeline.core.errors import ArchiveError


@dataclass(frozen=True)
class StoredObject:
    """One object of a bucket."""

    body: bytes
    version: VersionToken
    metadata: Mapping[str, str] = field(default_factory=dict)
    last_modified: datetime = field(default_factory=lambda: datetime.now(UTC))


_BUCKETS: dict[str, dict[str, StoredObject]] = {}
_VERSIONS = itertools.count(1)
LOCK = threading.Lock()


def objects_of(bucket: str) -> dict[str, StoredObject]:
    """Return the objects of a bucket by their full keys; the same dict each time."""
    return _BUCKETS.setdefault(bucket, {})


def create_versioned_bucket(bucket: str) -> None:
    """Create a bucket that keeps versions and has Object Lock."""
    _BUCKETS[bucket] = VersionedObjects()


def drop_versions(bucket: str) -> None:
    """Drop a bucket with versions, history included; another bucket stays."""
    if isinstance(_BUCKETS.get(bucket), VersionedObjects):
        del _BUCKETS[bucket]


def new_version() -> VersionToken:
    """Return a version that no object has had."""
    return VersionToken(f'"{next(_VERSIONS)}"')


class VersionedObjects(dict[str, StoredObject]):
    """The latest objects of a bucket, and their history: every version, and None for a delete marker, oldest first."""

    def __init__(self) -> None:
        super().__init__()
        self.history: dict[str, dict[str, StoredObject | None]] = {}
        self.held: set[tuple[str, str]] = set()

    def __setitem__(self, key: str, stored: StoredObject) -> None:
        self.history.setdefault(key, {})[stored.version.strip('"')] = stored
        super().__setitem__(key, stored)

    def pop(self, key: str, *default: Any) -> Any:
        """Hide an object behind a delete marker, as a DELETE without a version does."""
        self.history.setdefault(key, {})[new_version().strip('"')] = None
        return super().pop(key, *default)

    def versions(self, prefix: str) -> Iterator[ObjectVersion]:
        """Yield every version below a prefix, by full keys; the newest of a key first."""
        with LOCK:
            found = [(key, list(self.history[key].items())) for key in sorted(self.history) if key.startswith(prefix)]
        for key, history in found:
            for version_id, stored in reversed(history):
                is_latest = version_id == history[-1][0]
                yield ObjectVersion(key, version_id, is_latest, stored is None, len(stored.body) if stored else 0)

    def body(self, key: str, version_id: str) -> bytes | None:
        """Return the bytes of one version; None where it is not there, or a marker."""
        stored = self.history.get(key, {}).get(version_id)
        return stored.body if stored is not None else None

    def delete(self, key: str, version_id: str) -> None:
        """Delete one version for good; the one before it is the latest then."""
        if (key, version_id) in self.held:
            raise ArchiveError("S3 did not delete 1 of 1 versions: AccessDenied.")
        history = self.history.get(key, {})
        history.pop(version_id, None)
        latest = next(reversed(history.values()), None)
        if not history:
            self.history.pop(key, None)
        if latest is None:
            super().pop(key, None)
        else:
            super().__setitem__(key, latest)
