"""A proxy before a real S3 server that answers as AWS does: redirects, conflicts, throttling, lost answers.

A script is asked for each request. It returns what to do instead of passing the request on, or None. `on_answer` is
asked for each answer of the server, and returns what to send in its place, or None.
"""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Request:
    """One request, as it came; names of headers are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_audio_put(self) -> bool:
        return self.method == "PUT" and "/audio/" in self.target.replace("%2F", "/")


@dataclass(frozen=True)
class Answer:
    """An answer of S3 that is sent in place of the server's."""

    status: int
    code: str = ""
    message: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    region: str = ""

    @property
    def body(self) -> bytes:
        if not self.code:
            return b""
        region = f"<Region>{self.region}</Region>" if self.region else ""
        return f"<Error><Code>{self.code}</Code><Message>{self.message}</Message>{region}</Error>".encode()


@dataclass(frozen=True)
class LoseAnswer:
    """Pass the request on, and close the connection without an answer."""


@dataclass(frozen=True)
class Reset:
    """Close the connection, and pass nothing on."""


Script = Callable[[Request], "Answer | LoseAnswer | Reset | None"]


class S3Proxy(ThreadingHTTPServer):
    """Passes requests on to `behind`, by `forward` where it is given. `requests` has what came, in its order."""

    daemon_threads = True

    def __init__(self, behind: str, forward: Callable[[Request], Request] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind = urlsplit(behind).netloc
        self.forward = forward
        self.script: Script = lambda _: None
        self.on_answer: Callable[[Request, int], Answer | None] = lambda _, __: None
        self.requests: list[Request] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: Any) -> None:
        pass  # a client that goes away in the middle is no news


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: S3Proxy

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers, body)
        self.server.requests.append(request)
        what = self.server.script(request)
        if isinstance(what, Reset):
            self._close()
            return
        if isinstance(what, Answer):
            self._send(what.status, dict(what.headers), what.body, len(what.body))
            return
        answer, answered = self._pass_on(request)
        if isinstance(what, LoseAnswer):
            self._close()
            return
        if (other := self.server.on_answer(request, answer.status)) is not None:
            self._send(other.status, dict(other.headers), other.body, len(other.body))
            return
        kept = {
            name: value
            for name, value in answer.getheaders()
            if name.lower() not in ("connection", "transfer-encoding", "content-length")
        }
        self._send(answer.status, kept, answered, int(answer.getheader("Content-Length") or len(answered)))

    def _pass_on(self, request: Request) -> tuple[http.client.HTTPResponse, bytes]:
        request = self.server.forward(request) if self.server.forward is not None else request
        connection = http.client.HTTPConnection(self.server.behind, timeout=60)
        try:
            connection.request(request.method, request.target, request.body, dict(request.headers))
            answer = connection.getresponse()
            return answer, answer.read()
        finally:
            connection.close()

    def _send(self, status: int, headers: dict[str, str], body: bytes, length: int) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _close(self) -> None:
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815 - the names that http.server calls

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def s3_proxy(behind: str, forward: Callable[[Request], Request] | None = None) -> Iterator[S3Proxy]:
    """Start a proxy, and end it with the block."""
    with S3Proxy(behind, forward) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()
