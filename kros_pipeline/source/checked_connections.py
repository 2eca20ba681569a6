"""Connections to public addresses only: a name is resolved once, checked, and connected to at that very address.

So a name that resolves to another address afterwards (DNS rebinding) gains nothing. Host header, SNI and
certificate use the name, as always. A connection that is kept alive is not checked again. Through a proxy, the proxy
resolves and decides.

This is the only file that overrides `_new_conn`, a private method of urllib3. Where urllib3 lacks it, or connects
without it, the connection is refused: an address that was not checked must not be used.
"""

import socket
from functools import partial
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError, NameResolutionError
from urllib3.util.connection import allowed_gai_family

from ..core.errors import UrlRefused
from .public_addresses import may_send_audio
from .sessions import TLSConnection

_UNCHECKED = "this version of urllib3 connects without the check of the address: no audio is fetched"


class _Checked(HTTPConnection):
    def __init__(self, *args: Any, loopback_allowed: bool, **options: Any):
        super().__init__(*args, **options)
        self._loopback_allowed = loopback_allowed
        self._is_checked = False

    def connect(self) -> None:
        """Connect, and refuse a connection whose address was not checked. Called by urllib3's pool."""
        if not hasattr(HTTPConnection, "_new_conn"):
            raise UrlRefused(_UNCHECKED)
        self._is_checked = False
        super().connect()
        if not self._is_checked:
            self.close()
            raise UrlRefused(_UNCHECKED)

    def _new_conn(self) -> socket.socket:
        """Connect to the first address that answers. Raises `UrlRefused` if one of the addresses is not public."""
        name, addresses = self.host, self._addresses()
        self._is_checked = True
        failure: HTTPError | None = None
        for address in addresses:
            self.host = address  # urllib3 connects to it; the name is put back at once
            try:
                return super()._new_conn()
            except HTTPError as error:
                failure = error
            finally:
                self.host = name
        raise failure or NameResolutionError(name, self, socket.gaierror("no address"))

    def _addresses(self) -> list[str]:
        try:
            found = socket.getaddrinfo(self.host, self.port, allowed_gai_family(), socket.SOCK_STREAM)
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from None
        addresses = list(dict.fromkeys(str(place[0]) for *_, place in found))
        for address in addresses:
            if not may_send_audio(address, loopback_allowed=self._loopback_allowed):
                raise UrlRefused(f"{self.host} resolves to {address}, which is not a public address")
        return addresses


class _CheckedTLS(_Checked, TLSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Checked


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _CheckedTLS


class CheckedAdapter(HTTPAdapter):
    """An adapter for requests. With `loopback_allowed`, this machine's own addresses count as public ones."""

    def __init__(self, *, loopback_allowed: bool, **options: Any):
        self._loopback_allowed = loopback_allowed
        super().__init__(**options)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Make the pools. Called by the base class; a proxy's pools are made elsewhere."""
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = {
            "http": partial(_Pool, loopback_allowed=self._loopback_allowed),
            "https": partial(_TLSPool, loopback_allowed=self._loopback_allowed),
        }
