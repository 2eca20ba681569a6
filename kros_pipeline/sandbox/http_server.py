"""HTTP/1.1 as small and as fast as the simulator needs it, on asyncio: requests in, answers out, one at a time.

A handler is a plain function from `Request` to `Answer`. How an answer misbehaves on the wire (late, cut, dripping,
reset) is part of the answer, so that handlers stay free of I/O. One loop rather than a thread a connection: answers
that wait then cost nothing, and one process on one core gives about 10,000 small answers or 2 GB of audio a second.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Literal, cast
from urllib.parse import parse_qsl

_CHUNK_BYTES = 120 * 1024  # measured: above 128 KB the allocator maps and unmaps each buffer, at half the speed
_DRIPS = 20
_LARGEST_HEAD_BYTES = 64 * 1024
_OWN_FAILURE = b'{"error": "the simulator itself failed", "code": "SIMULATOR_BUG"}'
Ending = Literal["keep", "close", "reset", "silence"]
_REASONS = {status.value: status.phrase for status in HTTPStatus}


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked."""

    method: str
    path: str
    """As it was sent: percent-encoded, without the query."""
    raw_query: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes = b""
    first: bool = False
    """On its connection."""

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters; the last of a name counts."""
        return dict(parse_qsl(self.raw_query, keep_blank_values=True))


@dataclass(slots=True)
class Answer:
    """What to send, and how it misbehaves on the wire."""

    status: int = 200
    body: bytes | memoryview = b""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    delay_seconds: float = 0.0
    """Before the first byte."""
    drip_seconds: float = 0.0
    """The body is spread over this long."""
    declared_bytes: int | None = -1
    """Content-Length: -1 is the body's own length, None sends none."""
    ending: Ending = "keep"
    """The connection afterwards. `silence`, and a `reset` without a body, send nothing at all."""


Handler = Callable[[Request], Answer]


class HttpProtocol(asyncio.Protocol):
    """One connection."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._is_new = True
        self._received = bytearray()
        self._body = memoryview(b"")
        self._answer: Answer | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._writable = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: a client is there."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=_CHUNK_BYTES)

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: it is gone."""
        if self._timer:
            self._timer.cancel()
        self._body = memoryview(b"")
        self._writable = False

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes came."""
        self._received += data
        self._answer_requests()

    def pause_writing(self) -> None:
        """asyncio: the client reads slowly."""
        self._writable = False

    def resume_writing(self) -> None:
        """asyncio: it has caught up."""
        self._writable = True
        if self._body and self._answer and not self._answer.drip_seconds:
            self._send_body()
            self._answer_requests()

    def _answer_requests(self) -> None:
        while self._answer is None and not self._transport.is_closing():
            request = self._next_request()
            if request is None:
                return
            try:
                self._answer = self._handler(request)
            except Exception:  # a mistake of the simulator's own must not look like one of its faults
                traceback.print_exc(file=sys.stderr)
                self._answer = Answer(500, _OWN_FAILURE, ending="close")
            if request.headers.get("connection", "").lower() == "close" and self._answer.ending == "keep":
                self._answer.ending = "close"
            if self._answer.delay_seconds:
                self._later(self._answer.delay_seconds, partial(self._send, self._answer))
            else:
                self._send(self._answer)

    def _next_request(self) -> Request | None:
        """The first whole request among the bytes received."""
        head_end = self._received.find(b"\r\n\r\n")
        if head_end < 0:
            if len(self._received) > _LARGEST_HEAD_BYTES:
                self._refuse(431)
            return None
        try:
            first, *lines = self._received[:head_end].decode("latin-1").split("\r\n")
            method, target, _ = first.split(" ")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            length = int(headers.get("content-length", "0"))
            if length < 0:
                raise ValueError
        except ValueError:
            self._refuse(400)
            return None
        if "transfer-encoding" in headers:
            self._refuse(411)
            return None
        end = head_end + 4 + length
        if len(self._received) < end:
            if headers.get("expect", "").lower() == "100-continue" and len(self._received) == head_end + 4:
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return None
        body = bytes(self._received[head_end + 4 : end])
        del self._received[:end]
        path, _, raw_query = target.partition("?")
        request = Request(method, path, raw_query, headers, body, first=self._is_new)
        self._is_new = False
        return request

    def _refuse(self, status: int) -> None:
        head = f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        self._transport.write(head.encode())
        self._transport.close()

    def _send(self, answer: Answer) -> None:
        if answer.ending == "silence":
            self._transport.close()
            return
        if answer.ending == "reset" and not answer.body:
            self._reset()
            return
        head = f"HTTP/1.1 {answer.status} {_REASONS.get(answer.status, 'Unknown')}\r\n"
        head += f"Content-Type: {answer.content_type}\r\n"
        if answer.declared_bytes is not None:
            head += f"Content-Length: {len(answer.body) if answer.declared_bytes < 0 else answer.declared_bytes}\r\n"
        for name, value in answer.headers.items():
            head += f"{name}: {value}\r\n"
        head += "Connection: keep-alive\r\n\r\n" if answer.ending == "keep" else "Connection: close\r\n\r\n"
        if answer.drip_seconds:
            self._transport.write(head.encode("latin-1"))
            self._body = memoryview(answer.body)
            self._drip(max(1, len(answer.body) // _DRIPS), answer.drip_seconds / _DRIPS)
        elif len(answer.body) <= _CHUNK_BYTES:
            self._transport.write(b"".join((head.encode("latin-1"), answer.body)))
            self._finish()
        else:
            self._transport.write(head.encode("latin-1"))
            self._body = memoryview(answer.body)
            self._send_body()

    def _send_body(self) -> None:
        """As much as the client takes; `resume_writing` goes on from there. Bodies are never copied whole."""
        while self._body and self._writable:
            chunk, self._body = self._body[:_CHUNK_BYTES], self._body[_CHUNK_BYTES:]
            self._transport.write(chunk)
        if not self._body:
            self._finish()

    def _drip(self, drop_bytes: int, pause_seconds: float) -> None:
        self._transport.write(self._body[:drop_bytes])
        self._body = self._body[drop_bytes:]
        if self._body:
            self._later(pause_seconds, lambda: self._drip(drop_bytes, pause_seconds))
        else:
            self._finish()

    def _finish(self) -> None:
        ending, self._answer = self._answer and self._answer.ending, None
        if ending == "close":
            self._transport.close()
        elif ending == "reset":
            self._reset()

    def _reset(self) -> None:
        """RST instead of FIN: linger for zero seconds."""
        raw: socket.socket = self._transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        def act() -> None:
            action()
            self._answer_requests()

        self._timer = asyncio.get_running_loop().call_later(seconds, act)


async def listen(handler: Handler, tls: ssl.SSLContext | None) -> int:
    """Serves on a free port of 127.0.0.1 and returns the port."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: HttpProtocol(handler), "127.0.0.1", 0, ssl=tls, backlog=1024)
    return int(server.sockets[0].getsockname()[1])
