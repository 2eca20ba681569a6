"""The contract of governance: versions, legal hold, tags, and the one place that deletes.

The daily steps place legal holds and tags. Only erasure reads versions and deletes: the credentials of the daily steps
need not allow that, and should not.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Protocol

from .object_store import VersionToken

NULL_VERSION = "null"
NO_TOKEN = VersionToken("")


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """One version of an object, or (`is_marker`) a marker that it was deleted. `key` is relative to the prefix.

    `token` is that of `ObjectStore`: it says whether a version `null`, which may be replaced, is still the same.
    """

    key: str
    version_id: str
    is_latest: bool
    is_marker: bool
    size_bytes: int
    token: VersionToken = NO_TOKEN


def versions_at(governance: "Governance", key: str) -> list[ObjectVersion]:
    """Return every version of the object at a key, and none of objects whose key begins with it."""
    return [version for version in governance.versions(key) if version.key == key]


class Governance(Protocol):
    """Governs the objects of one archive. It raises no error but `ArchiveError` and its subclasses."""

    def has_object_lock(self) -> bool:
        """Return whether the bucket has Object Lock, without which S3 knows no legal hold."""

    def has_default_retention(self) -> bool:
        """Return whether the bucket keeps every new object for a time: nothing could be erased from it."""

    def place_legal_hold(self, key: str, version_id: str | None = None) -> None:
        """Place a version, the latest if none is named, under legal hold.

        Until a person lifts it, S3 lets nobody delete that version.
        """

    def lift_legal_hold(self, key: str) -> None:
        """Lift the legal hold that a probe has placed: holds of recordings are lifted by hand."""

    def has_legal_hold(self, version: ObjectVersion) -> bool:
        """Return whether one version of an object is under legal hold."""

    def retain(self, key: str, until: datetime) -> None:
        """Retain the latest version of an object until a time, in the mode COMPLIANCE: nobody can shorten it."""

    def tag_as_flagged(self, key: str) -> None:
        """Add the tag that lifecycle rules and people know flagged recordings by; other tags stay."""

    def versions(self, prefix: str) -> Iterator[ObjectVersion]:
        """Yield every version and every delete marker below a prefix; id `null` where the bucket keeps no versions."""

    def level(self, prefix: str) -> tuple[list[ObjectVersion], list[str]]:
        """Return the versions and delete markers directly below a prefix, and the folders, with their closing slashes.

        A folder of which every object was deleted is among them while a version is left.
        """

    def read_version(self, version: ObjectVersion) -> bytes | None:
        """Return the bytes of one version of a small object; None where it was deleted meanwhile, or is a marker."""

    def read_version_range(self, version: ObjectVersion, begin: int, end: int) -> bytes:
        """Return the bytes from `begin` to `end` (exclusive) of one version.

        Raises `ObjectChanged` where it was deleted meanwhile, is a marker, or is a `null` version that was replaced.
        """

    def copy_version_into(self, version: ObjectVersion, file: IO[bytes]) -> bool:
        """Write one version's bytes into `file`; False where it was deleted meanwhile, or is a marker."""

    def delete(self, versions: list[ObjectVersion]) -> None:
        """Delete these versions for good. Raises `ArchiveError` that counts those that S3 did not delete."""
