"""The object store: what the archive needs of S3, as a Protocol. Another store is a second implementation of it.

Keys are relative to the archive's prefix. There is no delete here: the daily work needs none (see `governance`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Final, Literal, NewType, Protocol

VersionToken = NewType("VersionToken", str)
"""Identifies the content at a key (in S3 the ETag): two equal tokens of one key mean that nobody wrote in between."""

CREATE: Final = "create"


@dataclass(frozen=True, slots=True)
class Replace:
    """The put mode that replaces an object only if it still has this version token."""

    version: VersionToken


PutMode = Literal["create"] | Replace
"""Every write is conditional: create only, or replace only what was read."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An object, as a listing shows it."""

    key: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Head:
    """An object without its body. `metadata` is what its writer stored with it, ASCII."""

    size_bytes: int
    version: VersionToken
    metadata: Mapping[str, str]
    last_modified: datetime


class ObjectStore(Protocol):
    """One archive in one bucket. Threads share it. Every method raises `ArchiveError` only."""

    bucket: str
    requests_made: int

    def full_key(self, key: str) -> str:
        """Return the key in the bucket, prefix included, as tables name objects."""

    def url(self, key: str) -> str:
        """Return the URL of an object, like `s3://bucket/prefix/key`."""

    def head(self, key: str) -> Head | None:
        """Return an object without its body; None only where the store says that there is none."""

    def read(self, key: str) -> bytes | None:
        """Return the body of a small object; None where there is none."""

    def copy_into(self, key: str, file: IO[bytes]) -> VersionToken | None:
        """Copy an object into a file and return its version token; None where there is none."""

    def digest(self, key: str) -> tuple[str, int] | None:
        """Return SHA-256 (hexadecimal) and size in bytes of an object, read in pieces; None where there is none."""

    def list(self, prefix: str) -> Iterator[Entry]:
        """Yield every object below a prefix, sorted by key."""

    def folders(self, prefix: str) -> Iterator[str]:
        """Yield the folders right below a prefix, with their trailing slashes, whatever they contain."""

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
        """Write one object under a condition, with a SHA-256 that the store checks; return its version token.

        A file is written from its beginning, wherever it stands. Raises `ObjectExists` (mode create) or `ObjectChanged`
        (mode replace) where the condition does not hold: nothing was written then.
        """
