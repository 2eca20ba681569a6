"""An S3 of one's own: moto's server in a process of its own (`s3_process`), with one bucket made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kros_pipeline.sandbox.processes import ChildServer

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_MODULE = "kros_pipeline.sandbox.s3_process"
_REGION = "us-east-1"
_KEY_ID, _SECRET = "sandbox", "sandbox-secret"


class LocalS3:
    """S3 on 127.0.0.1, in a process of its own, which ends with this one at the latest and forgets everything."""

    def __init__(self, bucket: str = "kros-archive", *, versioning: bool = False, object_lock: bool = False) -> None:
        self.bucket = bucket
        self.endpoint_url = ""
        self._told = {"bucket": bucket, "versioning": versioning, "object_lock": object_lock}
        self._child = ChildServer(_MODULE)

    def start(self) -> None:
        """Returns at once; `wait_until_ready` makes it usable."""
        self._child.start(self._told)

    def wait_until_ready(self) -> None:
        """RuntimeError with its last words if the process never serves."""
        self.endpoint_url = self._child.wait_until_ready()["endpoint_url"]

    def stop(self) -> None:
        """Ends the process; twice is once."""
        self._child.stop()

    def __enter__(self) -> LocalS3:
        self.start()
        self.wait_until_ready()
        return self

    def __exit__(self, *reason: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Of the server's process."""
        return self._child.process.pid

    @property
    def environment(self) -> dict[str, str]:
        """The AWS way to name endpoint, credentials and region; the last one is obstore's leave to speak plain HTTP."""
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": _KEY_ID,
            "AWS_SECRET_ACCESS_KEY": _SECRET,
            "AWS_REGION": _REGION,
            "AWS_DEFAULT_REGION": _REGION,
            "AWS_ALLOW_HTTP": "true",
        }

    def client(self) -> S3Client:
        """A boto3 client that needs nothing of the environment."""
        import boto3

        client: S3Client = boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            region_name=_REGION,
            aws_access_key_id=_KEY_ID,
            aws_secret_access_key=_SECRET,
        )
        return client
