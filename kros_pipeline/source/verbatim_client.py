"""Send a request whose URL the kept client would rewrite, or whose answer it cannot read: with http.client, as given.

It connects to an address that was checked, and once for each request: few URLs need it.
"""

import http.client
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import SplitResult, unquote, urlsplit

from urllib3.util import make_headers

from ..core.http_client import CONNECT_SECONDS
from .public_addresses import resolve_public
from .request_targets import request_target
from .storage_answers import BrokenTransfer, StorageAnswer
from .storage_route import Route

_PIECE_BYTES = 1 << 18
_MAX_INTERIM_ANSWERS = 20
_DEFAULT_PORTS = {"http": 80, "https": 443}


class _Response(http.client.HTTPResponse):
    """Passes over all interim answers; http.client itself passes over 100 only."""

    def begin(self) -> None:
        """Read the head of the final answer."""
        for _ in range(_MAX_INTERIM_ANSWERS):
            super().begin()
            if not 100 <= self.status < 200 or self.status == http.client.SWITCHING_PROTOCOLS:
                return
            self.headers = self.msg = None  # type: ignore[assignment]  # as before the first head
        raise http.client.HTTPException("too many interim answers")


class _Answer:
    def __init__(self, response: http.client.HTTPResponse):
        self._response = response
        self.status = response.status

    def header(self, name: str) -> str | None:
        return self._response.getheader(name)

    def pieces(self) -> Iterator[memoryview]:
        try:
            while piece := self._response.read1(_PIECE_BYTES):
                yield memoryview(piece)
            if self._response.length:
                raise BrokenTransfer("the connection was closed")
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise _broken(error) from None


@contextmanager
def send_verbatim(
    url: str, headers: Mapping[str, str], route: Route, *, loopback_allowed: bool, stall_seconds: float
) -> Iterator[StorageAnswer]:
    """Send one GET, and give its answer. Raises `UrlRefused` and `BrokenTransfer`."""
    parts = urlsplit(url)
    try:
        connection = _connect(parts, route, loopback_allowed=loopback_allowed, stall_seconds=stall_seconds)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _broken(error) from None
    try:
        target = request_target(url)
        if route.proxy and parts.scheme == "http":
            target = f"http://{parts.netloc}{target}"
        try:
            connection.putrequest("GET", target, skip_host=True, skip_accept_encoding=True)
            for name, value in {"Host": _host_header(parts), **headers, "Connection": "close"}.items():
                connection.putheader(name, value)
            connection.endheaders()
            connection.response_class = _Response
            response = connection.getresponse()
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise _broken(error) from None
        with response:  # it holds the socket, whatever the connection says
            yield _Answer(response)
    finally:
        connection.close()


def _connect(
    parts: SplitResult, route: Route, *, loopback_allowed: bool, stall_seconds: float
) -> http.client.HTTPConnection:
    host, port = parts.hostname or "", parts.port or _DEFAULT_PORTS[parts.scheme]
    context = ssl.create_default_context(cafile=route.ca_bundle) if parts.scheme == "https" else None
    if route.proxy:
        return _connect_through(urlsplit(route.proxy), host, port, context, stall_seconds)
    failure: OSError = OSError("no address")
    for address in resolve_public(host, loopback_allowed=loopback_allowed):
        try:
            sock = socket.create_connection((address, port), timeout=CONNECT_SECONDS)
        except OSError as error:
            failure = error
            continue
        connection = http.client.HTTPConnection(host, port)
        connection.sock = context.wrap_socket(sock, server_hostname=host) if context else sock
        connection.sock.settimeout(stall_seconds)
        return connection
    raise failure


def _connect_through(
    proxy: SplitResult, host: str, port: int, context: ssl.SSLContext | None, stall_seconds: float
) -> http.client.HTTPConnection:
    """Connect to a proxy, which resolves the host and decides."""
    if proxy.scheme != "http" or not proxy.hostname:
        raise BrokenTransfer(f"a URL of this form cannot be sent through a proxy of the kind {proxy.scheme[:10]!r}")
    at = proxy.hostname, proxy.port or _DEFAULT_PORTS["http"]
    if context is None:
        return http.client.HTTPConnection(*at, timeout=stall_seconds)
    user, password = unquote(proxy.username or ""), unquote(proxy.password or "")
    connection = http.client.HTTPSConnection(*at, timeout=stall_seconds, context=context)
    connection.set_tunnel(host, port, make_headers(proxy_basic_auth=f"{user}:{password}") if user else {})
    return connection


def _host_header(parts: SplitResult) -> str:
    return parts.netloc.removesuffix(f":{_DEFAULT_PORTS[parts.scheme]}")


def _broken(error: Exception) -> BrokenTransfer:
    return BrokenTransfer(type(error).__name__, error.errno if isinstance(error, OSError) else None)
