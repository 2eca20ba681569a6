"""Reads the body of an API answer, under a deadline."""

from typing import Protocol

import requests
from urllib3.exceptions import HTTPError

from ..core.clock import Clock

_PIECE_BYTES = 1 << 18


class BrokenBody(Exception):
    """The body ended early, stopped, or did not end."""


class Sink(Protocol):
    """Where a body is written to."""

    def write(self, piece: bytes, /) -> object:
        """Write the next piece."""


def read_body(response: requests.Response, into: Sink, *, max_bytes: int, seconds: float, clock: Clock) -> int:
    """Copy the raw body into a sink and return its length in bytes. Raises `BrokenBody`.

    `seconds` is the deadline for the whole body. A socket's timeout starts again with each byte, so that a server that
    sends a byte now and then would hold a thread for hours.
    """
    deadline = clock.monotonic() + seconds
    length = 0
    try:
        while piece := response.raw.read1(_PIECE_BYTES):
            clock.check()
            length += len(piece)
            if length > max_bytes:
                raise BrokenBody(f"the body is larger than {max_bytes:,} bytes")
            if clock.monotonic() > deadline:
                raise BrokenBody(f"the body did not end within {seconds:g} seconds, {length:,} bytes had come")
            into.write(piece)
    except (HTTPError, OSError) as error:
        raise BrokenBody(f"the body broke off after {length:,} bytes ({type(error).__name__})") from None
    return length
