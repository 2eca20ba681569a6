"""Decide who is answered: nobody but this machine, or whom the reverse proxy has logged in.

Requests that another web site makes in a reviewer's browser are refused: they could play calls under the reviewer's
name, or post a review.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from ..core.browse_settings import BrowseSettings, Role
from ..core.settings import is_loopback

_MAX_USER_CHARACTERS = 200
_SAFE_METHODS = frozenset({"GET", "HEAD"})


class Refused(Exception):
    """A request is not answered. The message says why, to the person who sent it."""

    status = 403


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks, and what they may do."""

    name: str
    role: Role

    @property
    def may_listen(self) -> bool:
        """Whether audio is served."""
        return self.role == Role.LISTEN

    @property
    def sees_numbers(self) -> bool:
        """Whether phone numbers are shown as they are."""
        return self.role != Role.READ_WITHOUT_NUMBERS


class Access:
    """ASGI middleware that puts a `Viewer` into the request's state, or refuses the request.

    `local_user` is who looks where nobody logs in: the person who started the page on this machine.
    """

    def __init__(self, app: ASGIApp, *, settings: BrowseSettings, local_user: str):
        self._app, self._settings, self._local_user = app, settings, local_user

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        try:
            scope.setdefault("state", {})["viewer"] = self._find_viewer(scope)
        except Refused as error:
            await PlainTextResponse(f"{error}\n", status_code=error.status)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _find_viewer(self, scope: Scope) -> Viewer:
        headers = Headers(scope=scope)
        viewer = self._logged_in(scope, headers) if self._settings.has_login else self._local(headers)
        _refuse_other_sites(scope["method"], headers)
        return viewer

    def _local(self, headers: Mapping[str, str]) -> Viewer:
        """Return the person at this machine. A foreign host name would be another site's, rebound to this address."""
        if not is_loopback(_hostname(headers.get("host", ""))):
            raise Refused("This page is for this machine only: open it as http://127.0.0.1 with its port.")
        return Viewer(self._local_user, Role.LISTEN)

    def _is_proxy(self, scope: Scope) -> bool:
        peer = ipaddress.ip_address((scope.get("client") or ("0.0.0.0", 0))[0])  # noqa: S104 - of no network
        address = peer.ipv4_mapped or peer if isinstance(peer, ipaddress.IPv6Address) else peer
        return any(address in network for network in self._settings.proxies)

    def _logged_in(self, scope: Scope, headers: Headers) -> Viewer:
        if not self._settings.is_unix_socket and not self._is_proxy(scope):
            raise Refused("This page is reached through its reverse proxy only, where you log in.")
        names = headers.getlist(self._settings.user_header)
        name = _decode(names[0]).strip() if len(names) == 1 else ""
        if not name or len(name) > _MAX_USER_CHARACTERS or not name.isprintable():
            raise Refused(f"The reverse proxy did not say who you are: {self._settings.user_header} is missing or odd.")
        role = self._settings.role_of(name)
        if role is None:
            raise Refused(f"{name} has no role here. Ask whoever runs this page to add it to KROS_BROWSE_USERS.")
        return Viewer(name, role)


def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:  # like `[::1`
        return ""


def _decode(header: str) -> str:
    """Return a header's text as UTF-8, which proxies send; Starlette reads it as Latin-1."""
    return header.encode("latin-1").decode("utf-8", "replace")


def _refuse_other_sites(method: str, headers: Mapping[str, str]) -> None:
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if method in _SAFE_METHODS:
        # A link from elsewhere may open a page; nothing else may be asked for from there, nor put into a frame.
        opens_page = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") in (None, "document")
        if site in ("cross-site", "same-site") and not opens_page:
            raise Refused("Another web site asked for this. Open the page itself.")
        return
    is_own = site == "same-origin" if site is not None else _is_origin_of(origin, headers.get("host"))
    if not is_own:
        raise Refused("This was not sent by the page itself. Open the page and try again.")


def _is_origin_of(origin: str | None, host: str | None) -> bool:
    return bool(host) and origin in (f"http://{host}", f"https://{host}")


def viewer_of(request: Request) -> Viewer:
    """Return who sent a request."""
    viewer: Viewer = request.state.viewer
    return viewer
