"""Fifty listeners at once, each with a waveform: every answer is right, and the page's memory is bounded."""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kros_pipeline.sandbox import LocalS3
from kros_pipeline.sandbox.mp3 import mp3_audio
from kros_pipeline_tests.support.listen_archive import DAY, ERASURE_KEY, ListedCall, ListenArchive
from kros_pipeline_tests.support.listen_page import open_store, start_page

_LISTENERS = 50
_FRAMES = 7_500  # 180 s, 2.16 MB
_MAX_GROWTH_MEGABYTES = (
    60  # of 108 MB; a body that is sent and not read yet may lie in the kernel, which is not counted
)
_HANG_SECONDS = 300.0
pytestmark = pytest.mark.timeout(600)  # 50 recordings are written, sent and decoded


@pytest.fixture(scope="module")
def calls() -> list[ListedCall]:
    return [
        ListedCall(f"call_{number:02}", "[Caller]: a refund, please", audio=bytes(mp3_audio(1, str(number), _FRAMES)))
        for number in range(_LISTENERS)
    ]


@pytest.fixture(scope="module")
def served(s3: LocalS3, calls: list[ListedCall], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """The page's address, and its process."""
    folder = tmp_path_factory.mktemp("load")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**s3.environment, "AWS_EC2_METADATA_DISABLED": "true", "NO_PROXY": "127.0.0.1"}.items():
            patch.setenv(name, value)
        ListenArchive(folder, calls, open_store(s3.bucket, "load"))
        own = {
            "KROS_ARCHIVE_URL": f"s3://{s3.bucket}/load",
            "KROS_ERASURE_KEY": ERASURE_KEY,
            "KROS_BROWSE_LISTEN": "127.0.0.1:0",
            "KROS_BROWSE_CACHE": str(folder / "cache"),
        }
        with start_page(os.environ | own, folder) as served:
            yield served


def read(url: str, asked: str = "", together: threading.Barrier | None = None) -> tuple[int, bytes]:
    """Read an answer; where it is read `together`, its end only after every listener has its begin."""
    request = urllib.request.Request(url, headers={"Range": asked} if asked else {})
    with urllib.request.urlopen(request) as answer:
        begin = answer.read(16_384)
        if together is not None:
            together.wait()
        return answer.status, begin + answer.read()


def listen(address: str, call: ListedCall, together: threading.Barrier | None = None) -> None:
    """Do what a reviewer does, and check each answer. Raises where one is wrong or fails."""
    assert call.audio is not None
    if together is not None:
        together.wait()
    url = f"{address}/call/{DAY}/{call.call_id}"
    assert f"<h1>{call.call_id}</h1>" in read(url)[1].decode()
    peaks = json.loads(read(f"{url}/peaks")[1])
    assert len(peaks["peaks"]) == 800 and 150 < peaks["seconds"] < 210
    status, whole = read(f"{url}/audio", "bytes=0-", together)
    assert status == 206 and hashlib.sha256(whole).digest() == hashlib.sha256(call.audio).digest()
    for at in (1_000_000, 500_000):
        assert read(f"{url}/audio", f"bytes={at}-{at + 9_999}") == (206, call.audio[at : at + 10_000])
    found = read(f"{address}/calls?from={DAY}&to={DAY}&turn=with&by=caller&words=refund")[1].decode()
    assert f"{_LISTENERS} calls" in found


def peak_megabytes(process_id: int) -> float:
    """Return the most memory that a process has used."""
    status = Path(f"/proc/{process_id}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1e3


def test_fifty_listeners_at_once_get_right_answers_of_a_page_with_bounded_memory(
    served: tuple[str, int], calls: list[ListedCall]
) -> None:
    address, process_id = served
    listen(address, calls[0])
    before = peak_megabytes(process_id)
    together = threading.Barrier(_LISTENERS, timeout=_HANG_SECONDS)
    with ThreadPoolExecutor(_LISTENERS) as pool:
        for done in [pool.submit(listen, address, call, together) for call in calls]:
            done.result()
    growth = peak_megabytes(process_id) - before
    assert growth < _MAX_GROWTH_MEGABYTES, f"{before:.0f} MB after one listener, and {growth:.0f} MB more after all"
