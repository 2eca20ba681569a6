"""What both HTTP clients share: a session that adds nothing by itself, and a body read under a deadline."""

import ssl
import time
from collections.abc import Callable, Mapping
from functools import cache
from threading import Lock, Semaphore
from typing import Any, Protocol

import requests
from requests.adapters import HTTPAdapter
from requests.utils import requote_uri
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.util.ssl_ import create_urllib3_context

CONNECT_SECONDS = 5.0
READ_SECONDS = 30.0
_PIECE_BYTES = 1 << 18
_MOMENT_SECONDS = 0.05
_ONE_AT_A_TIME = Lock()


class BrokenBody(Exception):
    """The body ended early, stopped, or would not end."""


class Sink(Protocol):
    """Where a body goes."""

    def write(self, piece: bytes, /) -> object:
        """Takes the next piece."""


class TLSConnection(HTTPSConnection):
    """A bundle of certificates is read once for all connections: each time it takes 17 ms of CPU."""

    def connect(self) -> None:
        """Called by the base class."""
        if self.ssl_context is None and self.ca_certs is not None and self.cert_file is None:
            self.ssl_context, self.ca_certs = _trusting(self.ca_certs), None
        super().connect()


def _trusting(bundle: str) -> ssl.SSLContext:
    with _ONE_AT_A_TIME:
        return _read_bundle(bundle)


@cache
def _read_bundle(bundle: str) -> ssl.SSLContext:
    context = create_urllib3_context()
    context.load_verify_locations(bundle)
    return context


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = TLSConnection


class Adapter(HTTPAdapter):
    """An adapter for requests, with such connections. Through a proxy they are urllib3's own."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Called by the base class."""
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": HTTPConnectionPool, "https": _TLSPool}


def new_session(
    connections: int, headers: dict[str, str], adapter_of: Callable[..., HTTPAdapter] = Adapter
) -> requests.Session:
    """A session without retries of its own, whose requests follow no redirect and ask for the bytes as they are.

    The `auth` keeps ~/.netrc out, which would add a header that presigned URLs refuse; a company's proxy settings stay.
    """
    session = requests.Session()
    adapter = adapter_of(pool_maxsize=connections, pool_block=True, max_retries=0)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    session.headers = {"Accept-Encoding": "identity", **headers}  # a truncated gzip would pass for a whole one
    session.auth = lambda request: request
    return session


class Gets:
    """GETs that differ in their URLs alone, without a redirect, their bodies not read yet.

    What requests works out for each anew (proxies, certificates, headers, cookies) is worked out once for each origin:
    that is an eighth of what it takes to move a recording of 2 MB.
    """

    def __init__(self, session: requests.Session):
        self._session = session
        self._alike: dict[str, tuple[requests.PreparedRequest, Mapping[str, Any]]] = {}

    def send(self, url: str, *, timeout: tuple[float, float]) -> requests.Response:
        """The answer's head. Raises what requests raises."""
        origin = "/".join(url.split("/", 3)[:3])
        if origin not in self._alike:
            prepared = self._session.prepare_request(requests.Request("GET", url))
            self._alike[origin] = prepared, self._session.merge_environment_settings(url, {}, True, None, None)
        prepared, options = self._alike[origin]
        request = prepared.copy()
        request.url = requote_uri(url)
        return self._session.get_adapter(url).send(request, timeout=timeout, **options)


def read_body(response: requests.Response, into: Sink, *, most_bytes: int, seconds: float) -> int:
    """Copies the raw body into a sink and returns its length. Raises `BrokenBody`.

    A socket's timeout starts anew with each byte, so that a server that drips would hold a thread for hours: this
    deadline is for the whole body.
    """
    deadline = time.monotonic() + seconds
    length = 0
    try:
        while piece := response.raw.read1(_PIECE_BYTES):
            length += len(piece)
            if length > most_bytes:
                raise BrokenBody(f"the body is larger than {most_bytes:,} bytes")
            if time.monotonic() > deadline:
                raise BrokenBody(f"the body did not end within {seconds:g} seconds, {length:,} bytes had come")
            into.write(piece)
    except (HTTPError, OSError) as error:
        raise BrokenBody(f"the body broke off after {length:,} bytes ({type(error).__name__})") from None
    return length


def read_into(response: requests.Response, memory: memoryview, *, seconds: float, turns: Semaphore) -> int:
    """As `read_body`, into memory that is as long as the declared body; what comes is written there and nowhere else.

    urllib3 makes bytes first, and its `readinto` copies them: with many threads that is a third of a download's CPU.
    `turns` lets few threads at once read bodies that come as fast as they can be read: with TLS each piece of 16 KB
    gives the interpreter away and takes it back, and fifty threads spend a tenth of all CPU on waking each other. A
    body that takes longer than a moment waits for the network; no other waits longer than that moment for its turn.
    """
    answer: Any = response.raw._fp  # http.client's; its `length` is what is still to come
    began, length, has_turn = time.monotonic(), 0, False
    try:
        while length < len(memory) and (came := answer.fp.readinto1(memory[length:])):
            answer.length -= came
            if not length and answer.length:  # it begins to come, and there is more
                has_turn = turns.acquire(timeout=_MOMENT_SECONDS)
                turn_ends = time.monotonic() + _MOMENT_SECONDS
            length += came
            now = time.monotonic()
            if now - began > seconds:
                raise BrokenBody(f"the body did not end within {seconds:g} seconds, {length:,} bytes had come")
            if has_turn and now > turn_ends:
                turns.release()
                has_turn = False
        if length == len(memory):
            response.raw.read()  # nothing; it gives the connection back
    except (HTTPError, OSError) as error:
        raise BrokenBody(f"the body broke off after {length:,} bytes ({type(error).__name__})") from None
    finally:
        if has_turn:
            turns.release()
    return length


def declared_length(response: requests.Response) -> int | None:
    """The Content-Length, where there is a sound one; beside chunks it means nothing (RFC 9112, 6.3)."""
    if "Transfer-Encoding" in response.headers:
        return None
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isdecimal() and len(text) < 20 else None  # Python reads no number of 5,000 digits
