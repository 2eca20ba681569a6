"""The bucket. obstore puts audio, at a fraction of boto3's CPU; boto3 does all else.

Every write is conditional (create-only, or on the version that was read) and carries a SHA-256 that S3 checks.
Keys are relative to the archive's prefix. There is no delete here: nothing of the daily work needs one. Nobody else
knows obstore, and boto3 is known to `object_custody` alone beside this.
"""

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, Literal, cast

import boto3
import obstore
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    InvalidConfigError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
)
from obstore.auth.boto3 import Boto3CredentialProvider
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from ..core.errors import ArchiveDenied, ArchiveError, ArchiveUnavailable, ObjectChanged, ObjectExists
from ..core.redaction import redact
from .settings import ArchiveSettings

_ERRORS: Mapping[str, type[ArchiveError]] = {
    "AccessDenied": ArchiveDenied,
    "InvalidAccessKeyId": ArchiveDenied,
    "SignatureDoesNotMatch": ArchiveDenied,
    "ExpiredToken": ArchiveDenied,
    "NoSuchBucket": ArchiveDenied,
    "PermanentRedirect": ArchiveDenied,
    "AuthorizationHeaderMalformed": ArchiveDenied,
    "301": ArchiveDenied,
    "403": ArchiveDenied,  # a HEAD has no body, and so no code
    "PreconditionFailed": ObjectChanged,
    "ConditionalRequestConflict": ArchiveUnavailable,  # 409: another write was under way; S3 asks to try again
    "412": ObjectChanged,
}
_WHAT_TO_CHECK = {
    "NoSuchBucket": "Check KROS_ARCHIVE_URL: there is no such bucket.",
    "InvalidAccessKeyId": "Check the AWS credentials.",
    "SignatureDoesNotMatch": "Check the AWS credentials.",
    "ExpiredToken": "Renew the AWS credentials.",
    "AccessDenied": "Check the AWS credentials, and what the bucket allows them.",
    "403": "Check the AWS credentials, and what the bucket allows them.",
    "PermanentRedirect": "Check AWS_REGION: the bucket is in another one.",
    "AuthorizationHeaderMalformed": "Check AWS_REGION: the bucket is in another one.",
    "301": "Check AWS_REGION: the bucket is in another one.",
}
_ABSENT = {"404", "NoSuchKey", "NotFound"}


@dataclass(frozen=True, slots=True)
class Entry:
    """An object, as a listing shows it."""

    key: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Head:
    """An object, as a HEAD shows it. `metadata` is what its writer said of it, ASCII."""

    size_bytes: int
    etag: str
    metadata: Mapping[str, str]
    last_modified: Any


class ObjectStore:
    """One archive in one bucket. Threads may share it. Raises `ArchiveError`s alone."""

    def __init__(self, settings: ArchiveSettings):
        self.bucket, self._prefix = settings.bucket, f"{settings.prefix}/" if settings.prefix else ""
        with named_errors(f"bucket {self.bucket}"):
            session = boto3.Session()
            self.client = session.client(
                "s3",
                config=Config(
                    connect_timeout=5,
                    read_timeout=60,
                    max_pool_connections=settings.connections,  # as many as there are threads
                    retries={"mode": "standard", "max_attempts": 5},
                    s3={"addressing_style": "path"},
                ),
            )
            if session.get_credentials() is None:
                raise ArchiveDenied("no AWS credentials were found (AWS_ACCESS_KEY_ID, AWS_PROFILE or a role)")
        self._encryption: dict[str, str] = {}
        if settings.sse:
            self._encryption["ServerSideEncryption"] = settings.sse
        if settings.kms_key_id:
            self._encryption["SSEKMSKeyId"] = settings.kms_key_id
        self._audio = self._audio_store(session, settings)
        self.requests_made = 0
        self.client.meta.events.register("before-send.s3", self._count_request)

    def _count_request(self, **_: Any) -> None:
        self.requests_made += 1

    def _audio_store(self, session: boto3.Session, settings: ArchiveSettings) -> S3Store:
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
        """The key in the bucket, prefix and all, as tables name objects."""
        return self._prefix + key

    def url(self, key: str) -> str:
        """`s3://bucket/prefix/key`."""
        return f"s3://{self.bucket}/{self.full_key(key)}"

    def head(self, key: str) -> Head | None:
        """What is at a key; None only where S3 says that nothing is."""
        with named_errors(key):
            try:
                answer = self.client.head_object(Bucket=self.bucket, Key=self.full_key(key))
            except ClientError as error:
                if _code(error) in _ABSENT:
                    return None
                raise
        return Head(answer["ContentLength"], answer["ETag"], answer.get("Metadata", {}), answer["LastModified"])

    def copy_into(self, key: str, file: IO[bytes]) -> str | None:
        """Copies an object into a file and returns its ETag; None where there is none."""
        with named_errors(key):
            try:
                answer = self.client.get_object(Bucket=self.bucket, Key=self.full_key(key))
            except ClientError as error:
                if _code(error) in _ABSENT:
                    return None
                raise
            for piece in answer["Body"].iter_chunks(1 << 20):
                file.write(piece)
        return answer["ETag"]

    def digest(self, key: str) -> tuple[str, int] | None:
        """SHA-256 and size of an object, read piece by piece; None where there is none."""
        digest, size_bytes = hashlib.sha256(), 0
        with named_errors(key):
            try:
                answer = self.client.get_object(Bucket=self.bucket, Key=self.full_key(key))
            except ClientError as error:
                if _code(error) in _ABSENT:
                    return None
                raise
            for piece in answer["Body"].iter_chunks(1 << 20):
                digest.update(piece)
                size_bytes += len(piece)
        return digest.hexdigest(), size_bytes

    def read(self, key: str) -> bytes | None:
        """A whole small object; None where there is none."""
        with named_errors(key):
            try:
                return self.client.get_object(Bucket=self.bucket, Key=self.full_key(key))["Body"].read()
            except ClientError as error:
                if _code(error) in _ABSENT:
                    return None
                raise

    def read_json(self, key: str) -> dict[str, Any] | None:
        """A small JSON object of ours; None where there is none."""
        body = self.read(key)
        if body is None:
            return None
        try:
            value = json.loads(body)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise ArchiveError(f"{self.url(key)} does not hold the JSON that was written there")
        return value

    def list(self, prefix: str) -> Iterator[Entry]:
        """Every object below a prefix, in the order of their keys, a thousand a request."""
        with named_errors(prefix):
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self.full_key(prefix)
            )
            for page in pages:
                for item in page.get("Contents", []):
                    yield Entry(item["Key"].removeprefix(self._prefix), item["Size"])

    def folders(self, prefix: str) -> Iterator[str]:
        """The folders right below a prefix, with their slashes, whatever they hold; a thousand a request."""
        with named_errors(prefix):
            paginator = self.client.get_paginator("list_objects_v2")
            for page in paginator.paginate(Bucket=self.bucket, Prefix=self.full_key(prefix), Delimiter="/"):
                for item in page.get("CommonPrefixes", []):
                    yield item["Prefix"].removeprefix(self._prefix)

    def put(
        self,
        key: str,
        body: bytes | IO[bytes],
        *,
        sha256: str,
        only_if: Literal["absent"] | str,
        metadata: Mapping[str, str] | None = None,
        content_type: str = "application/octet-stream",
    ) -> str:
        """Writes one object and returns its ETag: `only_if` nothing is there ("absent"), or the one of that ETag is.

        A file is written from its beginning, wherever it stands: boto3 would take what is left of it.
        Raises `ObjectExists` or `ObjectChanged` where it is not so, and then nothing was written.
        """
        if not isinstance(body, bytes):
            body.seek(0)
        condition: dict[str, Any] = {"IfNoneMatch": "*"} if only_if == "absent" else {"IfMatch": only_if}
        with named_errors(key):
            try:
                answer = self.client.put_object(
                    Bucket=self.bucket,
                    Key=self.full_key(key),
                    Body=body,
                    ChecksumSHA256=base64.b64encode(bytes.fromhex(sha256)).decode(),
                    ContentType=content_type,
                    Metadata=dict(metadata or {}),
                    **condition,
                    **cast(Any, self._encryption),
                )
            except ClientError as error:
                if _code(error) in ("PreconditionFailed", "412", "NoSuchKey"):
                    kind = ObjectExists if only_if == "absent" else ObjectChanged
                    raise kind(f"{key} was written by somebody else meanwhile") from None
                raise
        return answer["ETag"]

    def put_audio(self, key: str, body: bytes | memoryview, *, metadata: Mapping[str, str]) -> None:
        """Creates one object from memory, with a SHA-256 that S3 checks. Raises `ObjectExists` if there is one."""
        self.requests_made += 1
        try:
            obstore.put(
                self._audio,
                key,
                body,
                attributes={"Content-Type": "audio/mpeg", **metadata},
                mode="create",
                use_multipart=False,
            )
        except AlreadyExistsError:
            raise ObjectExists(f"{key} exists") from None
        except (PermissionDeniedError, UnauthenticatedError):
            raise ArchiveDenied(f"{key}: the bucket {self.bucket} does not allow the write") from None
        except BaseError as error:
            raise ArchiveUnavailable(f"{key}: {redact(str(error).splitlines()[0])}") from None

    def put_json(self, key: str, value: object, *, only_if: Literal["absent"] | str) -> None:
        """Writes one small JSON object, under the same conditions as `put`."""
        body = json.dumps(value, ensure_ascii=False, sort_keys=True, indent=1).encode()
        digest = hashlib.sha256(body).hexdigest()
        self.put(key, body, sha256=digest, only_if=only_if, content_type="application/json")


@contextmanager
def named_errors(what: str) -> Iterator[None]:
    """Turns what boto3 raises into our own errors, which name the object and keep S3's word for it."""
    try:
        yield
    except ClientError as error:
        code = _code(error)
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        kind = _ERRORS.get(code, ArchiveUnavailable if status >= 500 or code == "SlowDown" else ArchiveError)
        message = redact(error.response.get("Error", {}).get("Message", ""))
        said = f"{what}: S3 says {code or status}" + (f" ({message})" if message else "")
        raise kind(f"{said}. {_WHAT_TO_CHECK[code]}" if code in _WHAT_TO_CHECK else said) from None
    except NoCredentialsError:
        raise ArchiveDenied("no AWS credentials were found (AWS_ACCESS_KEY_ID, AWS_PROFILE or a role)") from None
    except (ProfileNotFound, PartialCredentialsError, InvalidConfigError) as error:
        raise ArchiveDenied(f"AWS cannot be used: {redact(error)}. Check AWS_PROFILE and its like.") from None
    except (ConnectionClosedError, EndpointConnectionError, ConnectTimeoutError) as error:
        kind_of = type(error).__name__
        raise ArchiveUnavailable(
            f"{what}: S3 gives no answer ({kind_of}). Check AWS_ENDPOINT_URL_S3 and AWS_REGION, or the network."
        ) from None
    except BotoCoreError as error:
        raise ArchiveUnavailable(f"{what}: {type(error).__name__}") from None


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
