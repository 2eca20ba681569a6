"""Kept HTTP clients for the recording storage, each pinned to an address that was checked.

A host is resolved here, all its addresses are judged, and its client connects to one of them: a name that resolves to
another address afterwards (DNS rebinding) gains nothing. Host header, SNI and certificate use the name, as always. A
client is replaced after five minutes, and where it cannot connect; requests that are under way finish on the old one.
Through a proxy, the proxy resolves and decides.
"""

import re
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

from pyreqwest.client import SyncClient
from pyreqwest.exceptions import ClientClosedError, DecodeError, PyreqwestError
from pyreqwest.response import SyncResponse

from ..core.clock import Clock
from ..core.errors import LocalFault
from ..core.http_client import describe_failure, find_causes, new_client_builder
from .public_addresses import resolve_public
from .request_targets import is_kept_as_given
from .storage_answers import BrokenTransfer, StorageAnswer, UnreadableHead
from .storage_route import Route, find_route
from .verbatim_client import send_verbatim

_CLIENT_SECONDS = 300.0
_OS_ERROR = re.compile(r"\(os error (\d{1,4})\)")
_NO_CONNECTION = "client error (Connect)"  # of hyper: nothing was sent


class _Answer:
    def __init__(self, response: SyncResponse):
        self._response = response
        self.status = response.status
        try:
            response.get_header_all("Location")
        except ValueError:
            raise UnreadableHead("a header is not ASCII") from None

    def header(self, name: str) -> str | None:
        try:
            return ", ".join(self._response.get_header_all(name)) or None
        except ValueError:
            return None

    def pieces(self) -> Iterator[memoryview]:
        reader = self._response.body_reader
        try:
            while (piece := reader.read_chunk()) is not None:
                yield memoryview(piece)
        except PyreqwestError as error:
            raise _broken(error) from None


@dataclass
class _Pinned:
    """A client of one host, the host's addresses, and when it was built (monotonic seconds)."""

    client: SyncClient
    addresses: list[str]
    built_at: float


class PinnedClients:
    """Sends GETs to the recording storage, for one run. Threads share the connections.

    With `loopback_allowed`, this machine's own addresses count as public ones. `headers` are sent with each request. A
    transfer in which nothing comes for `stall_seconds` is broken.
    """

    def __init__(
        self,
        connections: int,
        headers: Mapping[str, str],
        clock: Clock,
        *,
        loopback_allowed: bool,
        stall_seconds: float,
    ):
        self._connections, self._headers, self._clock = connections, headers, clock
        self._loopback_allowed, self._stall_seconds = loopback_allowed, stall_seconds
        self._routes: dict[str, Route] = {}
        self._rotations: Counter[str] = Counter()
        self._pinned: dict[str, _Pinned] = {}
        self._building = threading.Lock()

    def close(self) -> None:
        """Close the connections. A later request connects anew."""
        with self._building:
            clients, self._pinned = list(self._pinned.values()), {}
        for pinned in clients:
            pinned.client.close()

    @contextmanager
    def send(self, url: str, headers: Mapping[str, str]) -> Iterator[StorageAnswer]:
        """Send one GET as given, and give its answer. Raises `UrlRefused` and `BrokenTransfer`."""
        url = url.partition("#")[0]
        route = self._route(url)
        with ExitStack() as stack:
            answer: StorageAnswer | None = None
            if is_kept_as_given(url):
                with suppress(UnreadableHead):
                    answer = self._send_pinned(url, headers, route, stack)
            yield answer or stack.enter_context(
                send_verbatim(
                    url,
                    {**self._headers, **headers},
                    route,
                    loopback_allowed=self._loopback_allowed,
                    stall_seconds=self._stall_seconds,
                )
            )

    def _send_pinned(self, url: str, headers: Mapping[str, str], route: Route, stack: ExitStack) -> StorageAnswer:
        """Send to one address after the other until one can be connected to."""
        origin, unconnected = _origin(url), 0
        while True:
            pinned = self._find_or_build(origin, route)
            request = pinned.client.get(url).headers(headers).streamed_read_buffer_limit(0).build_streamed()
            try:
                return _Answer(stack.enter_context(request))
            except ClientClosedError:
                continue  # another thread closed it a moment ago
            except DecodeError as error:
                raise UnreadableHead(describe_failure(error)) from None
            except PyreqwestError as error:
                unconnected += 1
                if _NO_CONNECTION not in find_causes(error) or not self._replace(origin, pinned, unconnected):
                    raise _broken(error) from None

    def _replace(self, origin: str, pinned: _Pinned, unconnected: int) -> bool:
        """Drop a client that cannot connect, and return whether its host has an address that was not tried yet."""
        with self._building:
            if self._pinned.get(origin) is pinned:
                del self._pinned[origin]
                self._rotations[origin] += 1
        return unconnected < len(pinned.addresses)

    def _route(self, url: str) -> Route:
        origin = _origin(url)
        if origin not in self._routes:
            self._routes[origin] = find_route(origin)
        return self._routes[origin]

    def _find_or_build(self, origin: str, route: Route) -> _Pinned:
        with self._building:
            pinned = self._pinned.get(origin)
            if pinned is None or self._clock.monotonic() - pinned.built_at > _CLIENT_SECONDS:
                pinned = self._pinned[origin] = self._build(origin, route)
            return pinned

    def _build(self, origin: str, route: Route) -> _Pinned:
        try:
            builder = new_client_builder(self._connections, proxy=route.proxy, ca_bundle=route.read_ca_bundle())
        except (OSError, ValueError, PyreqwestError):  # its text may show a password of the proxy
            raise LocalFault(
                "the proxy or the file of certificates that the environment names cannot be used: look at HTTPS_PROXY, "
                "ALL_PROXY and REQUESTS_CA_BUNDLE"
            ) from None
        builder = builder.read_timeout(timedelta(seconds=self._stall_seconds)).default_headers(self._headers)
        addresses: list[str] = []
        if not route.proxy:
            host = urlsplit(origin).hostname or ""
            addresses = resolve_public(host, loopback_allowed=self._loopback_allowed)
            # Port 0 keeps the URL's port. Of a host that is an address, there is nothing to resolve.
            builder = builder.resolve(host, addresses[self._rotations[origin] % len(addresses)], 0)
        return _Pinned(builder.build(), addresses, self._clock.monotonic())


def _broken(error: PyreqwestError) -> BrokenTransfer:
    found = _OS_ERROR.search(" ".join(find_causes(error)))
    return BrokenTransfer(describe_failure(error), int(found.group(1)) if found else None)


def _origin(url: str) -> str:
    """Return scheme and authority of a URL that the policy allows."""
    return "/".join(re.split(r"[/?#]", url, maxsplit=3)[:3]).lower()
