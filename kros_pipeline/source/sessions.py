"""HTTP sessions that neither retry nor add headers of their own."""

import ssl
from collections.abc import Callable, Mapping
from functools import cache
from threading import Lock
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.utils import requote_uri
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPSConnection
from urllib3.util.ssl_ import create_urllib3_context

CONNECT_SECONDS = 5.0
READ_SECONDS = 30.0
_READING_BUNDLE = Lock()


class TLSConnection(HTTPSConnection):
    """A connection that reads a bundle of certificates once for all: each time it takes 17 ms of CPU."""

    def connect(self) -> None:
        """Connect, with the shared TLS context. Called by the base class."""
        if self.ssl_context is None and self.ca_certs is not None and self.cert_file is None:
            self.ssl_context, self.ca_certs = _trust(self.ca_certs), None
        super().connect()


def _trust(bundle: str) -> ssl.SSLContext:
    with _READING_BUNDLE:
        return _read_bundle(bundle)


@cache
def _read_bundle(bundle: str) -> ssl.SSLContext:
    context = create_urllib3_context()
    context.load_verify_locations(bundle)
    return context


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = TLSConnection


class Adapter(HTTPAdapter):
    """An adapter for requests that uses such connections. Through a proxy they are urllib3's own."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Make the pools. Called by the base class."""
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": HTTPConnectionPool, "https": _TLSPool}


def new_session(
    connections: int, headers: dict[str, str], adapter_of: Callable[..., HTTPAdapter] = Adapter
) -> requests.Session:
    """Make a session without retries, whose requests ask for the bytes as they are.

    The `auth` keeps ~/.netrc out, which would add a header that presigned URLs refuse; a company's proxy settings stay.
    """
    session = requests.Session()
    adapter = adapter_of(pool_maxsize=connections, pool_block=True, max_retries=0)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    session.headers = {"Accept-Encoding": "identity", **headers}  # a truncated gzip would pass for a whole one
    session.auth = lambda request: request
    return session


class PreparedGets:
    """Sends GETs that differ in their URLs only, without following a redirect, and without reading their bodies.

    What requests computes for each of them (proxies, certificates, headers, cookies) is computed once per origin: it is
    an eighth of the CPU that archiving a recording of 2 MB takes.
    """

    def __init__(self, session: requests.Session):
        self._session = session
        self._by_origin: dict[str, tuple[requests.PreparedRequest, Mapping[str, Any]]] = {}

    def send(self, url: str, *, timeout: tuple[float, float]) -> requests.Response:
        """Send one GET and return the answer's head. Raises what requests raises."""
        origin = "/".join(url.split("/", 3)[:3])
        if origin not in self._by_origin:
            prepared = self._session.prepare_request(requests.Request("GET", url))
            options: Mapping[str, Any] = self._session.merge_environment_settings(url, {}, True, None, None)
            self._by_origin[origin] = prepared, options
        prepared, shared = self._by_origin[origin]
        request = prepared.copy()
        request.url = requote_uri(url)
        return self._session.get_adapter(url).send(request, timeout=timeout, **shared)
