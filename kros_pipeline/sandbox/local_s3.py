"""Start a local S3: moto's server in its own process (`s3_process`), with one bucket."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from .processes import ServerProcess

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_REGION = "us-east-1"
_KEY_ID, _SECRET = "sandbox", "sandbox-secret"


class LocalS3(ServerProcess):
    """S3 on 127.0.0.1 with one empty bucket. Objects are in memory and are gone after `stop`."""

    module: ClassVar[str] = "kros_pipeline.sandbox.s3_process"

    def __init__(self, bucket: str = "kros-archive", *, versioning: bool = False, object_lock: bool = False) -> None:
        super().__init__()
        self.bucket = bucket
        self.endpoint_url = ""
        self._versioning = versioning
        self._object_lock = object_lock

    def _prepare(self) -> Mapping[str, Any]:
        return {"bucket": self.bucket, "versioning": self._versioning, "object_lock": self._object_lock}

    def _connect(self, ready: Mapping[str, Any]) -> None:
        self.endpoint_url = ready["endpoint_url"]

    @property
    def environment(self) -> dict[str, str]:
        """Return endpoint, credentials and region as AWS variables; `AWS_ALLOW_HTTP` is for obstore."""
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": _KEY_ID,
            "AWS_SECRET_ACCESS_KEY": _SECRET,
            "AWS_REGION": _REGION,
            "AWS_DEFAULT_REGION": _REGION,
            "AWS_ALLOW_HTTP": "true",
        }

    def client(self) -> S3Client:
        """Make a boto3 client that does not depend on the environment."""
        import boto3

        client: S3Client = boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            region_name=_REGION,
            aws_access_key_id=_KEY_ID,
            aws_secret_access_key=_SECRET,
        )
        return client
