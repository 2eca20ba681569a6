"""`Governance` on S3, by boto3."""

import base64
import hashlib
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from io import BytesIO
from typing import IO, TYPE_CHECKING, Any, Literal, cast

from ..core.errors import ArchiveError, ObjectChanged
from .governance import NO_TOKEN, NULL_VERSION, ObjectVersion
from .object_store import VersionToken
from .s3_clients import refuse_plain_http
from .s3_errors import ABSENT, none_if, translate_errors
from .s3_store import S3ObjectStore
from .settings import ArchiveSettings

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import ObjectLockConfigurationTypeDef

_FLAGGED_TAG = "kros-flagged"
_VERSIONS_PER_DELETE = 1_000  # the most that S3 takes in one request
_PIECE_BYTES = 1 << 20
_VERSION_ABSENT = ABSENT | {"NoSuchVersion"}
# Codes where the bucket has no lock configuration, or the object has no legal hold: of AWS and Ceph, then of SeaweedFS,
# then of servers that do not know them at all (JuiceFS and other descendants of MinIO).
_NO_LOCK = {
    "NoSuchObjectLockConfiguration", "InvalidRequest", "ObjectLockConfigurationNotFoundError", "NoSuchKey",
    "NoSuchObjectLegalHold",
    "NotImplemented", "XNotImplemented", "MethodNotAllowed",
}  # fmt: skip
# Servers that are older than S3's new checksums refuse these without a Content-MD5, which boto3 no longer sends.
_NEED_MD5 = ("DeleteObjects", "PutObjectLegalHold", "PutObjectRetention", "PutObjectTagging")


class S3Governance:
    """Governs the objects of one archive in S3; see `Governance` for every method."""

    def __init__(self, store: S3ObjectStore):
        self._store, self._bucket = store, store.bucket
        for operation in _NEED_MD5:
            store.client.meta.events.register(f"before-call.s3.{operation}", _add_content_md5)

    def has_object_lock(self) -> bool:
        """Return whether the bucket has Object Lock."""
        return self._lock_configuration().get("ObjectLockEnabled") == "Enabled"

    def has_default_retention(self) -> bool:
        """Return whether the bucket keeps every new object for a time."""
        return "DefaultRetention" in self._lock_configuration().get("Rule", {})

    def _lock_configuration(self) -> "ObjectLockConfigurationTypeDef":
        with translate_errors(f"bucket {self._bucket}"):
            request = partial(self._store.client.get_object_lock_configuration, Bucket=self._bucket)
            answer = none_if(_NO_LOCK, request)
        return answer.get("ObjectLockConfiguration", {}) if answer is not None else {}

    def place_legal_hold(self, key: str, version_id: str | None = None) -> None:
        """Place a version, the latest if none is named, under legal hold."""
        self._put_legal_hold(key, "ON", version_id)

    def lift_legal_hold(self, key: str) -> None:
        """Lift the legal hold of an object."""
        self._put_legal_hold(key, "OFF", None)

    def _put_legal_hold(self, key: str, status: Literal["ON", "OFF"], version_id: str | None) -> None:
        target: dict[str, Any] = {"Bucket": self._bucket, "Key": self._store.full_key(key)}
        if version_id is not None:
            target["VersionId"] = version_id
        with translate_errors(key):
            self._store.client.put_object_legal_hold(**target, LegalHold={"Status": status})

    def has_legal_hold(self, version: ObjectVersion) -> bool:
        """Return whether one version of an object is under legal hold."""
        if version.is_marker:
            return False
        with translate_errors(version.key):
            answer = none_if(_NO_LOCK, partial(self._store.client.get_object_legal_hold, **self._request_for(version)))
        return answer is not None and answer.get("LegalHold", {}).get("Status") == "ON"

    def retain(self, key: str, until: datetime) -> None:
        """Retain the latest version of an object until a time."""
        with translate_errors(key):
            self._store.client.put_object_retention(
                Bucket=self._bucket,
                Key=self._store.full_key(key),
                Retention={"Mode": "COMPLIANCE", "RetainUntilDate": until},
            )

    def tag_as_flagged(self, key: str) -> None:
        """Add the tag of flagged recordings; other tags stay."""
        with translate_errors(key):
            client = self._store.client
            target: dict[str, Any] = {"Bucket": self._bucket, "Key": self._store.full_key(key)}
            tags = [tag for tag in client.get_object_tagging(**target)["TagSet"] if tag["Key"] != _FLAGGED_TAG]
            client.put_object_tagging(**target, Tagging={"TagSet": [*tags, {"Key": _FLAGGED_TAG, "Value": "true"}]})

    def versions(self, prefix: str) -> Iterator[ObjectVersion]:
        """Yield every version and every delete marker below a prefix, a thousand per request."""
        for page in self._pages(prefix):
            yield from self._versions_in(page)

    def level(self, prefix: str) -> tuple[list[ObjectVersion], list[str]]:
        """Return the versions and delete markers directly below a prefix, and the folders."""
        found: list[ObjectVersion] = []
        folders: list[str] = []
        for page in self._pages(prefix, Delimiter="/"):
            found += self._versions_in(page)
            folders += [self._relative(item["Prefix"]) for item in page.get("CommonPrefixes", [])]
        return found, folders

    def _pages(self, prefix: str, **more: Any) -> Iterator[Any]:
        with translate_errors(prefix):
            paginator = self._store.client.get_paginator("list_object_versions")
            yield from paginator.paginate(Bucket=self._bucket, Prefix=self._store.full_key(prefix), **more)

    def _versions_in(self, page: Any) -> Iterator[ObjectVersion]:
        for item in page.get("Versions", []):
            yield self._version(item, is_marker=False)
        for marker in page.get("DeleteMarkers", []):
            yield self._version(marker, is_marker=True)

    def _relative(self, full_key: str) -> str:
        return full_key.removeprefix(self._store.full_key(""))

    def _version(self, item: Any, *, is_marker: bool) -> ObjectVersion:
        size_bytes, token = (0, NO_TOKEN) if is_marker else (item["Size"], VersionToken(item["ETag"]))
        return ObjectVersion(
            self._relative(item["Key"]), item["VersionId"], item["IsLatest"], is_marker, size_bytes, token
        )

    def read_version(self, version: ObjectVersion) -> bytes | None:
        """Return the bytes of one version of a small object; None where it was deleted meanwhile."""
        file = BytesIO()
        return file.getvalue() if self.copy_version_into(version, file) else None

    def read_version_range(self, version: ObjectVersion, begin: int, end: int) -> bytes:
        """Return the bytes from `begin` to `end` (exclusive) of one version."""
        if version.is_marker:
            raise ObjectChanged(f"{version.key}: the version is a delete marker, which has no bytes")
        request = self._request_for(version) | {"Range": f"bytes={begin}-{end - 1}"}
        if version.version_id == NULL_VERSION:
            request["IfMatch"] = version.token.strip('"')
        with translate_errors(version.key):
            answer = none_if(_VERSION_ABSENT, partial(self._store.client.get_object, **request))
            if answer is None:
                raise ObjectChanged(f"{version.key}: the version was deleted meanwhile")
            return answer["Body"].read()

    def copy_version_into(self, version: ObjectVersion, file: IO[bytes]) -> bool:
        """Write one version's bytes into `file`; False where it was deleted meanwhile, or is a delete marker.

        A marker is not asked for: AWS answers 405, and others 404.
        """
        if version.is_marker:
            return False
        with translate_errors(version.key):
            answer = none_if(_VERSION_ABSENT, partial(self._store.client.get_object, **self._request_for(version)))
            if answer is None:
                return False
            for piece in answer["Body"].iter_chunks(_PIECE_BYTES):
                file.write(piece)
        return True

    def _request_for(self, version: ObjectVersion) -> Any:
        return {"Bucket": self._bucket, "Key": self._store.full_key(version.key), "VersionId": version.version_id}

    def delete(self, versions: list[ObjectVersion]) -> None:
        """Delete these versions for good. Raises `ArchiveError` that counts those that S3 did not delete."""
        for start in range(0, len(versions), _VERSIONS_PER_DELETE):
            chunk = versions[start : start + _VERSIONS_PER_DELETE]
            objects = [{"Key": self._store.full_key(version.key), "VersionId": version.version_id} for version in chunk]
            with translate_errors(f"{len(chunk)} versions"):
                answer = self._store.client.delete_objects(
                    Bucket=self._bucket, Delete={"Objects": cast(Any, objects), "Quiet": True}
                )
            errors = answer.get("Errors", [])
            if errors:
                raise ArchiveError(
                    f"S3 did not delete {len(errors)} of {len(chunk)} versions: {errors[0].get('Code')}. "
                    "Is the version locked, or do the credentials not allow s3:DeleteObjectVersion?"
                )


def _add_content_md5(params: dict[str, Any], **_: Any) -> None:
    digest = hashlib.md5(params["body"], usedforsecurity=False).digest()
    params["headers"]["Content-MD5"] = base64.b64encode(digest).decode()


def open_s3(settings: ArchiveSettings) -> tuple[S3ObjectStore, S3Governance]:
    """Open the archive in S3: its object store, and the governance of its objects.

    Raises `ArchiveDenied` for an endpoint over plain http on another machine.
    """
    store = S3ObjectStore(settings)
    refuse_plain_http(store.client.meta.endpoint_url)
    return store, S3Governance(store)
