"""The contract of an object store: what the archive asks of a bucket, and nothing of how S3 does it.

Every write is conditional: it creates an object, or replaces the one version that was read. There is no delete here:
no daily step needs one. Erasure deletes through `governance.Governance`, with credentials of its own.

`kros_pipeline_tests/archive/test_object_store_contract.py` states each law as a test, for every implementation.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Final, Literal, NewType, Protocol, TypeAlias

VersionToken = NewType("VersionToken", str)
"""Names one version of one object. Opaque: compare it, or hand it back in `Replace`. S3 takes the ETag."""

CREATE: Final = "create"
"""Write only where no object is at the key."""


@dataclass(frozen=True, slots=True)
class Replace:
    """Write only where the object at the key is still this version."""

    version: VersionToken


PutMode: TypeAlias = Literal["create"] | Replace


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of a listing."""

    key: str
    size_bytes: int
    version: VersionToken


@dataclass(frozen=True, slots=True)
class Head:
    """Facts about one object. `metadata` is ASCII, as its writer gave it; `last_modified` is aware."""

    size_bytes: int
    version: VersionToken
    metadata: Mapping[str, str]
    last_modified: datetime


class Server(Protocol):
    """The server behind an object store."""

    @property
    def endpoint(self) -> str:
        """The server's address: scheme, host and port."""

    @property
    def name(self) -> str:
        """What the server calls itself; empty where it says nothing."""

    @property
    def encryption(self) -> str | None:
        """The encryption that each write asks for; None where the bucket's default is taken."""

    def encrypts(self, key: str) -> bool:
        """Return whether the server says that an object is encrypted as `encryption` asks."""

    def takes_unencrypted(self, key: str) -> bool:
        """Return whether the server takes a create-only write that asks for no encryption, or has the object."""


class ObjectStore(Protocol):
    """One archive in one bucket. Keys are relative to the archive's prefix.

    Threads may share it. It raises no error but `ArchiveError` and its subclasses. An object is absent only where the
    store says so: a refusal or a missing answer raises.

    `requests_made` counts all requests, and `writes_made` those among them that S3 prices as writes: PUT, POST, LIST.
    With `reads_audio_back` the bytes of each new audio object are read and hashed once: where the server does not
    compare the SHA-256 of a body.
    """

    bucket: str
    requests_made: int
    writes_made: int
    reads_audio_back: bool

    @property
    def server(self) -> Server:
        """The server behind the store."""

    def full_key(self, key: str) -> str:
        """Return the key inside the bucket, with the prefix. Tables name objects by it."""

    def url(self, key: str) -> str:
        """Return `s3://bucket/prefix/key`."""

    def head(self, key: str) -> Head | None:
        """Return facts about one object; None where it is absent."""

    def read(self, key: str) -> bytes | None:
        """Return a small object's bytes; None where it is absent."""

    def copy_into(self, key: str, file: IO[bytes]) -> VersionToken | None:
        """Write an object's bytes into `file`, piece by piece. Return its version; None where it is absent."""

    def digest(self, key: str) -> tuple[str, int] | None:
        """Return SHA-256 (hexadecimal) and size in bytes, read piece by piece; None where the object is absent."""

    def read_range(self, key: str, begin: int, end: int, *, version: VersionToken | None = None) -> bytes | None:
        """Return the bytes from `begin` to `end` (exclusive, behind `begin`) of an object; None where it is absent.

        What is behind the object's end is left out. Raises `ArchiveError` where `begin` is, and `ObjectChanged` where a
        `version` is named and the object is another.
        """

    def list(self, prefix: str, *, after: str = "") -> Iterator[Entry]:
        """Yield every object whose key begins with `prefix`, in ascending order of keys; only those behind `after`."""

    def folders(self, prefix: str) -> Iterator[str]:
        """Yield each folder directly below `prefix` once, with its closing slash, in ascending order."""

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
        """Write one object, and return its version.

        `sha256` is the body's, in hexadecimal; a body that arrives different is refused. A file is written from its
        beginning, wherever it stands. The version of a `memoryview` may be empty where the store does not report it.

        Raises `ObjectExists` (mode `CREATE`) or `ObjectChanged` (mode `Replace`) where the condition does not hold.
        Nothing is written then.
        """
