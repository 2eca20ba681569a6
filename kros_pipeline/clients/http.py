"""What both HTTP clients share: a session that adds nothing by itself, and a body read under a deadline."""

import logging
import time
from collections.abc import Callable
from typing import Protocol

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

from .errors import plain_words

CONNECT_SECONDS = 5.0
READ_SECONDS = 30.0
_PIECE_BYTES = 1 << 18


def _without_urls(record: logging.LogRecord) -> bool:
    """urllib3 warns of headers that it cannot read with the whole URL, and tells it at level DEBUG in any case."""
    record.msg, record.args = plain_words(record.getMessage()), ()
    record.exc_info = record.exc_text = None
    return True


for _name in ("urllib3.connection", "urllib3.connectionpool"):
    logging.getLogger(_name).addFilter(_without_urls)


class BrokenBody(Exception):
    """The body ended early, stopped, or would not end."""


class Sink(Protocol):
    """Where a body goes."""

    def write(self, piece: bytes, /) -> object:
        """Takes the next piece."""


def new_session(
    connections: int, headers: dict[str, str], adapter_of: Callable[..., HTTPAdapter] = HTTPAdapter
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


def declared_length(response: requests.Response) -> int | None:
    """The Content-Length, where there is a sound one."""
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isdecimal() else None
