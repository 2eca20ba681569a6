"""Downloads of recordings, by presigned URLs: from allowed hosts alone, and verified before anyone keeps them.

The session knows no key of ours and follows no redirect. No error shows a URL.
"""

import hashlib
import mmap
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import IO
from urllib.parse import urlsplit

import requests

from ..core import mp3
from ..core.errors import AudioGone, DownloadBroken, InvalidAudio, UrlExpired, UrlRefused
from ..core.settings import is_loopback
from .checked_connections import CheckedAdapter
from .http import CONNECT_SECONDS, READ_SECONDS, BrokenBody, Gets, declared_length, new_session, read_body, read_into
from .settings import SourceSettings

IN_MEMORY_BYTES = 32 << 20  # a larger body goes through a file: obstore cannot put one create-only in parts
IN_FLIGHT_BYTES = 96 << 20  # of all threads together, so that 40 files of 20 MB need no more memory than 300 of 2 MB
MOST_BYTES = 4 << 30  # S3 takes 5 GiB in one PUT
_LEAST_BYTES_PER_SECOND = 50_000
_LEAST_SECONDS = 120.0
_READ_AT_ONCE = 6
_SMALL_BYTES = 4 << 20
# Readers of URLs differ over anything else: some decode `%2e`, fold other scripts' letters, or drop tabs and newlines.
_PLAIN_PLACE = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+)(:\d{1,5})?").fullmatch


@dataclass(slots=True)
class Body:
    """A body that arrived whole: in memory, or in an open file if it is large. Valid within `fetched` alone."""

    data: bytes | memoryview
    file: IO[bytes] | None
    size_bytes: int
    sha256: str
    encoding: str


class _Buffer:
    """Room for the largest body that is held in memory; it costs no more than was ever written to it."""

    def __init__(self) -> None:
        self.memory = memoryview(mmap.mmap(-1, IN_MEMORY_BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
        self.touched_bytes = 0


_TOUCHED = attrgetter("touched_bytes")


class BufferPool:
    """Lends memory for bodies, never more of it together than a limit; one body alone is always let in.

    What is given back is lent again: to have the kernel make 2 MB of fresh memory for each body takes as long as to
    download it, and to leave that to malloc leaves holes that came to twice the bodies' size.
    """

    def __init__(self, limit: int):
        self._limit = limit
        self._lent_bytes = self._idle_bytes = 0  # as touched
        self._idle: list[_Buffer] = []
        self._changed = threading.Condition()

    @contextmanager
    def acquire(self, size: int) -> Iterator[memoryview]:
        """Room for `size` bytes, at most `IN_MEMORY_BYTES`."""
        with self._changed:
            self._changed.wait_for(lambda: self._lent_bytes == 0 or self._lent_bytes + size <= self._limit)
            buffer = self._fitting(size)
            buffer.touched_bytes = max(buffer.touched_bytes, size)
            self._lent_bytes += buffer.touched_bytes
            while self._idle and self._lent_bytes + self._idle_bytes > self._limit:
                self._idle_bytes -= self._idle.pop(0).touched_bytes
        try:
            yield buffer.memory[:size]
        finally:
            with self._changed:
                self._lent_bytes -= buffer.touched_bytes
                self._idle_bytes += buffer.touched_bytes
                self._idle.append(buffer)
                self._changed.notify_all()  # there may be room for one behind whoever waits first

    def _fitting(self, size: int) -> _Buffer:
        """The idle buffer that wastes least: the smallest that was as large once, or else the largest.

        One that was much larger is none: a few long recordings would leave room for no other body beside a few.
        """
        near = [idle for idle in self._idle if idle.touched_bytes <= max(2 * size, _SMALL_BYTES)]
        large = [idle for idle in near if idle.touched_bytes >= size]
        found = min(large, key=_TOUCHED) if large else max(near, key=_TOUCHED, default=None)
        if found is None or found.touched_bytes > max(size, self._limit - self._lent_bytes):
            return _Buffer()
        self._idle.remove(found)
        self._idle_bytes -= found.touched_bytes
        return found


class RecordingStorage:
    """Where KrosAI keeps the audio. One for a run; its threads share the connections and the limit of memory."""

    def __init__(self, settings: SourceSettings):
        api = urlsplit(settings.base_url)
        api_is_here = is_loopback(api.hostname or "")
        # The API's own host is the operator's word, and judged by nobody; where audio lies, the API says.
        self._session = new_session(
            settings.connections,
            {"Accept": "audio/mpeg, */*"},
            partial(CheckedAdapter, loopback_allowed=api_is_here),
        )
        self._gets = Gets(self._session)
        self._hosts = settings.recording_hosts
        # Plain http is for a service on this very machine, and only if the API itself is reached that way.
        self._http_allowed = api.scheme == "http" and api_is_here
        self._buffers, self._turns = BufferPool(IN_FLIGHT_BYTES), threading.Semaphore(_READ_AT_ONCE)
        self._spool = tempfile.gettempdir()

    def close(self) -> None:
        """Closes the connections."""
        self._session.close()

    @contextmanager
    def fetched(self, url: str) -> Iterator[Body]:
        """The body behind a URL, whole. Raises `UrlRefused`, `UrlExpired`, `AudioGone` or `DownloadBroken`."""
        self._check(url)
        try:
            response = self._gets.send(url, timeout=(CONNECT_SECONDS, READ_SECONDS))
        except (requests.RequestException, ValueError) as error:
            raise DownloadBroken(f"no answer from the storage ({type(error).__name__})") from None
        with response:
            _check_status(response)
            length = declared_length(response)
            if length is not None and length > MOST_BYTES:
                raise InvalidAudio("size", f"the storage declares {length:,} bytes, which no call's audio has")
            if length is not None and length <= IN_MEMORY_BYTES:
                with self._buffers.acquire(length) as memory:
                    yield _in_memory(response, memory, self._turns)
            else:
                with tempfile.TemporaryFile(dir=self._spool, prefix="kros-") as file:
                    yield _in_file(response, length, file)

    def _check(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").lower(), parts.port
        except ValueError:
            raise UrlRefused("the recording's URL cannot be read") from None
        if parts.scheme != "https" and not (parts.scheme == "http" and self._http_allowed and is_loopback(host)):
            raise UrlRefused(f"the recording's URL is {parts.scheme[:10] or 'without a scheme'}, not https")
        if "@" in parts.netloc or "\\" in url:
            raise UrlRefused("the recording's URL holds a user name or a backslash")
        if not _PLAIN_PLACE(parts.netloc) or " " in url or not url.isprintable():
            raise UrlRefused("the recording's URL names its host in a way that others may read otherwise")
        name = f"[{host}]" if ":" in host else host
        if {name, f"{name}:{port}"}.isdisjoint(self._hosts):
            raise UrlRefused(f"host {host[:100]!r} is not in KROS_RECORDING_HOSTS")


def _in_memory(response: requests.Response, memory: memoryview, turns: threading.Semaphore) -> Body:
    with _as_download_errors():
        size = read_into(response, memory, seconds=_longest_seconds(len(memory)), turns=turns)
    _check_length(size, len(memory))
    return Body(memory, None, size, hashlib.sha256(memory).hexdigest(), _encoding(response))


def _in_file(response: requests.Response, length: int | None, file: IO[bytes]) -> Body:
    most_bytes, seconds = MOST_BYTES if length is None else length, _longest_seconds(length or IN_MEMORY_BYTES)
    with _as_download_errors():
        size = read_body(response, file, most_bytes=most_bytes, seconds=seconds)
    if length is not None:
        _check_length(size, length)
    file.flush()
    data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)) if size else memoryview(b"")
    return Body(data, file, size, hashlib.sha256(data).hexdigest(), _encoding(response))


@contextmanager
def _as_download_errors() -> Iterator[None]:
    try:
        yield
    except BrokenBody as error:
        raise DownloadBroken(str(error)) from None


def _check_length(size: int, declared: int) -> None:
    if size != declared:
        raise DownloadBroken(f"{size:,} of {declared:,} declared bytes came")


def _longest_seconds(size: int) -> float:
    return max(_LEAST_SECONDS, size / _LEAST_BYTES_PER_SECOND)


def verified(body: Body, declared_duration_seconds: float | None) -> mp3.Audio:
    """What the body is, if it is the call's recording. Raises `InvalidAudio` with the check that it failed."""
    if body.encoding not in ("", "identity"):
        raise InvalidAudio("encoding", f"the storage sent it as {body.encoding[:20]}, which was not asked for")
    try:
        audio = mp3.inspect(body.data)
    except mp3.NotAudio as error:
        raise InvalidAudio("frames", f"not a whole MP3: {error}") from None
    if declared_duration_seconds is not None:
        tolerance = max(5.0, 0.05 * declared_duration_seconds)
        if abs(audio.duration_seconds - declared_duration_seconds) > tolerance:
            raise InvalidAudio(
                "duration",
                f"{audio.duration_seconds:.1f} s of audio for a call of {declared_duration_seconds:g} s",
            )
    return audio


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
