"""Decode a gzip body that was not asked for: its first bytes tell it, whatever its headers say."""

import gzip
import zlib
from collections.abc import Iterator
from typing import IO

_MAGIC = b"\x1f\x8b\x08"
_PIECE_BYTES = 1 << 20
_MAX_RATIO = 200  # of a body beyond its first megabyte: a few kilobytes must not fill the disk


class UndecodableGzip(Exception):
    """The body is no whole gzip, or decodes to more than any recording has."""


def is_gzip(body: memoryview) -> bool:
    """Return whether a body begins as gzip does. No audio format begins so."""
    return body[: len(_MAGIC)] == _MAGIC


def decode_gzip(body: IO[bytes], size_bytes: int, *, max_bytes: int) -> Iterator[bytes]:
    """Yield the decoded body in pieces of at most a megabyte. Raises `UndecodableGzip`."""
    most, length = min(max_bytes, _PIECE_BYTES + _MAX_RATIO * size_bytes), 0
    try:
        with gzip.GzipFile(fileobj=body, mode="rb") as decoded:
            while piece := decoded.read(_PIECE_BYTES):
                length += len(piece)
                if length > most:
                    raise UndecodableGzip(f"{size_bytes:,} bytes of gzip decode to more than {most:,} bytes")
                yield piece
    except EOFError:
        raise UndecodableGzip("the gzip body ends early") from None
    except (gzip.BadGzipFile, zlib.error):
        raise UndecodableGzip("the body begins as gzip, and is none") from None
