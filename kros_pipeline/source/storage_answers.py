"""What the recording storage answers: status, headers and a body in pieces, whichever client receives it."""

from collections.abc import Iterator
from typing import Protocol

_MAX_LENGTH_DIGITS = 19  # Python reads no number of 5,000 digits


class BrokenTransfer(Exception):
    """The connection, or what came over it, is broken. The text shows no URL.

    `os_error` is the operating system's number of the error, where it has one.
    """

    def __init__(self, what: str, os_error: int | None = None):
        super().__init__(what)
        self.os_error = os_error


class UnreadableHead(BrokenTransfer):
    """The client cannot read the answer's status line or headers; a more tolerant one may."""


class StorageAnswer(Protocol):
    """An answer whose head has come."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    def header(self, name: str) -> str | None:
        """Return a header, several of one name joined by a comma; None where there is none."""

    def pieces(self) -> Iterator[memoryview]:
        """Yield the body as it comes. Raises `BrokenTransfer`."""


def declared_length(answer: StorageAnswer) -> int | None:
    """Return the Content-Length in bytes, where it is sound; beside chunks it means nothing (RFC 9112, 6.3).

    Raises `BrokenTransfer` for two lengths that differ.
    """
    if answer.header("Transfer-Encoding") is not None:
        return None
    texts = {text.strip() for text in (answer.header("Content-Length") or "").split(",")}
    if len(texts) > 1:
        raise BrokenTransfer("two lengths that differ")
    text = texts.pop()
    return int(text) if text.isdecimal() and len(text) <= _MAX_LENGTH_DIGITS else None
