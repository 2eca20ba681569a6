"""A recording storage of a test: it answers each request with the pieces that a function of the test gives."""

from __future__ import annotations

import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from kros_pipeline_tests.support.raw_server import Piece, send_pieces


@dataclass(frozen=True)
class Request:
    """A request as it came: its target is not decoded. `number` counts from 1."""

    number: int
    target: str
    headers: dict[str, str]


Answer = Callable[[Request], list[Piece]]


class StorageServer:
    """`with StorageServer(answer) as storage: ... storage.origin`. Each connection ends after one answer."""

    def __init__(self, answer: Answer, address: str = "127.0.0.1", port: int = 0) -> None:
        self.requests: list[Request] = []
        self.names_indicated: list[str | None] = []
        self.most_at_once = self._at_once = 0
        self._lock = threading.Lock()
        owner = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with owner._counted(), suppress(OSError):
                    first = self.rfile.readline().decode("latin-1").split()
                    headers: dict[str, str] = {}
                    while line := self.rfile.readline().decode("latin-1").strip():
                        name, _, value = line.partition(":")
                        headers[name.title()] = value.strip()
                    if len(first) == 3:
                        with owner._lock:
                            request = Request(len(owner.requests) + 1, first[1], headers)
                            owner.requests.append(request)
                        send_pieces(self.connection, answer(request))

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            block_on_close = False
            request_queue_size = 128

        self._server = Server((address, port), Handler)
        self.port: int = self._server.server_address[1]
        self.scheme = "http"
        self._address = address
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def origin(self) -> str:
        """Scheme, address and port."""
        return f"{self.scheme}://{self._address}:{self.port}"

    def use_tls(self, context: ssl.SSLContext) -> None:
        """Speak TLS, and note the name that each client asks for."""
        context.sni_callback = lambda _, name, __: self.names_indicated.append(name)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.scheme = "https"

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            yield
        finally:
            with self._lock:
                self._at_once -= 1

    @property
    def running(self) -> int:
        """How many requests are being answered now."""
        with self._lock:
            return self._at_once

    def __enter__(self) -> StorageServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
