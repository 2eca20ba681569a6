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
from typing import IO
from urllib.parse import urlsplit

import requests

from ..core import mp3
from ..core.settings import Settings, is_loopback
from .checked_connections import CheckedAdapter
from .errors import AudioGone, BodyRejected, DownloadBroken, UrlExpired, UrlRefused
from .http import CONNECT_SECONDS, READ_SECONDS, BrokenBody, Sink, declared_length, new_session, read_body

IN_MEMORY_BYTES = 32 << 20  # a larger body goes through a file: obstore cannot put one create-only in parts
IN_FLIGHT_BYTES = 96 << 20  # of all threads together, so that 40 files of 20 MB need no more memory than 300 of 2 MB
MOST_BYTES = 4 << 30  # S3 takes 5 GiB in one PUT
_LEAST_BYTES_PER_SECOND = 50_000
_LEAST_SECONDS = 120.0
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


class _Buffers:
    """Lends memory for bodies while their sizes together stay below a limit; one alone is always let in.

    What is given back is lent again: to have the kernel make 2 MB of fresh memory for each body takes as long as to
    download it, and to leave that to malloc leaves holes that came to twice the bodies' size.
    """

    def __init__(self, limit: int):
        self._limit, self._used = limit, 0
        self._idle: list[_Buffer] = []
        self._changed = threading.Condition()

    @contextmanager
    def lend(self, size: int) -> Iterator[mmap.mmap]:
        """A file in memory, at its beginning, with room for `size` bytes, at most `IN_MEMORY_BYTES`."""
        with self._changed:
            self._changed.wait_for(lambda: self._used == 0 or self._used + size <= self._limit)
            self._used += size
            buffer = self._idle.pop() if self._idle else _Buffer()
            buffer.touched_bytes = max(buffer.touched_bytes, size)
            while self._idle and self._used + sum(idle.touched_bytes for idle in self._idle) > self._limit:
                self._idle.pop(0)
        try:
            buffer.memory.seek(0)
            yield buffer.memory
        finally:
            with self._changed:
                self._used -= size
                self._idle.append(buffer)
                self._changed.notify_all()


class _Buffer:
    """Room for the largest body that is held in memory; what nothing was ever written to is none yet."""

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, IN_MEMORY_BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.touched_bytes = 0


class RecordingStorage:
    """Where KrosAI keeps the audio. One for a run; its threads share the connections and the limit of memory."""

    def __init__(self, settings: Settings):
        api = urlsplit(settings.base_url)
        api_is_here = is_loopback(api.hostname or "")
        # The API's own host is the operator's word, and judged by nobody; where audio lies, the API says.
        self._session = new_session(
            settings.download_workers,
            {"Accept": "audio/mpeg, */*"},
            partial(CheckedAdapter, loopback_allowed=api_is_here),
        )
        self._hosts = settings.recording_hosts
        # Plain http is for a service on this very machine, and only if the API itself is reached that way.
        self._http_allowed = api.scheme == "http" and api_is_here
        self._buffers = _Buffers(IN_FLIGHT_BYTES)
        self._spool = tempfile.gettempdir()

    def close(self) -> None:
        """Closes the connections."""
        self._session.close()

    @contextmanager
    def fetched(self, url: str) -> Iterator[Body]:
        """The body behind a URL, whole. Raises `UrlRefused`, `UrlExpired`, `AudioGone` or `DownloadBroken`."""
        self._check(url)
        try:
            response = self._session.get(
                url, timeout=(CONNECT_SECONDS, READ_SECONDS), allow_redirects=False, stream=True
            )
        except (requests.RequestException, ValueError) as error:
            raise DownloadBroken(f"no answer from the storage ({type(error).__name__})") from None
        with response:
            _check_status(response)
            length = declared_length(response)
            if length is not None and length > MOST_BYTES:
                raise BodyRejected("size", f"the storage declares {length:,} bytes, which no call's audio has")
            if length is not None and length <= IN_MEMORY_BYTES:
                with self._buffers.lend(length) as memory:
                    yield self._in_memory(response, length, memory)
            else:
                with tempfile.TemporaryFile(dir=self._spool, prefix="kros-") as file:
                    yield self._in_file(response, length, file)

    def _in_memory(self, response: requests.Response, length: int, memory: mmap.mmap) -> Body:
        data = memoryview(memory)[: self._copy(response, memory, length)]
        return Body(data, None, len(data), hashlib.sha256(data).hexdigest(), _encoding(response))

    def _in_file(self, response: requests.Response, length: int | None, file: IO[bytes]) -> Body:
        size = self._copy(response, file, length)
        file.flush()
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)) if size else memoryview(b"")
        return Body(data, file, size, hashlib.sha256(data).hexdigest(), _encoding(response))

    def _copy(self, response: requests.Response, sink: Sink, length: int | None) -> int:
        seconds = max(_LEAST_SECONDS, (length or IN_MEMORY_BYTES) / _LEAST_BYTES_PER_SECOND)
        try:
            size = read_body(response, sink, most_bytes=MOST_BYTES if length is None else length, seconds=seconds)
        except BrokenBody as error:
            raise DownloadBroken(str(error)) from None
        if length is not None and size != length:
            raise DownloadBroken(f"{size:,} of {length:,} declared bytes came")
        return size

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


def verified(body: Body, declared_duration_seconds: float | None) -> mp3.Audio:
    """What the body is, if it is the call's recording. Raises `BodyRejected` with the check that it failed."""
    if body.encoding not in ("", "identity"):
        raise BodyRejected("encoding", f"the storage sent it as {body.encoding[:20]}, which was not asked for")
    try:
        audio = mp3.inspect(body.data)
    except mp3.NotAudio as error:
        raise BodyRejected("frames", f"not a whole MP3: {error}") from None
    if declared_duration_seconds is not None:
        tolerance = max(5.0, 0.05 * declared_duration_seconds)
        if abs(audio.duration_seconds - declared_duration_seconds) > tolerance:
            raise BodyRejected(
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
    raise BodyRejected("status", f"the storage answered {status}")


def _encoding(response: requests.Response) -> str:
    return response.headers.get("Content-Encoding", "identity").strip().lower()
