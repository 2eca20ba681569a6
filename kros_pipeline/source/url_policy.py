"""The URL policy: which URLs audio may be fetched from.

The API's host comes from the settings and is trusted. Audio URLs come from API answers: their hosts must be allowed by
name here, and public by address (`public_addresses`).
"""

import re
from urllib.parse import urlsplit

from ..core.errors import UrlRefused
from ..core.settings import is_loopback

# URL parsers disagree about anything else: some decode `%2e`, fold other scripts' letters, or drop tabs and newlines.
_AUTHORITY_END = re.compile(r"[/?#]")
is_plain_host = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+)(:\d{1,5})?").fullmatch
_MAX_SHOWN_CHARACTERS = 100


class UrlPolicy:
    """The policy of one account. `hosts` are names, or `name:port`."""

    def __init__(self, hosts: frozenset[str], base_url: str):
        api = urlsplit(base_url)
        self.is_loopback_allowed = is_loopback(api.hostname or "")
        # Plain http is for a service on this very machine, and only if the API itself is reached that way.
        self._is_http_allowed = api.scheme == "http" and self.is_loopback_allowed
        self._hosts = hosts

    def check(self, url: str) -> None:
        """Raise `UrlRefused`, which never shows the URL, where audio may not be fetched from it."""
        scheme, separator, rest = url.partition("://")
        authority = _AUTHORITY_END.split(rest, maxsplit=1)[0]  # what stands behind it may be anything: it is sent as is
        try:
            parts = urlsplit(f"//{authority}")
            host, port = (parts.hostname or "").lower(), parts.port
        except ValueError:
            raise UrlRefused("the recording's URL cannot be read") from None
        scheme = scheme.strip().lower() if separator else ""
        if scheme != "https" and not (scheme == "http" and self._is_http_allowed and is_loopback(host)):
            raise UrlRefused(f"the recording's URL is {scheme[:10] or 'without a scheme'}, not https")
        if "@" in authority or "\\" in authority:
            raise UrlRefused("the recording's URL holds a user name or a backslash")
        if not is_plain_host(authority) or not url[0].isalpha():
            raise UrlRefused("the recording's URL names its host in a way that others may read otherwise")
        name = f"[{host}]" if ":" in host else host
        if {name, f"{name}:{port}"}.isdisjoint(self._hosts):
            raise UrlRefused(f"host {host[:_MAX_SHOWN_CHARACTERS]!r} is not in KROS_RECORDING_HOSTS")
