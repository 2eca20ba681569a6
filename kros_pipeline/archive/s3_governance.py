"""Governance in S3. This is the only place that deletes."""

from collections.abc import Iterator
from io import BytesIO
from typing import IO, Any

from botocore.exceptions import ClientError

from ..core.errors import ArchiveError
from .governance import ObjectVersion
from .s3_errors import code_of, translate_errors
from .s3_store import S3ObjectStore
from .settings import ArchiveSettings

_FLAGGED_TAG = "kros-flagged"
_MAX_DELETED_PER_REQUEST = 1_000
_PIECE_BYTES = 1 << 20
_GONE = {"NoSuchKey", "NoSuchVersion", "404"}
_NOT_CONFIGURED = {
    "NoSuchObjectLockConfiguration",
    "InvalidRequest",
    "ObjectLockConfigurationNotFoundError",
    "NoSuchKey",
}


class S3Governance:
    """Governance of the objects of one archive in S3; a `Governance`. It shares the store's client."""

    def __init__(self, store: S3ObjectStore):
        self._store, self._bucket, self._client = store, store.bucket, store.client

    def _where(self, key: str) -> dict[str, Any]:
        return {"Bucket": self._bucket, "Key": self._store.full_key(key)}

    def _lock_configuration(self) -> dict[str, Any]:
        """Return the bucket's Object Lock configuration; empty where it has none."""
        with translate_errors(f"bucket {self._bucket}"):
            try:
                answer = self._client.get_object_lock_configuration(Bucket=self._bucket)
            except ClientError as error:
                if code_of(error) in _NOT_CONFIGURED:
                    return {}
                raise
        return dict(answer.get("ObjectLockConfiguration", {}))

    def can_hold(self) -> bool:
        """Return whether the bucket has Object Lock, without which S3 has no legal holds."""
        return self._lock_configuration().get("ObjectLockEnabled") == "Enabled"

    def deletes_only_later(self) -> bool:
        """Return whether the bucket has a default retention, so that nothing can be erased from it at once."""
        return "DefaultRetention" in self._lock_configuration().get("Rule", {})

    def hold(self, key: str) -> None:
        """Place a legal hold on an object: until it is lifted by hand, S3 lets nobody delete that version."""
        with translate_errors(key):
            self._client.put_object_legal_hold(**self._where(key), LegalHold={"Status": "ON"})

    def tag_as_flagged(self, key: str) -> None:
        """Add the tag that marks recordings of flagged calls, for lifecycle rules and people. Other tags stay."""
        with translate_errors(key):
            tags = self._client.get_object_tagging(**self._where(key))["TagSet"]
            kept: list[Any] = [tag for tag in tags if tag["Key"] != _FLAGGED_TAG]
            tagging: Any = {"TagSet": [*kept, {"Key": _FLAGGED_TAG, "Value": "true"}]}
            self._client.put_object_tagging(**self._where(key), Tagging=tagging)

    def is_held(self, version: ObjectVersion) -> bool:
        """Return whether one version of an object is under legal hold."""
        if version.is_marker:
            return False
        with translate_errors(version.key):
            try:
                answer = self._client.get_object_legal_hold(**self._where(version.key), VersionId=version.version_id)
            except ClientError as error:
                if code_of(error) in _NOT_CONFIGURED:
                    return False
                raise
        return answer.get("LegalHold", {}).get("Status") == "ON"

    def versions(self, prefix: str) -> Iterator[ObjectVersion]:
        """Yield every version of every object below a prefix, and every delete marker.

        The version id is `null` where the bucket keeps no versions.
        """
        with translate_errors(prefix):
            pages = self._client.get_paginator("list_object_versions").paginate(
                Bucket=self._bucket, Prefix=self._store.full_key(prefix)
            )
            for page in pages:
                for item in page.get("Versions", []):
                    key = self._relative(item["Key"])
                    yield ObjectVersion(key, item["VersionId"], item["IsLatest"], False, item["Size"])
                for marker in page.get("DeleteMarkers", []):
                    key = self._relative(marker["Key"])
                    yield ObjectVersion(key, marker["VersionId"], marker["IsLatest"], True, 0)

    def _relative(self, full_key: str) -> str:
        return full_key.removeprefix(self._store.full_key(""))

    def copy_version_into(self, version: ObjectVersion, file: IO[bytes]) -> bool:
        """Copy one version of an object into a file; return False where it is gone meanwhile."""
        with translate_errors(version.key):
            try:
                answer = self._client.get_object(**self._where(version.key), VersionId=version.version_id)
            except ClientError as error:
                if code_of(error) in _GONE:
                    return False
                raise
            for piece in answer["Body"].iter_chunks(_PIECE_BYTES):
                file.write(piece)
        return True

    def read_version(self, version: ObjectVersion) -> bytes | None:
        """Return one version of a small object; None where it is gone meanwhile."""
        file = BytesIO()
        return file.getvalue() if self.copy_version_into(version, file) else None

    def delete(self, versions: list[ObjectVersion]) -> None:
        """Delete these versions for good, a thousand a request. Raises `ArchiveError` that says how many are left."""
        for start in range(0, len(versions), _MAX_DELETED_PER_REQUEST):
            batch = versions[start : start + _MAX_DELETED_PER_REQUEST]
            with translate_errors(f"{len(batch)} versions"):
                objects: list[Any] = [
                    {"Key": self._store.full_key(version.key), "VersionId": version.version_id} for version in batch
                ]
                answer = self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": objects, "Quiet": True})
            errors = answer.get("Errors", [])
            if errors:
                raise ArchiveError(
                    f"S3 did not delete {len(errors)} of {len(batch)} versions: {errors[0].get('Code')}. "
                    "Is the version locked, or do the credentials not allow s3:DeleteObjectVersion?"
                )


def open_s3(settings: ArchiveSettings) -> tuple[S3ObjectStore, S3Governance]:
    """Open the archive in S3: its object store, and the governance of its objects."""
    store = S3ObjectStore(settings)
    return store, S3Governance(store)
