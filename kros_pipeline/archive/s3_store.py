"""`ObjectStore` on S3.

`S3Bodies` creates objects from a `memoryview`, and reads audio to hash it: at a fraction of boto3's CPU. boto3 does
everything else. Both send a SHA-256 that S3 checks.
"""

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import IO, TYPE_CHECKING, Any, cast

from botocore.exceptions import ClientError
from tenacity import Retrying, retry_if_exception, stop_after_attempt

from ..core.errors import ArchiveError, ArchiveUnavailable, ObjectChanged, ObjectExists
from ..core.object_keys import AUDIO
from .object_store import CREATE, Entry, Head, PutMode, Replace, VersionToken
from .s3_bodies import MAX_ATTEMPTS, NoAnswer, S3Bodies, pause
from .s3_clients import open_boto3, open_session
from .s3_errors import ABSENT, EXISTS, add_repetitions, code_of, is_conflict, none_if, translate_errors, was_repeated
from .s3_server import S3Server
from .settings import ArchiveSettings

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef

_PIECE_BYTES = 1 << 20
_LISTING = re.compile(r"[?&](?:list-type|versions|uploads)\b").search


class S3ObjectStore:
    """One archive in one S3 bucket; see `ObjectStore` for every method.

    `client` is boto3's, for `S3Governance`. A listing asks for a thousand objects per request.
    """

    def __init__(self, settings: ArchiveSettings):
        self.bucket, self._prefix = settings.bucket, f"{settings.prefix}/" if settings.prefix else ""
        self._encryption: dict[str, str] = {}
        if settings.sse:
            self._encryption["ServerSideEncryption"] = settings.sse
        if settings.kms_key_id:
            self._encryption["SSEKMSKeyId"] = settings.kms_key_id
        with translate_errors(f"bucket {self.bucket}"):
            session = open_session()
            self.client = open_boto3(settings, session)
            self._bodies = S3Bodies(settings, session, self.client, self._count)
        self.server = S3Server(settings, self.client)
        self.requests_made = self.writes_made = 0
        self.reads_audio_back = False
        self.client.meta.events.register(
            "before-send.s3", lambda request, **_: self._count(request.method, request.url)
        )

    def _count(self, method: str, url: str) -> None:
        """Count a request, each retry as one. S3 prices a listing, which is a GET of a bucket, like a write."""
        self.requests_made += 1
        self.writes_made += method in {"PUT", "POST"} or (method == "GET" and _LISTING(url) is not None)

    def full_key(self, key: str) -> str:
        """Return the key inside the bucket, with the prefix."""
        return self._prefix + key

    def url(self, key: str) -> str:
        """Return `s3://bucket/prefix/key`."""
        return f"s3://{self.bucket}/{self.full_key(key)}"

    def head(self, key: str) -> Head | None:
        """Return facts about one object; None where S3 says that it is absent."""
        with translate_errors(key):
            answer = none_if(ABSENT, partial(self.client.head_object, Bucket=self.bucket, Key=self.full_key(key)))
        if answer is None:
            return None
        version = VersionToken(answer["ETag"])
        return Head(answer["ContentLength"], version, answer.get("Metadata", {}), answer["LastModified"])

    def read(self, key: str) -> bytes | None:
        """Return a small object's bytes; None where it is absent."""
        with translate_errors(key):
            answer = self._get(key)
            return answer["Body"].read() if answer is not None else None

    def copy_into(self, key: str, file: IO[bytes]) -> VersionToken | None:
        """Write an object's bytes into `file`, and return its version; None where it is absent."""
        with translate_errors(key):
            answer = self._get(key)
            if answer is None:
                return None
            for piece in answer["Body"].iter_chunks(_PIECE_BYTES):
                file.write(piece)
        return VersionToken(answer["ETag"])

    def digest(self, key: str) -> tuple[str, int] | None:
        """Return SHA-256 and size in bytes; None where the object is absent."""
        with translate_errors(key):
            try:
                return none_if(ABSENT, partial(self._bodies.digest, self.full_key(key)))
            except NoAnswer as error:
                raise ArchiveUnavailable(f"{key}: {error}") from None

    def read_range(self, key: str, begin: int, end: int, *, version: VersionToken | None = None) -> bytes | None:
        """Return the bytes from `begin` to `end` (exclusive); None where the object is absent."""
        place: Any = {"Bucket": self.bucket, "Key": self.full_key(key), "Range": f"bytes={begin}-{end - 1}"}
        if version is not None:
            place["IfMatch"] = version.strip('"')  # as `put` does
        with translate_errors(key):
            answer = none_if(ABSENT, partial(self.client.get_object, **place))
            return answer["Body"].read() if answer is not None else None

    def _get(self, key: str) -> "GetObjectOutputTypeDef | None":
        return none_if(ABSENT, partial(self.client.get_object, Bucket=self.bucket, Key=self.full_key(key)))

    def list(self, prefix: str, *, after: str = "") -> Iterator[Entry]:
        """Yield every object below a prefix, in ascending order of keys; only those behind the key `after`."""
        begin: Any = {"StartAfter": self.full_key(after)} if after else {}
        with translate_errors(prefix):
            paginator = self.client.get_paginator("list_objects_v2")
            for page in paginator.paginate(Bucket=self.bucket, Prefix=self.full_key(prefix), **begin):
                for item in page.get("Contents", []):
                    yield Entry(item["Key"].removeprefix(self._prefix), item["Size"], VersionToken(item["ETag"]))

    def folders(self, prefix: str) -> Iterator[str]:
        """Yield each folder directly below a prefix, with its closing slash."""
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
        """Write one object under the condition of `mode`, and return its version.

        The version of a `memoryview` is empty where the server sends no ETag: a HEAD is not worth a request.
        """
        checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
        with translate_errors(key):
            try:
                if isinstance(body, memoryview) and mode == CREATE:
                    etag = self._bodies.create(
                        self.full_key(key), body, sha256=sha256, metadata=metadata or {}, content_type=content_type
                    )
                else:
                    etag = self._put_by_boto3(key, body, checksum, mode, metadata or {}, content_type)
            except NoAnswer as error:
                raise ArchiveUnavailable(f"{key}: {error}") from None
            except ClientError as error:
                # S3 answers NoSuchKey where the version to be replaced is deleted.
                if code_of(error) not in {*EXISTS, "NoSuchKey"}:
                    raise
                own = self._find_own(key, sha256, checksum) if was_repeated(error) else None
                if own is not None:
                    return own
                kind = ObjectChanged if isinstance(mode, Replace) else ObjectExists
                raise kind(f"{key}: another writer was first") from None
        if self.reads_audio_back and key.startswith(AUDIO):
            stored = self.digest(key)
            if stored is None or stored[0] != sha256:
                raise ArchiveError(
                    f"{key}: S3 has stored other bytes than were sent, and did not notice. Delete the object; the next "
                    "run archives it again. Find out what changes bytes on the way to S3"
                )
        return VersionToken(etag)

    def _put_by_boto3(
        self,
        key: str,
        body: bytes | memoryview | IO[bytes],
        checksum: str,
        mode: PutMode,
        metadata: Mapping[str, str],
        content_type: str,
    ) -> str:
        if isinstance(body, memoryview):
            body = bytes(body)
        # Without its quotes: Ceph 16 compares the text as it is, and the others take both forms.
        condition = {"IfMatch": mode.version.strip('"')} if isinstance(mode, Replace) else {"IfNoneMatch": "*"}

        def send() -> str:
            if not isinstance(body, bytes):
                body.seek(0)  # boto3 would write what is left of the file
            return self.client.put_object(
                Bucket=self.bucket,
                Key=self.full_key(key),
                Body=body,
                ChecksumSHA256=checksum,
                ContentType=content_type,
                Metadata=dict(metadata),
                **cast(Any, condition),
                **cast(Any, self._encryption),
            )["ETag"]

        attempts = Retrying(
            retry=retry_if_exception(is_conflict), stop=stop_after_attempt(MAX_ATTEMPTS), wait=pause, reraise=True
        )
        try:
            return attempts(send)
        except ClientError as error:
            add_repetitions(error, attempts.statistics["attempt_number"] - 1)
            raise

    def _find_own(self, key: str, sha256: str, checksum: str) -> VersionToken | None:
        """Return the version of an object that has the bytes of our body: an own request, whose answer was lost.

        The bytes are read where the server keeps no SHA-256 of them.
        """
        place: Any = {"Bucket": self.bucket, "Key": self.full_key(key)}
        head = none_if(ABSENT, partial(self.client.head_object, **place, ChecksumMode="ENABLED"))
        stored = head.get("ChecksumSHA256") if head is not None else None
        if head is not None and stored is not None:
            return VersionToken(head["ETag"]) if stored == checksum else None
        answer = self._get(key)
        return VersionToken(answer["ETag"]) if answer is not None and _digest(answer)[0] == sha256 else None


def _digest(answer: "GetObjectOutputTypeDef") -> tuple[str, int]:
    """Return SHA-256 and size in bytes of an answer's body."""
    digest, size_bytes = hashlib.sha256(), 0
    for piece in answer["Body"].iter_chunks(_PIECE_BYTES):
        digest.update(piece)
        size_bytes += len(piece)
    return digest.hexdigest(), size_bytes
