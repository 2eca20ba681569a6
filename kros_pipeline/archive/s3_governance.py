"""What is done to objects beyond writing them: versions, legal hold, tags, and the one place that deletes.

The daily work holds and tags. Versions and deletion are for erasure alone: the credentials of the daily work need not,
and should not, allow them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import IO, Any

from botocore.exceptions import ClientError

from ..core.errors import ArchiveError
from .s3_store import ObjectStore, named_errors

_FLAGGED = "kros-flagged"
_DELETED_A_REQUEST = 1_000
_GONE = {"NoSuchKey", "NoSuchVersion", "404"}
_NO_HOLD = {"NoSuchObjectLockConfiguration", "InvalidRequest", "ObjectLockConfigurationNotFoundError", "NoSuchKey"}


@dataclass(frozen=True, slots=True)
class Version:
    """One version of an object, or a marker that it was deleted. `key` is relative to the archive's prefix."""

    key: str
    version_id: str
    is_latest: bool
    is_marker: bool
    size_bytes: int


class S3Governance:
    """Custody of the objects of one archive. Raises `ArchiveError`s alone."""

    def __init__(self, store: ObjectStore):
        self._store, self._bucket = store, store.bucket

    def can_hold(self) -> bool:
        """Whether the bucket has Object Lock, without which S3 knows no legal hold."""
        with named_errors(f"bucket {self._bucket}"):
            try:
                answer = self._store.client.get_object_lock_configuration(Bucket=self._bucket)
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") in _NO_HOLD:
                    return False
                raise
        return answer.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") == "Enabled"

    def hold(self, key: str) -> None:
        """Puts an object under legal hold: until it is lifted by hand, S3 lets nobody delete that version."""
        with named_errors(key):
            self._store.client.put_object_legal_hold(
                Bucket=self._bucket, Key=self._store.full_key(key), LegalHold={"Status": "ON"}
            )

    def tag_as_flagged(self, key: str) -> None:
        """Adds the tag by which lifecycle rules and people tell recordings of flagged calls; others' tags stay."""
        with named_errors(key):
            client = self._store.client
            where: dict[str, Any] = {"Bucket": self._bucket, "Key": self._store.full_key(key)}
            tags = [tag for tag in client.get_object_tagging(**where)["TagSet"] if tag["Key"] != _FLAGGED]
            client.put_object_tagging(**where, Tagging={"TagSet": [*tags, {"Key": _FLAGGED, "Value": "true"}]})

    def is_held(self, version: Version) -> bool:
        """Whether one version of an object is under legal hold."""
        if version.is_marker:
            return False
        with named_errors(version.key):
            try:
                answer = self._store.client.get_object_legal_hold(
                    Bucket=self._bucket, Key=self._store.full_key(version.key), VersionId=version.version_id
                )
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") in _NO_HOLD:
                    return False
                raise
        return answer.get("LegalHold", {}).get("Status") == "ON"

    def versions(self, prefix: str) -> Iterator[Version]:
        """Every version of every object below a prefix, and every delete marker; `null` where the bucket keeps none."""
        with named_errors(prefix):
            pages = self._store.client.get_paginator("list_object_versions").paginate(
                Bucket=self._bucket, Prefix=self._store.full_key(prefix)
            )
            for page in pages:
                for item in page.get("Versions", []):
                    yield Version(self._key(item["Key"]), item["VersionId"], item["IsLatest"], False, item["Size"])
                for marker in page.get("DeleteMarkers", []):
                    yield Version(self._key(marker["Key"]), marker["VersionId"], marker["IsLatest"], True, 0)

    def _key(self, full_key: str) -> str:
        return full_key.removeprefix(self._store.full_key(""))

    def copy_version_into(self, version: Version, file: IO[bytes]) -> bool:
        """Copies one version of an object into a file; False where it is gone meanwhile."""
        with named_errors(version.key):
            try:
                answer = self._store.client.get_object(
                    Bucket=self._bucket, Key=self._store.full_key(version.key), VersionId=version.version_id
                )
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") in _GONE:
                    return False
                raise
            for piece in answer["Body"].iter_chunks(1 << 20):
                file.write(piece)
        return True

    def read_version(self, version: Version) -> bytes | None:
        """One version of a small object; None where it is gone meanwhile."""
        file = BytesIO()
        return file.getvalue() if self.copy_version_into(version, file) else None

    def deletes_only_later(self) -> bool:
        """Whether the bucket keeps every new object for a time (default retention): nothing could be erased from it."""
        with named_errors(f"bucket {self._bucket}"):
            try:
                answer = self._store.client.get_object_lock_configuration(Bucket=self._bucket)
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") in _NO_HOLD:
                    return False
                raise
        return "DefaultRetention" in answer.get("ObjectLockConfiguration", {}).get("Rule", {})

    def delete(self, versions: list[Version]) -> None:
        """Deletes these versions for good, a thousand a request. Raises `ArchiveError` that names what is left."""
        for start in range(0, len(versions), _DELETED_A_REQUEST):
            some = versions[start : start + _DELETED_A_REQUEST]
            with named_errors(f"{len(some)} versions"):
                answer = self._store.client.delete_objects(
                    Bucket=self._bucket,
                    Delete={
                        "Objects": [
                            {"Key": self._store.full_key(version.key), "VersionId": version.version_id}
                            for version in some
                        ],
                        "Quiet": True,
                    },
                )
            errors = answer.get("Errors", [])
            if errors:
                raise ArchiveError(
                    f"S3 did not delete {len(errors)} of {len(some)} versions: {errors[0].get('Code')}. "
                    "Is the version locked, or do the credentials not allow s3:DeleteObjectVersion?"
                )
