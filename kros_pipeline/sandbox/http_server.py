"""Serve HTTP/1.1 on asyncio, with only what the simulator needs.

A handler is a function from `Request` to `Answer` and does no I/O: how an answer misbehaves on the wire (late, cut,
slow, reset) is part of the answer. One event loop instead of a thread for each connection: delayed answers cost no
CPU, and one process on one core sends about 10,000 small answers or 2 GB of audio per second.
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

_CHUNK_BYTES = 120 * 1024  # measured: above 128 KB the allocator maps and unmaps each buffer, which halves the speed
_SLOW_PIECES = 20
_LARGEST_HEAD_BYTES = 64 * 1024
_SIMULATOR_BUG = b'{"error": "the simulator raised an exception", "code": "SIMULATOR_BUG"}'
Ending = Literal["keep", "close", "reset", "silence"]
_REASONS = {status.value: status.phrase for status in HTTPStatus}


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request."""

    method: str
    path: str
    """As sent: percent-encoded, without the query."""
    raw_query: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes = b""
    is_first: bool = False
    """Whether it is the first request of its connection."""

    @property
    def query(self) -> dict[str, str]:
        """Return the query's parameters; the last value of a name wins."""
        return dict(parse_qsl(self.raw_query, keep_blank_values=True))


@dataclass(slots=True)
class Answer:
    """One HTTP response, and how it misbehaves on the wire."""

    status: int = 200
    body: bytes | memoryview = b""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    delay_seconds: float = 0.0
    """Delay before the first byte."""
    body_seconds: float = 0.0
    """Time over which the body is sent in pieces; 0: at once."""
    declared_bytes: int | None = -1
    """Content-Length: -1 means the length of the body, None sends no such header."""
    ending: Ending = "keep"
    """What happens to the connection afterwards. `silence`, and `reset` without a body, send nothing."""


Handler = Callable[[Request], Answer]


class HttpProtocol(asyncio.Protocol):
    """Serves one connection."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._is_new = True
        self._received = bytearray()
        self._body = memoryview(b"")
        self._answer: Answer | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_writable = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport (asyncio's callback)."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=_CHUNK_BYTES)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel what is still to be sent (asyncio's callback)."""
        if self._timer:
            self._timer.cancel()
        self._body = memoryview(b"")
        self._is_writable = False

    def data_received(self, data: bytes) -> None:
        """Answer the requests that are complete (asyncio's callback)."""
        self._received += data
        self._answer_requests()

    def pause_writing(self) -> None:
        """Stop writing, because the client reads slowly (asyncio's callback)."""
        self._is_writable = False

    def resume_writing(self) -> None:
        """Continue with the body (asyncio's callback)."""
        self._is_writable = True
        if self._body and self._answer and not self._answer.body_seconds:
            self._send_body()
            self._answer_requests()

    def _answer_requests(self) -> None:
        while self._answer is None and not self._transport.is_closing():
            request = self._take_request()
            if request is None:
                return
            try:
                self._answer = self._handler(request)
            except Exception:  # a bug of the simulator must not look like an injected fault
                traceback.print_exc(file=sys.stderr)
                self._answer = Answer(500, _SIMULATOR_BUG, ending="close")
            if request.headers.get("connection", "").lower() == "close" and self._answer.ending == "keep":
                self._answer.ending = "close"
            if self._answer.delay_seconds:
                self._call_later(self._answer.delay_seconds, partial(self._send, self._answer))
            else:
                self._send(self._answer)

    def _take_request(self) -> Request | None:
        """Take the first complete request from the bytes received; None if there is none yet."""
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
        request = Request(method, path, raw_query, headers, body, is_first=self._is_new)
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
        if answer.body_seconds:
            self._transport.write(head.encode("latin-1"))
            self._body = memoryview(answer.body)
            self._send_piece(max(1, len(answer.body) // _SLOW_PIECES), answer.body_seconds / _SLOW_PIECES)
        elif len(answer.body) <= _CHUNK_BYTES:
            self._transport.write(b"".join((head.encode("latin-1"), answer.body)))
            self._finish()
        else:
            self._transport.write(head.encode("latin-1"))
            self._body = memoryview(answer.body)
            self._send_body()

    def _send_body(self) -> None:
        """Send as much as the client accepts; `resume_writing` continues. Bodies are never copied as a whole."""
        while self._body and self._is_writable:
            chunk, self._body = self._body[:_CHUNK_BYTES], self._body[_CHUNK_BYTES:]
            self._transport.write(chunk)
        if not self._body:
            self._finish()

    def _send_piece(self, piece_bytes: int, pause_seconds: float) -> None:
        self._transport.write(self._body[:piece_bytes])
        self._body = self._body[piece_bytes:]
        if self._body:
            self._call_later(pause_seconds, lambda: self._send_piece(piece_bytes, pause_seconds))
        else:
            self._finish()

    def _finish(self) -> None:
        ending, self._answer = self._answer and self._answer.ending, None
        if ending == "close":
            self._transport.close()
        elif ending == "reset":
            self._reset()

    def _reset(self) -> None:
        """Send RST instead of FIN: a linger time of zero seconds does that."""
        raw: socket.socket = self._transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def _call_later(self, seconds: float, action: Callable[[], None]) -> None:
        def run_action() -> None:
            action()
            self._answer_requests()

        self._timer = asyncio.get_running_loop().call_later(seconds, run_action)


async def listen(handler: Handler, tls: ssl.SSLContext | None) -> int:
    """Serve on a free port of 127.0.0.1. Returns the port."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: HttpProtocol(handler), "127.0.0.1", 0, ssl=tls, backlog=1024)
    return int(server.sockets[0].getsockname()[1])
