"""An archive of years that is generated: `ObjectStore` and `Governance` over days that nobody has archived.

What a day has is made when it is asked for; audio has keys and sizes, and no bodies. What is written or deleted lies on
top. Every version is kept, as in a bucket with versions.
"""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import IO, TypeAlias, TypeVar

from kros_pipeline.archive.governance import ObjectVersion
from kros_pipeline.archive.identity import FORMAT, MIGRATION_DONE
from kros_pipeline.archive.json_objects import create_json
from kros_pipeline.archive.object_store import Entry, Head, PutMode, Replace, VersionToken
from kros_pipeline.core.errors import ArchiveError, ObjectChanged, ObjectExists
from kros_pipeline.core.object_keys import ARCHIVE_IDENTITY
from kros_pipeline_tests.support.memory_store import MemoryServer
from kros_pipeline_tests.support.years_days import AUDIO_BYTES, AUDIO_SHA256, GeneratedDays
from kros_pipeline_tests.support.years_objects import GENERATED, GENERATED_TOKEN, GeneratedObjects

KROSAI = "https://api.krosai.com/v1"
_PAGE = 1_000  # objects or versions per request
_T = TypeVar("_T")
_STORED_AT = datetime(2025, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class _Version:
    """One version of an object; what was generated has no body here, and a delete marker has none anywhere."""

    version_id: str
    body: bytes | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_marker(self) -> bool:
        return self.body is None and self.version_id != GENERATED


_Level: TypeAlias = tuple[list[ObjectVersion], list[str]]
_Names: TypeAlias = list[str]
_Place: TypeAlias = tuple[str, int, list[_Version] | None]


class YearsStore:
    """An archive of `days` days up to `last`, with `calls` calls each.

    `requests_made` counts each page of a listing, and each read and write; `requests` has the same by kind and place,
    such as `("list", "audio")`. `seconds_generating` is what making bodies took, which no store would take.
    """

    bucket = "years"

    def __init__(
        self, days: int, calls: int, *, last: date = date(2025, 1, 9), flagged_every: int = 100, prefix: str = "years"
    ):
        self.generated = GeneratedDays(calls, f"{prefix}/", flagged_every=flagged_every)
        self._objects = GeneratedObjects(self.generated, days, last)
        self.days = self._objects.days
        self.requests_made = self.writes_made = self.bytes_read = 0
        self.requests: Counter[tuple[str, str]] = Counter()
        self.reads_audio_back, self.server = False, MemoryServer()
        self._prefix = f"{prefix}/"
        self._history: dict[str, list[_Version]] = {}  # of every key that was written or deleted: oldest first
        self._numbers, self._lock = itertools.count(1), threading.RLock()

    # What lies on top.

    def _versions_of(self, key: str) -> list[_Version]:
        """Return the versions of a key, oldest first; the list is the history's own from then on."""
        with self._lock:
            if key not in self._history:
                self._history[key] = [_Version(GENERATED)] if self._objects.has(key) else []
            return self._history[key]

    def _latest(self, key: str) -> _Version | None:
        with self._lock:
            if key in self._history:
                history = self._history[key]
                return history[-1] if history and not history[-1].is_marker else None
        return _Version(GENERATED) if self._objects.has(key) else None

    def _get(self, key: str) -> tuple[_Version, bytes] | None:
        found = self._latest(key)
        if found is None:
            return None
        body = found.body if found.body is not None else self._objects.body(key)
        assert body is not None
        return found, body

    def _below(self, prefix: str, after: str = "") -> Iterator[_Place]:
        """Yield each key with the size of what is generated, and its history, if it has one; in ascending order."""
        return self._merge(prefix, self._objects.below(prefix, after), after)

    def _merge(self, prefix: str, generated: Iterable[tuple[str, int]], after: str = "") -> Iterator[_Place]:
        with self._lock:
            touched = {key: list(found) for key, found in sorted(self._history.items()) if key.startswith(prefix)}
        mine = iter([(key, found) for key, found in touched.items() if key > after])
        own = next(mine, None)
        for key, size in generated:
            while own is not None and own[0] < key:
                yield own[0], 0, own[1]
                own = next(mine, None)
            if own is not None and own[0] == key:
                yield key, size, own[1]
                own = next(mine, None)
            else:
                yield key, size, None
        while own is not None:
            yield own[0], 0, own[1]
            own = next(mine, None)

    # Requests.

    def _count(self, kind: str, key: str, *, is_write: bool = False) -> None:
        with self._lock:
            self.requests_made += 1
            self.writes_made += is_write
            parts = key.split("/")
            self.requests[kind, "/".join(parts[:2] if parts[0] in ("state", "tables") else parts[:1])] += 1

    def _count_pages(self, prefix: str, found: Iterable[_T]) -> Iterator[_T]:
        self._count("list", prefix, is_write=True)
        for number, one in enumerate(found):
            if number and number % _PAGE == 0:
                self._count("list", prefix, is_write=True)
            yield one

    def claim(self) -> None:
        """Give the archive the identity of the account that the tests use, unless it has one."""
        if self._latest(ARCHIVE_IDENTITY) is None:
            value = {"base_url": KROSAI, "organization_id": None, "format": FORMAT, "migration": MIGRATION_DONE}
            create_json(self, ARCHIVE_IDENTITY, value)

    def hide(self, key: str) -> None:
        """Hide an object behind a delete marker, as a DELETE without a version does."""
        with self._lock:
            self._versions_of(key).append(_Version(f"v{next(self._numbers)}"))

    def forget_requests(self) -> None:
        """Count from zero again."""
        with self._lock:
            self.requests.clear()
            self.requests_made = self.writes_made = self.bytes_read = 0

    @property
    def seconds_generating(self) -> float:
        return self._objects.seconds_spent

    def full_key(self, key: str) -> str:
        return self._prefix + key

    def url(self, key: str) -> str:
        return f"s3://{self.bucket}/{self.full_key(key)}"

    def head(self, key: str) -> Head | None:
        self._count("head", key)
        found = self._latest(key)
        if found is None:
            return None
        size = len(found.body) if found.body is not None else self._objects.size_of(key)
        return Head(size, _token(found.version_id), found.metadata, _STORED_AT)

    def read(self, key: str) -> bytes | None:
        return self._read(key)[1]

    def _read(self, key: str) -> tuple[_Version | None, bytes | None]:
        self._count("read", key)
        found = self._get(key)
        if found is None:
            return None, None
        self._add_bytes(found[1])
        return found

    def _add_bytes(self, body: bytes) -> None:
        with self._lock:
            self.bytes_read += len(body)

    def copy_into(self, key: str, file: IO[bytes]) -> VersionToken | None:
        version, body = self._read(key)
        if version is None or body is None:
            return None
        file.write(body)
        return _token(version.version_id)

    def digest(self, key: str) -> tuple[str, int] | None:
        latest = self._latest(key)
        if key.startswith("audio/") and latest is not None and latest.version_id == GENERATED:
            self._count("read", key)
            return AUDIO_SHA256, AUDIO_BYTES
        body = self.read(key)
        return (hashlib.sha256(body).hexdigest(), len(body)) if body is not None else None

    def read_range(self, key: str, begin: int, end: int, *, version: VersionToken | None = None) -> bytes | None:
        self._count("read range", key)
        found = self._get(key)
        if found is None:
            return None
        if version not in (None, _token(found[0].version_id)):
            raise ObjectChanged(f"{key}: S3 says PreconditionFailed")
        if begin >= len(found[1]):
            raise ArchiveError(f"{key}: S3 says InvalidRange")
        self._add_bytes(found[1][begin:end])
        return found[1][begin:end]

    def list(self, prefix: str, *, after: str = "") -> Iterator[Entry]:
        return self._count_pages(prefix, self._entries(prefix, after))

    def _entries(self, prefix: str, after: str) -> Iterator[Entry]:
        for key, size, history in self._below(prefix, after):
            if history is None:
                yield Entry(key, size, GENERATED_TOKEN)
            elif history and not history[-1].is_marker:
                body = history[-1].body
                yield Entry(key, len(body) if body is not None else size, _token(history[-1].version_id))

    def folders(self, prefix: str) -> Iterator[str]:
        """Yield folders; one of which everything generated was deleted is still named."""
        return self._count_pages(prefix, self._folders(prefix))

    def _folders(self, prefix: str) -> _Names:
        names = self._objects.folders(prefix)
        with self._lock:
            rests = [
                key.removeprefix(prefix) for key, found in self._history.items() if key.startswith(prefix) and found
            ]
        names |= {rest.split("/")[0] for rest in rests if "/" in rest}
        return [f"{prefix}{name}/" for name in sorted(names - {""})]

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
        self._count("put", key, is_write=True)
        if not isinstance(body, bytes | memoryview):
            body.seek(0)
            body = body.read()
        if hashlib.sha256(body).hexdigest() != sha256 or not "".join((metadata or {}).values()).isascii():
            raise ArchiveError(f"{key}: S3 says BadDigest, or the metadata is not ASCII")
        with self._lock:
            present = self._latest(key)
            if isinstance(mode, Replace):
                if present is None or _token(present.version_id) != mode.version:
                    raise ObjectChanged(f"{key}: another writer was first")
            elif present is not None:
                raise ObjectExists(f"{key}: another writer was first")
            written = _Version(f"v{next(self._numbers)}", bytes(body), dict(metadata or {}))
            self._versions_of(key).append(written)
        return _token(written.version_id)

    # Governance.

    def has_object_lock(self) -> bool:
        return False

    def has_default_retention(self) -> bool:
        return False

    def place_legal_hold(self, key: str, version_id: str | None = None) -> None:
        raise ArchiveError(f"{key}: S3 says InvalidRequest (the bucket has no Object Lock)")

    def lift_legal_hold(self, key: str) -> None:
        self.place_legal_hold(key)

    def has_legal_hold(self, version: ObjectVersion) -> bool:
        return False

    def retain(self, key: str, until: datetime) -> None:
        self.place_legal_hold(key)

    def tag_as_flagged(self, key: str) -> None:
        self._count("tag", key, is_write=True)

    def versions(self, prefix: str) -> Iterator[ObjectVersion]:
        return self._count_pages(prefix, self._object_versions(self._below(prefix)))

    def level(self, prefix: str) -> _Level:
        folders = self._folders(prefix)
        places = self._merge(prefix, self._objects.directly_below(prefix))
        direct = [one for one in self._object_versions(places) if "/" not in one.key.removeprefix(prefix)]
        for _ in self._count_pages(prefix, [*direct, *folders]):
            pass
        return direct, folders

    def _object_versions(self, below: Iterable[_Place]) -> Iterator[ObjectVersion]:
        for key, size, history in below:
            if history is None:
                yield ObjectVersion(key, GENERATED, True, False, size)
                continue
            for number, one in enumerate(reversed(history)):
                size_bytes = 0 if one.is_marker else len(one.body) if one.body is not None else size
                yield ObjectVersion(key, one.version_id, number == 0, one.is_marker, size_bytes)

    def read_version(self, version: ObjectVersion) -> bytes | None:
        self._count("read version", version.key)
        body = self._body_of(version)
        self._add_bytes(body or b"")
        return body

    def read_version_range(self, version: ObjectVersion, begin: int, end: int) -> bytes:
        self._count("read version", version.key)
        body = self._body_of(version)
        if body is None:
            raise ObjectChanged(f"{version.key}: the version was deleted meanwhile")
        self._add_bytes(body[begin:end])
        return body[begin:end]

    def _body_of(self, version: ObjectVersion) -> bytes | None:
        with self._lock:
            history = self._history.get(version.key)
            found = [one for one in history or [] if one.version_id == version.version_id]
        if history is not None and not found:
            return None
        if version.is_marker:
            return None
        return found[0].body if found and found[0].body is not None else self._objects.body(version.key)

    def copy_version_into(self, version: ObjectVersion, file: IO[bytes]) -> bool:
        body = self.read_version(version)
        file.write(body or b"")
        return body is not None

    def delete(self, versions: Sequence[ObjectVersion]) -> None:
        for begin in range(0, len(versions), _PAGE):
            self._count("delete", versions[begin].key, is_write=True)
        with self._lock:
            for version in versions:
                history = self._versions_of(version.key)
                history[:] = [one for one in history if one.version_id != version.version_id]


def _token(version_id: str) -> VersionToken:
    return VersionToken(f'"{version_id}"')
