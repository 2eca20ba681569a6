"""Start both external services together: KrosAI and S3."""

from __future__ import annotations

import os

from .config import SandboxConfig
from .local_s3 import LocalS3
from .simulator import KrosaiSimulator

_LOOPBACK = "127.0.0.1,localhost"


class Sandbox:
    """KrosAI and S3 on 127.0.0.1, each in its own process, until the `with` block ends."""

    def __init__(self, config: SandboxConfig | None = None) -> None:
        self.config = config or SandboxConfig()
        self.krosai = KrosaiSimulator(self.config)
        self.s3 = LocalS3(self.config.bucket, versioning=self.config.versioning, object_lock=self.config.object_lock)

    def __enter__(self) -> Sandbox:
        try:
            for service in (self.s3, self.krosai):
                service.start()
            for service in (self.krosai, self.s3):
                service.wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *reason: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End both processes. Does nothing a second time."""
        self.krosai.stop()
        self.s3.stop()

    @property
    def environment(self) -> dict[str, str]:
        """Return every setting that the pipeline needs to run against the sandbox, past any proxy of the company."""
        no_proxy = ",".join(filter(None, [os.environ.get("NO_PROXY") or os.environ.get("no_proxy"), _LOOPBACK]))
        return {
            **self.krosai.environment,
            "KROS_ARCHIVE_URL": f"s3://{self.config.bucket}/{self.config.prefix}".rstrip("/"),
            **self.s3.environment,
            "NO_PROXY": no_proxy,
        }
