"""A server between the pipeline and the simulator that sends exactly the bytes that a test gives it.

It passes every request on, and every answer back, until a test makes it misbehave: then what a test makes of the true
body goes over the wire as it is, headers and all, and the connection ends.
"""

from __future__ import annotations

import http.client
import re
import socket
import socketserver
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

RESET = object()
"""A piece: the connection is reset, not closed."""
Piece = bytes | float | object
"""Bytes are sent, a number is a pause in seconds."""
Build = Callable[[bytes], list[Piece]]
"""From the true body to what is sent, status line and headers included."""


def head(*lines: str, status: str = "200 OK") -> bytes:
    """A status line and headers; none is added but `Connection: close`."""
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "Connection: close", "", ""]).encode("latin-1")


def sized(body: bytes, *lines: str, status: str = "200 OK", length: int | str | None = None) -> list[Piece]:
    """A body under a Content-Length, by default its own."""
    return [head(f"Content-Length: {len(body) if length is None else length}", *lines, status=status), body]


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


@dataclass(frozen=True)
class _Script:
    path: re.Pattern[str]
    build: Build
    attempts: int | None


class RawServer:
    """A context manager: `with RawServer(simulator.storage_origin) as server: ... server.origin`."""

    def __init__(self, upstream: str) -> None:
        self._upstream = urlsplit(upstream).netloc
        self._script: _Script | None = None
        self._met: Counter[str] = Counter()
        self._lock = threading.Lock()
        owner = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                owner._serve(self)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            block_on_close = False
            request_queue_size = 64

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def misbehave(self, path: str, build: Build, attempts: int | None) -> None:
        """For paths that match, the query included: the first n requests of each, or every one."""
        with self._lock:
            self._script, self._met = _Script(re.compile(path), build, attempts), Counter()

    def behave(self) -> None:
        """Passes everything on again."""
        with self._lock:
            self._script = None

    def __enter__(self) -> RawServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _serve(self, connection: Any) -> None:
        method, target, headers, body = _request(connection.rfile)
        if not method:
            return
        answer = self._passed_on(method, target, headers, body)
        with self._lock:
            script = self._script
            is_hit = script is not None and script.path.search(target) is not None
            if script is not None and is_hit:
                subject = target.partition("?")[0] if "X-Amz" in target else target
                self._met[subject] += 1
                is_hit = script.attempts is None or self._met[subject] <= script.attempts
        pieces = script.build(answer.body) if script is not None and is_hit else answer.pieces
        with suppress(OSError):  # the client had seen enough
            send_pieces(connection.connection, pieces)

    def _passed_on(self, method: str, target: str, headers: dict[str, str], body: bytes) -> _Answer:
        upstream = http.client.HTTPConnection(self._upstream, timeout=30)
        try:
            upstream.request(method, target, body or None, headers)
            response = upstream.getresponse()
            content = response.read()
        finally:
            upstream.close()
        kept = [
            f"{name}: {value}"
            for name, value in response.getheaders()
            if name.lower() not in ("content-length", "connection", "transfer-encoding")
        ]
        return _Answer(content, sized(content, *kept, status=f"{response.status} {response.reason}"))


def send_pieces(connection: socket.socket, pieces: list[Piece]) -> None:
    """Send bytes, wait, or reset the connection, in the order of the pieces."""
    for piece in pieces:
        if isinstance(piece, bytes):
            connection.sendall(piece)
        elif isinstance(piece, float):
            time.sleep(piece)
        else:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
            return


@dataclass(frozen=True)
class _Answer:
    body: bytes
    pieces: list[Piece]


def _request(file: Any) -> tuple[str, str, dict[str, str], bytes]:
    """Method, target, headers without those of the connection, body; an empty method where none came."""
    first = file.readline().decode("latin-1").split()
    if len(first) != 3:
        return "", "", {}, b""
    headers: dict[str, str] = {}
    while line := file.readline().decode("latin-1").strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = file.read(int(headers.pop("content-length", "0")))
    return first[0], first[1], {n: v for n, v in headers.items() if n not in ("host", "connection")}, body
