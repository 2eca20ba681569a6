"""Measure the reviewer's page under load: `python -m benchmarks.listen_load [--listeners 50]`.

Each listener opens a call, loads the recording as a player does, seeks twice, and searches. Half of them read the
recording as slowly as it is played, so that their answers stay open. The page and the local S3 share the machine.
"""

from __future__ import annotations

import argparse
import os
import re
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from statistics import median, quantiles

from kros_pipeline.sandbox import LocalS3
from kros_pipeline.sandbox.mp3 import mp3_audio
from kros_pipeline_tests.support.listen_archive import DAY, ERASURE_KEY, ListedCall, ListenArchive
from kros_pipeline_tests.support.listen_page import open_store, start_page

_FRAMES = 7_500  # 180 s, 2.16 MB
_TEXT = "[Caller]: a refund, please\n" * 20
_SLOW_BYTES_PER_SECOND = 96_000  # eight times as fast as it is played


class Listener(threading.Thread):
    """One reviewer. `seconds` has how long each kind of request took; of a recording, until its first bytes."""

    def __init__(self, address: str, call_id: str, *, is_slow: bool) -> None:
        super().__init__()
        self._call, self._address, self._is_slow = f"{address}/call/{DAY}/{call_id}", address, is_slow
        self.seconds: dict[str, float] = {}
        self.received = 0

    def run(self) -> None:
        """Do what a reviewer does."""
        self._get("page", self._call)
        self._get("recording", f"{self._call}/audio", "bytes=0-")
        self._get("seek", f"{self._call}/audio", "bytes=1000000-1262143")
        self._get("seek", f"{self._call}/audio", "bytes=500000-762143")
        self._get("search", f"{self._address}/calls?turn=with&by=caller&words=refund")

    def _get(self, kind: str, url: str, asked: str = "") -> None:
        request = urllib.request.Request(url, headers={"Range": asked} if asked else {})
        began = time.monotonic()
        with urllib.request.urlopen(request) as answer:
            self.received += len(answer.read(16_384))
            self.seconds[kind] = time.monotonic() - began
            while piece := answer.read(16_384):
                self.received += len(piece)
                if self._is_slow and kind == "recording":
                    time.sleep(len(piece) / _SLOW_BYTES_PER_SECOND)


def peak_megabytes(process_id: int) -> float:
    """Return the most memory that a process has used."""
    status = Path(f"/proc/{process_id}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1e3


def main() -> None:
    """Measure, and print a table in Markdown."""
    parser = argparse.ArgumentParser("python -m benchmarks.listen_load")
    parser.add_argument("--listeners", type=int, default=50)
    count = parser.parse_args().listeners
    calls = [
        ListedCall(f"call_{number:03d}", _TEXT, audio=bytes(mp3_audio(1, str(number), _FRAMES)))
        for number in range(count)
    ]
    with tempfile.TemporaryDirectory(prefix="kros-load-") as name, LocalS3() as s3:
        os.environ.update(s3.environment | {"AWS_EC2_METADATA_DISABLED": "true"})
        ListenArchive(Path(name), calls, open_store(s3.bucket, "load"))
        environment = os.environ | {
            "KROS_ARCHIVE_URL": f"s3://{s3.bucket}/load",
            "KROS_ERASURE_KEY": ERASURE_KEY,
            "KROS_BROWSE_LISTEN": "127.0.0.1:0",
            "KROS_BROWSE_CACHE": str(Path(name) / "cache"),
            "NO_PROXY": "127.0.0.1",
        }
        with start_page(environment, Path(name)) as (address, process_id):
            warm = Listener(address, "call_000", is_slow=False)
            warm.run()
            idle = peak_megabytes(process_id)
            listeners = [Listener(address, call.call_id, is_slow=n % 2 == 0) for n, call in enumerate(calls)]
            began = time.monotonic()
            for listener in listeners:
                listener.start()
            for listener in listeners:
                listener.join()
            took = time.monotonic() - began
            peak = peak_megabytes(process_id)
    print(f"{count} listeners at once: {sum(each.received for each in listeners) / 1e6:.0f} MB in {took:.1f} s;")
    print(f"memory of the page: {idle:.0f} MB after one listener, {peak:.0f} MB at most")
    print("| request | median, s | 95 % below, s |")
    print("| --- | --- | --- |")
    for kind in ("page", "recording", "seek", "search"):
        values = [each.seconds[kind] for each in listeners]
        print(f"| {kind} | {median(values):.2f} | {quantiles(values, n=20)[-1]:.2f} |")


if __name__ == "__main__":
    main()
