"""The settings of the reviewer's page: where it listens, and for whom.

Declared in `core`, because every run knows all settings' names, and `steps` does not know `browser`.
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from .settings import BadValue, Setting, SettingsReader, is_loopback, show_value

ANYBODY = "*"
_is_header = re.compile(r"[A-Za-z0-9-]{1,64}").fullmatch
_UNIX = "unix:"
_LISTEN = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):(?P<port>\d{1,5})").fullmatch
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Role(StrEnum):
    """What somebody may do: hear and read, read, or read with every phone number masked."""

    LISTEN = "listen"
    READ = "read"
    READ_WITHOUT_NUMBERS = "read-without-numbers"


def _parse_listen(text: str) -> tuple[str, int]:
    """Return host and port; of a Unix socket its absolute path, and 0."""
    if text.startswith(_UNIX):
        path = text.removeprefix(_UNIX)
        if not path.startswith("/"):
            raise BadValue(
                f"is {show_value(text)}; a Unix socket has an absolute path, like unix:/run/kros-browse/socket."
            )
        return path, 0
    match = _LISTEN(text)
    if match is None or int(match["port"]) > 65_535:
        raise BadValue(f"is {show_value(text)}; it must be a host and a port, like 127.0.0.1:8757.")
    return match["host"].strip("[]"), int(match["port"])


def _parse_networks(text: str) -> tuple[Network, ...]:
    networks = []
    for part in filter(None, re.split(r"[,\s]+", text)):
        try:
            networks.append(ipaddress.ip_network(part))
        except ValueError:
            raise BadValue(f"has {show_value(part)}, which is no IP address and no network like 10.0.0.0/24.") from None
    if any(network.prefixlen == 0 for network in networks):
        raise BadValue("has a network of all addresses: anybody could send the header. Name the proxy's own.")
    return tuple(networks)


def _parse_header(text: str) -> str:
    if not _is_header(text):
        raise BadValue(f"is {show_value(text)}; it must be the name of a header, like X-Forwarded-User.")
    return text


def _parse_users(text: str) -> dict[str, Role]:
    users: dict[str, Role] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        name, equals, role = (piece.strip() for piece in part.rpartition("="))
        if not (name and equals) or role not in list(Role):
            raise BadValue(f"has {show_value(part)}; write user=role with commas between them: {', '.join(Role)}.")
        if users.setdefault(name, Role(role)) != role:
            raise BadValue(f"gives {show_value(name)} two roles.")
    return users


LISTEN = Setting(
    "KROS_BROWSE_LISTEN",
    "127.0.0.1:8757",
    "where `make browse` listens; another host than this machine needs `KROS_BROWSE_PROXIES`; "
    "`unix:/run/kros-browse/socket` is a Unix socket, which only the reverse proxy should be able to open",
    _parse_listen,
)
PROXIES = Setting(
    "KROS_BROWSE_PROXIES",
    None,
    "the addresses of the reverse proxy that logs reviewers in, with commas between them; nobody else is answered",
    _parse_networks,
)
USER_HEADER = Setting(
    "KROS_BROWSE_USER_HEADER",
    "X-Forwarded-User",
    "the header in which the proxy says who it is; the proxy has to remove it from what browsers send",
    _parse_header,
)
USERS = Setting(
    "KROS_BROWSE_USERS",
    None,
    "who may do what behind the proxy: `amina=listen, *=read-without-numbers`; the roles are `listen`, `read` and "
    "`read-without-numbers`, and `*` is everybody else who is logged in",
    _parse_users,
)
CACHE = Setting(
    "KROS_BROWSE_CACHE",
    None,
    "the folder below which the page's search index is, in a folder of its own: it has transcripts in it, and can be "
    "deleted at any time",
    str,
    default_in_words="`~/.cache/kros_pipeline`",
)
REVIEW_FORM = Setting(
    "KROS_BROWSE_REVIEW_FORM", None, "the YAML file of the review form", str, default_in_words="the package's own"
)
DAGSTER_URL = Setting(
    "KROS_BROWSE_DAGSTER_URL",
    "http://127.0.0.1:3000",
    "where reviewers find the Dagster UI, for the link to the job `export_evidence`",
    lambda text: _parse_web_url(text),
)

BROWSE_SETTINGS: tuple[Setting[Any], ...] = (LISTEN, PROXIES, USER_HEADER, USERS, CACHE, REVIEW_FORM, DAGSTER_URL)


def _parse_web_url(text: str) -> str:
    if not re.fullmatch(r"https?://[A-Za-z0-9.:\[\]-]+(?:/[\w./-]*)?", text):
        raise BadValue(f"is {show_value(text)}; it must be a URL like https://dagster.example.com.")
    return text.rstrip("/")


@dataclass(frozen=True, slots=True)
class BrowseSettings:
    """Where the page listens and for whom. `host` is the path of the socket where that is a Unix socket.

    Without a login it listens on this machine only.
    """

    host: str
    port: int
    proxies: tuple[Network, ...]
    user_header: str
    users: Mapping[str, Role]
    cache: str | None
    review_form: str | None
    dagster_url: str

    @property
    def is_unix_socket(self) -> bool:
        """Whether it listens on a Unix socket. Whoever can open it is the reverse proxy: its folder's mode decides."""
        return self.host.startswith("/")

    @property
    def has_login(self) -> bool:
        """Whether a reverse proxy says who asks."""
        return self.is_unix_socket or bool(self.proxies)

    def role_of(self, user: str) -> Role | None:
        """Return what a user behind the proxy may do; None where the settings let them do nothing."""
        return self.users.get(user) or self.users.get(ANYBODY)


def parse_browse_settings(reader: SettingsReader) -> BrowseSettings:
    """Read the settings of the page. Problems are collected in the reader."""
    host, port = reader.value(LISTEN)
    proxies: tuple[Network, ...] = reader.optional(PROXIES, ())
    users: dict[str, Role] = reader.optional(USERS, {})
    is_unix_socket = host.startswith("/")
    if is_unix_socket and reader.is_given(PROXIES):
        reader.add_problem(f"{PROXIES.name} is set, but on a Unix socket nobody has an address: leave it out.")
    if not is_unix_socket and not is_loopback(host) and not reader.is_given(PROXIES):
        reader.add_problem(
            f"{LISTEN.name} is {host}, which other machines reach, and nobody logs in there. Put a reverse proxy with "
            f"a login before it, and name the proxy's addresses in {PROXIES.name}; or listen on 127.0.0.1."
        )
    has_login = is_unix_socket or reader.is_given(PROXIES)
    if has_login and not reader.is_given(USERS):
        reader.add_problem(f"{USERS.name} is missing: say who may do what, like amina=listen, *=read-without-numbers.")
    if reader.is_given(USERS) and not has_login:
        reader.add_problem(f"{USERS.name} is set, but {PROXIES.name} is not: nobody logs in.")
    return BrowseSettings(
        host=host,
        port=port,
        proxies=proxies,
        user_header=reader.value(USER_HEADER),
        users=users,
        cache=reader.optional(CACHE, None),
        review_form=reader.optional(REVIEW_FORM, None),
        dagster_url=reader.value(DAGSTER_URL),
    )
