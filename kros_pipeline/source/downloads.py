"""Downloads of recordings, by presigned URLs.

The client has no API key and follows no redirect by itself. No error shows a URL.
"""

import hashlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from importlib.metadata import version

from ..core.clock import Clock
from ..core.errors import DownloadBroken, InvalidAudio
from .body_sinks import BodySink, MemorySink
from .buffer_pool import MAX_BUFFER_BYTES, BufferPool
from .call_source import Body
from .download_concurrency import DownloadConcurrency
from .gzip_bodies import CutGzip, UndecodableGzip, decode_gzip, is_gzip
from .local_faults import find_local_fault
from .pinned_clients import PinnedClients
from .received_body import ReceivedBody
from .recording_answers import read_throttle, whole_length
from .redirects import send_and_follow
from .settings import SourceSettings
from .spool import Spool
from .storage_answers import BrokenTransfer, StorageAnswer
from .transfer_progress import STALL_SECONDS, TransferProgress
from .url_policy import UrlPolicy

IN_MEMORY_BYTES = MAX_BUFFER_BYTES  # a larger body goes through a file: memory stays flat
IN_FLIGHT_BYTES = 64 << 20  # of all threads, so that 40 files of 20 MB take no more memory than 300 of 2 MB
MAX_BYTES = 4 << 30  # S3 takes 5 GiB in one PUT
USER_AGENT = f"kros-pipeline/{version('kros-pipeline')} (archives calls; +https://krosai.com)"
_MAX_THROTTLED = 8  # answers to one download
_MAX_IDLE_RESUMES = 3  # of one download, each without progress
_PROGRESS_BYTES = 16 << 10
_FIRST_WAIT_SECONDS = 0.25


class RecordingDownloads:
    """Downloads from the recording storage, for one run. Threads share the connections and the limit of memory."""

    def __init__(self, settings: SourceSettings, clock: Clock):
        self._policy, self._clock = UrlPolicy(settings.recording_hosts, settings.base_url), clock
        self._clients = PinnedClients(
            settings.connections,
            {"Accept": "audio/mpeg, */*", "Accept-Encoding": "identity", "User-Agent": USER_AGENT},
            clock,
            loopback_allowed=self._policy.is_loopback_allowed,
            stall_seconds=STALL_SECONDS,
        )
        self._buffers, self._spool = BufferPool(IN_FLIGHT_BYTES), Spool()
        self._concurrency = DownloadConcurrency(settings.connections, clock)

    def close(self) -> None:
        """Close the connections."""
        self._clients.close()

    @contextmanager
    def open(self, url: str) -> Iterator[Body]:
        """Download the whole body behind a URL.

        Raises `UrlRefused`, `UrlExpired`, `AudioGone`, `DownloadBroken`, `InvalidAudio` for an answer without audio,
        and `LocalFault` where this machine lacks what a download needs.
        """
        with ExitStack() as held:
            received = self._receive(url, held)
            sink = self._decode(received, held) if is_gzip(received.sink.data()) else received.sink
            data = sink.data()
            # The length of a gzip is not the audio's.
            is_length_known = received.length is not None and sink is received.sink
            yield Body(data, sink.file, sink.size_bytes, hashlib.sha256(data).hexdigest(), is_length_known)

    def _receive(self, url: str, held: ExitStack) -> ReceivedBody:
        """Receive a body, in several parts where its transfer breaks off."""
        received: ReceivedBody | None = None
        throttled = idle = 0
        while True:
            self._clock.check()
            before = received.sink.size_bytes if received else 0
            try:
                is_resumed = received is not None
                with self._concurrency.turn(is_resumed=is_resumed), self._send(url, received) as answer:
                    throttle = read_throttle(answer, now=self._clock.now())
                    if throttle is None:
                        if received is None:
                            received = self._begin(answer, held)
                        else:
                            received.check_rest(answer)
                        self._concurrency.on_accepted()
                        self._read(answer, received)
                        return received
                throttled += 1
                if throttled > _MAX_THROTTLED or not self._concurrency.on_throttled(throttle.seconds):
                    raise DownloadBroken(f"the storage answered {throttle.status}")
            except BrokenTransfer as error:
                if error.os_error and (fault := find_local_fault(OSError(error.os_error, ""), self._spool.folder)):
                    raise fault from None
                if received is None:
                    raise DownloadBroken(f"no answer from the storage ({error})") from None
                idle = 0 if received.sink.size_bytes - before >= _PROGRESS_BYTES else idle + 1
                if idle == _MAX_IDLE_RESUMES or received.range_headers is None:
                    what = f"the body broke off after {received.sink.size_bytes:,} bytes"
                    raise DownloadBroken(f"{what} ({error})") from None
                self._clock.sleep(_FIRST_WAIT_SECONDS * 2**idle)

    def _send(self, url: str, received: ReceivedBody | None) -> AbstractContextManager[StorageAnswer]:
        headers = (received.range_headers if received else None) or {}
        return send_and_follow(url, headers, clients=self._clients, policy=self._policy)

    def _begin(self, answer: StorageAnswer, held: ExitStack) -> ReceivedBody:
        length = whole_length(answer)
        if length is not None and length > MAX_BYTES:
            raise InvalidAudio("size", f"the storage declares {length:,} bytes, which no call's audio has")
        if length is not None and length <= IN_MEMORY_BYTES:
            return ReceivedBody(answer, length, MemorySink(held.enter_context(self._buffers.acquire(length))))
        return ReceivedBody(answer, length, held.enter_context(self._spool.open(length)))

    def _read(self, answer: StorageAnswer, received: ReceivedBody) -> None:
        most = MAX_BYTES if received.length is None else received.length
        progress = TransferProgress(self._clock)
        for piece in answer.pieces():
            if received.sink.size_bytes + len(piece) > most:
                raise DownloadBroken(f"the body is larger than {most:,} bytes")
            received.sink.write(piece)
            progress.on_piece(len(piece))
        if not received.is_whole:
            raise BrokenTransfer(f"of {received.length:,} declared bytes")

    def _decode(self, received: ReceivedBody, held: ExitStack) -> BodySink:
        """Decode a gzip body. One that cannot be decoded stays as it is, unless more of it may come another time."""
        size, decoded = received.sink.size_bytes, held.enter_context(self._spool.open(None))
        try:
            for piece in decode_gzip(received.sink.reader(), size, max_bytes=MAX_BYTES):
                decoded.write(piece)
        except UndecodableGzip as error:
            if received.length is None and isinstance(error, CutGzip):
                raise DownloadBroken(f"{error}, after {size:,} bytes") from None
            return received.sink
        return decoded
