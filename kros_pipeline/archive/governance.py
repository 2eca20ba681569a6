"""Governance: versions, legal holds, tags and deletion of objects, as a Protocol.

The daily work holds and tags. Versions and deletion are for erasure only: the credentials of the daily work do not
need those rights, and should not have them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Protocol


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """One version of an object, or a marker that it was deleted. `key` is relative to the archive's prefix."""

    key: str
    version_id: str
    is_latest: bool
    is_marker: bool
    size_bytes: int


class Governance(Protocol):
    """Governance of the objects of one archive. Every method raises `ArchiveError` only."""

    def can_hold(self) -> bool:
        """Return whether the bucket supports legal holds."""

    def hold(self, key: str) -> None:
        """Place a legal hold on an object: until it is lifted by hand, nobody can delete that version."""

    def tag_as_flagged(self, key: str) -> None:
        """Add the tag that marks recordings of flagged calls, for lifecycle rules and people. Other tags stay."""

    def is_held(self, version: ObjectVersion) -> bool:
        """Return whether one version of an object is under legal hold."""

    def versions(self, prefix: str) -> Iterator[ObjectVersion]:
        """Yield every version of every object below a prefix, and every delete marker."""

    def copy_version_into(self, version: ObjectVersion, file: IO[bytes]) -> bool:
        """Copy one version of an object into a file; return False where it is gone meanwhile."""

    def read_version(self, version: ObjectVersion) -> bytes | None:
        """Return one version of a small object; None where it is gone meanwhile."""

    def deletes_only_later(self) -> bool:
        """Return whether the bucket has a default retention, so that nothing can be erased from it at once."""

    def delete(self, versions: list[ObjectVersion]) -> None:
        """Delete these versions for good. Raises `ArchiveError` that says how many are left."""
