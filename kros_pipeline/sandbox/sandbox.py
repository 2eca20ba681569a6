"""Both halves of the outside world, started together: KrosAI and S3."""

from __future__ import annotations

import os

from kros_pipeline.sandbox.config import SandboxConfig
from kros_pipeline.sandbox.local_s3 import LocalS3
from kros_pipeline.sandbox.simulator import KrosaiSimulator

_HERE = "127.0.0.1,localhost"


class Sandbox:
    """KrosAI and S3 on 127.0.0.1, each in a process of its own, for as long as the `with` lasts."""

    def __init__(self, config: SandboxConfig | None = None) -> None:
        self.config = config or SandboxConfig()
        self.krosai = KrosaiSimulator(self.config)
        self.s3 = LocalS3(self.config.bucket, versioning=self.config.versioning, object_lock=self.config.object_lock)

    def __enter__(self) -> Sandbox:
        try:
            for half in (self.s3, self.krosai):
                half.start()
            for half in (self.krosai, self.s3):
                half.wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *reason: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends both processes; twice is once."""
        self.krosai.stop()
        self.s3.stop()

    @property
    def environment(self) -> dict[str, str]:
        """Every setting that the pipeline needs to run against the sandbox; a company's proxy is told to keep out."""
        beyond_proxy = ",".join(filter(None, [os.environ.get("NO_PROXY") or os.environ.get("no_proxy"), _HERE]))
        return {
            **self.krosai.environment,
            "KROS_ARCHIVE_URL": f"s3://{self.config.bucket}/{self.config.prefix}".rstrip("/"),
            **self.s3.environment,
            "NO_PROXY": beyond_proxy,
        }
