"""The reviewer's page as a process of its own, started as `make browse` starts it, over a local S3."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from kros_pipeline.archive.s3_store import S3ObjectStore
from kros_pipeline.archive.settings import ArchiveSettings
from kros_pipeline.sandbox import LocalS3
from kros_pipeline_tests.support.listen_archive import ERASURE_KEY

_MAX_START_SECONDS = 60


def open_store(bucket: str, prefix: str) -> S3ObjectStore:
    """Open an archive in the S3 that the environment names."""
    return S3ObjectStore(ArchiveSettings(bucket, prefix, None, None, ERASURE_KEY, 16))


@contextmanager
def serve_page(s3: LocalS3, prefix: str, folder: Path, **settings: str) -> Iterator[str]:
    """Serve the page over an archive, and give its address."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("AWS_", "KROS"))}
    environment = {
        **kept,
        **s3.environment,
        "NO_PROXY": "127.0.0.1,localhost",
        "KROS_ARCHIVE_URL": f"s3://{s3.bucket}/{prefix}",
        "KROS_ERASURE_KEY": ERASURE_KEY,
        "KROS_BROWSE_LISTEN": "127.0.0.1:0",
        "KROS_BROWSE_CACHE": str(folder / "cache"),
        **settings,
    }
    with start_page(environment, folder) as (address, _):
        yield address


@contextmanager
def start_page(environment: Mapping[str, str], folder: Path) -> Iterator[tuple[str, int]]:
    """Run the command, and give the page's address and the process's id once it listens."""
    command = [sys.executable, "-m", "kros_pipeline", "browse"]
    with (folder / "page.log").open("w+") as log:
        process = subprocess.Popen(command, env=dict(environment), cwd=folder, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield _wait_for_address(process, log), process.pid
        finally:
            process.terminate()
            process.wait(timeout=20)


def _wait_for_address(process: subprocess.Popen[bytes], log: IO[str]) -> str:
    began = time.monotonic()
    while time.monotonic() - began < _MAX_START_SECONDS:
        log.seek(0)
        text = log.read()
        if "http://" in text:
            return "http://" + text.split("http://")[1].split(" ")[0]
        assert process.poll() is None, text
        time.sleep(0.05)
    raise AssertionError(f"the page did not start: {text}")
