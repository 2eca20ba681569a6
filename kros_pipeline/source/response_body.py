"""Reads the body of an HTTP answer, under a deadline.

This is the only file that knows `response.raw._fp`, a private attribute of urllib3: where it is missing, `read_into`
uses the public `read1`, which costs a third more CPU for each download.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Semaphore
from typing import Any, Protocol

import requests
from urllib3.exceptions import HTTPError

from ..core.clock import Clock

_PIECE_BYTES = 1 << 18
_TURN_SECONDS = 0.05
_MAX_LENGTH_DIGITS = 19  # Python reads no number of 5,000 digits


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
            length += len(piece)
            if length > max_bytes:
                raise BrokenBody(f"the body is larger than {max_bytes:,} bytes")
            if clock.monotonic() > deadline:
                raise _too_slow(seconds, length)
            into.write(piece)
    except (HTTPError, OSError) as error:
        raise _broken_off(length, error) from None
    return length


def read_into(
    response: requests.Response, memory: memoryview, *, seconds: float, turns: "ReadingTurns", clock: Clock
) -> int:
    """Read a body of a declared length into memory of that length, and return how many bytes came.

    urllib3 makes bytes first, and its `readinto` copies them: with many threads that is a third of a download's CPU. So
    the bytes are read from http.client's response, straight into `memory`. Raises `BrokenBody`.
    """
    answer: Any = getattr(response.raw, "_fp", None)
    if not (hasattr(getattr(answer, "fp", None), "readinto1") and isinstance(getattr(answer, "length", None), int)):
        sink = _MemorySink(memory)
        return read_body(response, sink, max_bytes=len(memory), seconds=seconds, clock=clock)
    began_at, length = clock.monotonic(), 0
    try:
        with turns.reading() as turn:
            while length < len(memory) and (came := answer.fp.readinto1(memory[length:])):
                answer.length -= came
                if not length and answer.length:  # it begins to come, and there is more
                    turn.begin(clock)
                length += came
                now = clock.monotonic()
                if now - began_at > seconds:
                    raise _too_slow(seconds, length)
                turn.end_if_over(now)
        if length == len(memory):
            response.raw.read()  # reads nothing: it gives the connection back to its pool
    except (HTTPError, OSError) as error:
        raise _broken_off(length, error) from None
    return length


class _MemorySink:
    def __init__(self, memory: memoryview):
        self._memory, self._length = memory, 0

    def write(self, piece: bytes) -> None:
        self._memory[self._length : self._length + len(piece)] = piece
        self._length += len(piece)


class ReadingTurns:
    """Limits how many threads read a fast body at once.

    With TLS, every record of 16 KB releases the GIL and takes it again: 50 threads waste a tenth of all CPU contending
    for it. A body that takes longer than a turn of 50 ms waits for the network, and gives its turn back; so no thread
    waits longer than that for one.
    """

    def __init__(self, at_once: int):
        self._semaphore = Semaphore(at_once)

    @contextmanager
    def reading(self) -> Iterator["_Turn"]:
        """Read one body; the turn is given back at the end."""
        turn = _Turn(self._semaphore)
        try:
            yield turn
        finally:
            turn.end()


class _Turn:
    def __init__(self, semaphore: Semaphore):
        self._semaphore, self._is_held, self._ends_at = semaphore, False, 0.0

    def begin(self, clock: Clock) -> None:
        self._is_held = self._semaphore.acquire(timeout=_TURN_SECONDS)
        self._ends_at = clock.monotonic() + _TURN_SECONDS

    def end_if_over(self, now: float) -> None:
        if now > self._ends_at:
            self.end()

    def end(self) -> None:
        if self._is_held:
            self._is_held = False
            self._semaphore.release()


def declared_length(response: requests.Response) -> int | None:
    """Return the Content-Length in bytes, where it is sound; beside chunks it means nothing (RFC 9112, 6.3)."""
    if "Transfer-Encoding" in response.headers:
        return None
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isdecimal() and len(text) <= _MAX_LENGTH_DIGITS else None


def _too_slow(seconds: float, length: int) -> BrokenBody:
    return BrokenBody(f"the body did not end within {seconds:g} seconds, {length:,} bytes had come")


def _broken_off(length: int, error: Exception) -> BrokenBody:
    return BrokenBody(f"the body broke off after {length:,} bytes ({type(error).__name__})")
