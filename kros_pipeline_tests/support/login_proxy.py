"""A stand-in for oauth2-proxy: lets nobody pass without a session, and sets the headers that name who it is.

As the original does, it removes such headers where a browser sent them, and answers its own paths itself.
"""

from __future__ import annotations

import http.client
import threading
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_SET_BY_THE_PROXY = ("x-forwarded-user", "x-forwarded-email", "x-forwarded-groups", "x-forwarded-preferred-username")


class LoginProxy(ThreadingHTTPServer):
    """Reads the proxy's own configuration. `sessions` has, by the cookie's value, e-mail and groups of a person.

    `passed` has the headers of each request that reached the web server.
    """

    daemon_threads = True

    def __init__(self, configuration: Path, behind: str, sessions: Mapping[str, tuple[str, list[str]]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.config: dict[str, Any] = tomllib.loads(configuration.read_text())
        self.behind, self.sessions = urlsplit(behind).netloc, sessions
        self.passed: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def who(self, cookies: str) -> tuple[str, list[str]] | None:
        """The person of a session, if the configuration lets it in."""
        sent = dict(part.strip().partition("=")[::2] for part in cookies.split(";"))
        person = self.sessions.get(sent.get(self.config["cookie_name"], ""))
        if person is None or person[0].rpartition("@")[2] not in self.config["email_domains"]:
            return None
        allowed = self.config.get("allowed_groups", [])
        return person if not allowed or set(allowed) & set(person[1]) else None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: LoginProxy

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        person = self.server.who(self.headers.get("Cookie", ""))
        if person is None:
            self._answer(302, {"Location": f"/oauth2/start?rd={self.path}"}, b"")
            return
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _SET_BY_THE_PROXY}
        headers |= {
            "X-Forwarded-User": person[0], "X-Forwarded-Email": person[0], "X-Forwarded-Groups": ",".join(person[1]),
        }  # fmt: skip
        self.server.passed.append({name.lower(): value for name, value in headers.items()})
        connection = http.client.HTTPConnection(self.server.behind, timeout=60)
        try:
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            kept = {name: value for name, value in answer.getheaders() if name.lower() == "content-type"}
            self._answer(answer.status, kept, answer.read())
        finally:
            connection.close()

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = _serve  # noqa: N815 - the names that http.server calls

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def login_proxy(
    configuration: Path, behind: str, sessions: Mapping[str, tuple[str, list[str]]]
) -> Iterator[LoginProxy]:
    """Start the stand-in, and end it with the block."""
    with LoginProxy(configuration, behind, sessions) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()
