"""Downloads of recordings, by presigned URLs.

The session has no API key and follows no redirect. No error shows a URL.
"""

import hashlib
import mmap
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import IO

import requests

from ..core.clock import Clock
from ..core.errors import AudioGone, DownloadBroken, InvalidAudio, UrlExpired, UrlRefused
from .buffer_pool import MAX_BUFFER_BYTES, BufferPool
from .call_source import Body
from .checked_connections import CheckedAdapter
from .response_body import BrokenBody, ReadingTurns, declared_length, read_body, read_into
from .sessions import CONNECT_SECONDS, READ_SECONDS, PreparedGets, new_session
from .settings import SourceSettings
from .url_policy import UrlPolicy

IN_MEMORY_BYTES = MAX_BUFFER_BYTES  # a larger body goes through a file: memory stays flat
IN_FLIGHT_BYTES = 96 << 20  # of all threads, so that 40 files of 20 MB take no more memory than 300 of 2 MB
MAX_BYTES = 4 << 30  # S3 takes 5 GiB in one PUT
_MIN_BYTES_PER_SECOND = 50_000
_MIN_DEADLINE_SECONDS = 120.0
_READ_AT_ONCE = 6


class RecordingDownloads:
    """Downloads from the recording storage, for one run. Threads share the connections and the limit of memory."""

    def __init__(self, settings: SourceSettings, clock: Clock):
        self._policy, self._clock = UrlPolicy(settings.recording_hosts, settings.base_url), clock
        self._session = new_session(
            settings.connections,
            {"Accept": "audio/mpeg, */*"},
            partial(CheckedAdapter, loopback_allowed=self._policy.is_loopback_allowed),
        )
        self._gets = PreparedGets(self._session)
        self._buffers, self._turns = BufferPool(IN_FLIGHT_BYTES), ReadingTurns(_READ_AT_ONCE)
        self._spool_folder = tempfile.gettempdir()

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    @contextmanager
    def open(self, url: str) -> Iterator[Body]:
        """Download the whole body behind a URL.

        Raises `UrlRefused`, `UrlExpired`, `AudioGone`, `DownloadBroken`, or `InvalidAudio` for an answer without audio.
        """
        self._policy.check(url)
        try:
            response = self._gets.send(url, timeout=(CONNECT_SECONDS, READ_SECONDS))
        except (requests.RequestException, ValueError) as error:
            raise DownloadBroken(f"no answer from the storage ({type(error).__name__})") from None
        with response:
            _check_status(response)
            length = declared_length(response)
            if length is not None and length > MAX_BYTES:
                raise InvalidAudio("size", f"the storage declares {length:,} bytes, which no call's audio has")
            if length is not None and length <= IN_MEMORY_BYTES:
                with self._buffers.acquire(length) as memory:
                    yield self._read_into_memory(response, memory)
            else:
                with tempfile.TemporaryFile(dir=self._spool_folder, prefix="kros-") as file:
                    yield self._read_into_file(response, length, file)

    def _read_into_memory(self, response: requests.Response, memory: memoryview) -> Body:
        seconds = _deadline_seconds(len(memory))
        with _translate_broken_body():
            size = read_into(response, memory, seconds=seconds, turns=self._turns, clock=self._clock)
        _check_length(size, len(memory))
        return Body(memory, None, size, hashlib.sha256(memory).hexdigest(), _encoding(response))

    def _read_into_file(self, response: requests.Response, length: int | None, file: IO[bytes]) -> Body:
        max_bytes = MAX_BYTES if length is None else length
        seconds = _deadline_seconds(length or IN_MEMORY_BYTES)
        with _translate_broken_body():
            size = read_body(response, file, max_bytes=max_bytes, seconds=seconds, clock=self._clock)
        if length is not None:
            _check_length(size, length)
        file.flush()
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)) if size else memoryview(b"")
        return Body(data, file, size, hashlib.sha256(data).hexdigest(), _encoding(response))


@contextmanager
def _translate_broken_body() -> Iterator[None]:
    try:
        yield
    except BrokenBody as error:
        raise DownloadBroken(str(error)) from None


def _check_length(size: int, declared: int) -> None:
    if size != declared:
        raise DownloadBroken(f"{size:,} of {declared:,} declared bytes came")


def _deadline_seconds(size: int) -> float:
    return max(_MIN_DEADLINE_SECONDS, size / _MIN_BYTES_PER_SECOND)


def _check_status(response: requests.Response) -> None:
    status = response.status_code
    if status == 200:
        return
    if status in (400, 401, 403):  # 400 is S3's answer to temporary credentials that ended before the URL
        raise UrlExpired(f"the storage does not accept the URL (status {status})")
    if status in (404, 410):
        raise AudioGone(f"the storage has no such recording (status {status})")
    if status in (408, 425, 429) or status >= 500:
        raise DownloadBroken(f"the storage answered {status}")
    if 300 <= status < 400:
        raise UrlRefused(f"the storage answered with a redirect ({status}), which is not followed")
    raise InvalidAudio("status", f"the storage answered {status}")


def _encoding(response: requests.Response) -> str:
    return response.headers.get("Content-Encoding", "identity").strip().lower()
