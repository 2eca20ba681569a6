"""Make every answer harmless, also one that failed: headers on each, and no speech or number of an error anywhere.

The headers keep a hostile transcript harmless: no script but the page's own, no frame, no cache.
"""

import logging
import traceback
from collections.abc import Callable

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}
_MAX_CAUSES = 5


class AnswerBrokenOff(Exception):
    """An answer failed after it had begun: the connection is closed. The message names the error's type only."""


class SafeAnswers:
    """ASGI middleware around everything else. `show` makes the page for an error that nobody expected."""

    def __init__(self, app: ASGIApp, *, show: Callable[[Request, Exception], Response]):
        self._app, self._show = app, show

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_begun = False

        async def send_with_headers(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception as error:  # the server behind this would log its message
            logging.getLogger(__name__).error("An answer failed: %s", _describe(error))
            if has_begun:
                raise AnswerBrokenOff(type(error).__name__) from None
            await self._show(Request(scope, receive), error)(scope, receive, send_with_headers)


def _describe(error: BaseException) -> str:
    """Return the types of an error and its causes, and the lines where they were raised; no message, and no value."""
    parts: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(parts) < _MAX_CAUSES:
        parts.append(f"{type(cause).__name__}\n{''.join(traceback.format_tb(cause.__traceback__))}")
        cause = cause.__cause__ or cause.__context__
    return "caused by ".join(parts).rstrip()
