"""The object store in S3. obstore creates objects from memory, with a fraction of boto3's CPU; boto3 does the rest.

Every PUT carries a SHA-256 that S3 checks. Only this file knows obstore; boto3 is known here and in `s3_governance`.
"""

import base64
import hashlib
from collections.abc import Callable, Iterator, Mapping
from threading import Lock
from typing import IO, Any, TypeVar, cast

import boto3
import obstore
from botocore.config import Config
from botocore.exceptions import ClientError
from obstore.auth.boto3 import Boto3CredentialProvider
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from ..core.errors import ArchiveDenied, ArchiveUnavailable, ObjectChanged, ObjectExists
from ..core.redaction import redact
from .object_store import CREATE, Entry, Head, PutMode, VersionToken
from .s3_errors import NO_CREDENTIALS, is_absent, is_condition_failed, translate_errors
from .settings import ArchiveSettings

_PIECE_BYTES = 1 << 20

_Answer = TypeVar("_Answer")


class S3ObjectStore:
    """One archive in one S3 bucket; an `ObjectStore`. Threads share it."""

    def __init__(self, settings: ArchiveSettings):
        self.bucket, self._prefix = settings.bucket, f"{settings.prefix}/" if settings.prefix else ""
        with translate_errors(f"bucket {self.bucket}"):
            session = boto3.Session()
            self.client = session.client(
                "s3",
                config=Config(
                    connect_timeout=5,
                    read_timeout=60,
                    max_pool_connections=settings.connections,
                    retries={"mode": "standard", "max_attempts": 5},
                    s3={"addressing_style": "path"},
                ),
            )
            if session.get_credentials() is None:
                raise ArchiveDenied(NO_CREDENTIALS)
        self._encryption: dict[str, str] = {}
        if settings.sse:
            self._encryption["ServerSideEncryption"] = settings.sse
        if settings.kms_key_id:
            self._encryption["SSEKMSKeyId"] = settings.kms_key_id
        self._obstore = self._open_obstore(session, settings)
        self.requests_made = 0
        self._lock = Lock()
        self.client.meta.events.register("before-send.s3", self._count_request)

    def _count_request(self, **_: Any) -> None:
        with self._lock:
            self.requests_made += 1

    def _open_obstore(self, session: boto3.Session, settings: ArchiveSettings) -> S3Store:
        endpoint = self.client.meta.endpoint_url
        config: dict[str, Any] = {
            "endpoint": endpoint,
            "region": self.client.meta.region_name or "us-east-1",
            "checksum_algorithm": "sha256",
            "virtual_hosted_style_request": False,
        }
        if settings.sse:
            config["server_side_encryption"] = settings.sse
        if settings.kms_key_id:
            config["sse_kms_key_id"] = settings.kms_key_id
        return S3Store(
            self.bucket,
            prefix=self._prefix or None,
            config=cast(Any, config),
            client_options={"allow_http": endpoint.startswith("http://"), "timeout": "300s", "connect_timeout": "5s"},
            retry_config={"max_retries": 4},
            credential_provider=Boto3CredentialProvider(session),
        )

    def full_key(self, key: str) -> str:
        """Return the key in the bucket, prefix included, as tables name objects."""
        return self._prefix + key

    def url(self, key: str) -> str:
        """Return `s3://bucket/prefix/key`."""
        return f"s3://{self.bucket}/{self.full_key(key)}"

    def _ask(self, key: str, request: Callable[..., _Answer]) -> _Answer | None:
        """Send a request about one object; None only where S3 says that there is none."""
        with translate_errors(key):
            try:
                return request(Bucket=self.bucket, Key=self.full_key(key))
            except ClientError as error:
                if is_absent(error):
                    return None
                raise

    def _read_pieces(self, key: str, take: Callable[[bytes], object]) -> VersionToken | None:
        """Pass an object's body on in pieces of 1 MB and return its version token; None where there is none."""
        answer = self._ask(key, self.client.get_object)
        if answer is None:
            return None
        with translate_errors(key):
            for piece in answer["Body"].iter_chunks(_PIECE_BYTES):
                take(piece)
        return VersionToken(answer["ETag"])

    def head(self, key: str) -> Head | None:
        """Return an object without its body; None only where S3 says that there is none."""
        answer = self._ask(key, self.client.head_object)
        if answer is None:
            return None
        return Head(
            answer["ContentLength"], VersionToken(answer["ETag"]), answer.get("Metadata", {}), answer["LastModified"]
        )

    def read(self, key: str) -> bytes | None:
        """Return the body of a small object; None where there is none."""
        pieces: list[bytes] = []
        version = self._read_pieces(key, pieces.append)
        return b"".join(pieces) if version is not None else None

    def copy_into(self, key: str, file: IO[bytes]) -> VersionToken | None:
        """Copy an object into a file and return its version token; None where there is none."""
        return self._read_pieces(key, file.write)

    def digest(self, key: str) -> tuple[str, int] | None:
        """Return SHA-256 and size in bytes of an object, read in pieces; None where there is none."""
        digest, size_bytes = hashlib.sha256(), 0

        def take(piece: bytes) -> None:
            nonlocal size_bytes
            digest.update(piece)
            size_bytes += len(piece)

        version = self._read_pieces(key, take)
        return (digest.hexdigest(), size_bytes) if version is not None else None

    def list(self, prefix: str) -> Iterator[Entry]:
        """Yield every object below a prefix, sorted by key; one request for each thousand."""
        with translate_errors(prefix):
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self.full_key(prefix)
            )
            for page in pages:
                for item in page.get("Contents", []):
                    yield Entry(item["Key"].removeprefix(self._prefix), item["Size"])

    def folders(self, prefix: str) -> Iterator[str]:
        """Yield the folders right below a prefix, with their slashes; one request for each thousand."""
        with translate_errors(prefix):
            paginator = self.client.get_paginator("list_objects_v2")
            for page in paginator.paginate(Bucket=self.bucket, Prefix=self.full_key(prefix), Delimiter="/"):
                for item in page.get("CommonPrefixes", []):
                    yield item["Prefix"].removeprefix(self._prefix)

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
        """Write one object under a condition, with a SHA-256 that S3 checks; see `ObjectStore.put`.

        A `memoryview` that is created goes through obstore, which computes the same SHA-256 itself.
        """
        if isinstance(body, memoryview) and mode == CREATE:
            return self._create_from_memory(key, body, metadata or {}, content_type)
        if not isinstance(body, bytes | memoryview):
            body.seek(0)  # boto3 would write only what is left of it
        condition = {"IfNoneMatch": "*"} if mode == CREATE else {"IfMatch": mode.version}
        with translate_errors(key):
            try:
                answer = self.client.put_object(
                    Bucket=self.bucket,
                    Key=self.full_key(key),
                    Body=bytes(body) if isinstance(body, memoryview) else body,
                    ChecksumSHA256=base64.b64encode(bytes.fromhex(sha256)).decode(),
                    ContentType=content_type,
                    Metadata=dict(metadata or {}),
                    **cast(Any, condition | self._encryption),
                )
            except ClientError as error:
                if is_condition_failed(error):
                    kind = ObjectExists if mode == CREATE else ObjectChanged
                    raise kind(f"{key} was written by somebody else meanwhile") from None
                raise
        return VersionToken(answer["ETag"])

    def _create_from_memory(
        self, key: str, body: memoryview, metadata: Mapping[str, str], content_type: str
    ) -> VersionToken:
        self._count_request()
        try:
            result = obstore.put(
                self._obstore,
                key,
                body,
                attributes={"Content-Type": content_type, **metadata},
                mode="create",
                use_multipart=False,
            )
        except AlreadyExistsError:
            raise ObjectExists(f"{key} exists") from None
        except (PermissionDeniedError, UnauthenticatedError):
            raise ArchiveDenied(f"{key}: the bucket {self.bucket} does not allow the write") from None
        except BaseError as error:
            raise ArchiveUnavailable(f"{key}: {redact(str(error).splitlines()[0])}") from None
        return VersionToken(result["e_tag"] or "")
