"""`Server` on S3: where the bucket's server is, what it calls itself, and how it encrypts."""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from .s3_errors import ABSENT, EXISTS, none_if, translate_errors
from .settings import ArchiveSettings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class S3Server:
    """The server behind one bucket; see `Server`."""

    def __init__(self, settings: ArchiveSettings, client: "S3Client"):
        address = urlsplit(client.meta.endpoint_url)
        self.endpoint = f"{address.scheme}://{address.netloc.rpartition('@')[2]}"
        self.encryption = f"{settings.sse} {settings.kms_key_id or ''}".strip() if settings.sse else None
        self.name = ""
        self._sse, self._client, self._bucket = settings.sse, client, settings.bucket
        self._prefix = f"{settings.prefix}/" if settings.prefix else ""
        client.meta.events.register("after-call.s3", self._note_name)

    def encrypts(self, key: str) -> bool:
        """Return whether the server says that an object is encrypted with the algorithm of the settings."""
        with translate_errors(key):
            answer = none_if(ABSENT, partial(self._client.head_object, **self._place(key)))
        return answer is not None and answer.get("ServerSideEncryption") == self._sse

    def takes_unencrypted(self, key: str) -> bool:
        """Return whether the server takes a create-only write without encryption, or has the object."""
        with translate_errors(key):
            try:
                none_if(EXISTS, partial(self._client.put_object, **self._place(key), Body=b"{}", IfNoneMatch="*"))
            except ClientError:
                return False
        return True

    def _place(self, key: str) -> Any:
        return {"Bucket": self._bucket, "Key": self._prefix + key}

    def _note_name(self, parsed: Mapping[str, Any], **_: Any) -> None:
        self.name = parsed.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("server", self.name)
