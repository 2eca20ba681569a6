"""Decode a gzip body that was not asked for: its first bytes tell it, whatever its headers say."""

import zlib
from collections.abc import Iterator
from typing import IO

_MAGIC = b"\x1f\x8b\x08"
_GZIP_FORMAT = 16 + zlib.MAX_WBITS
_PADDING = b"\0 \t\r\n"
_PIECE_BYTES = 1 << 20
_MAX_RATIO = 200  # of a body beyond its first megabyte: a few kilobytes must not fill the disk


class UndecodableGzip(Exception):
    """The body is no whole gzip, or decodes to more than any recording has."""


class CutGzip(UndecodableGzip):
    """The gzip body ends early."""


def is_gzip(body: memoryview) -> bool:
    """Return whether a body begins as gzip does. No audio format begins so."""
    return body[: len(_MAGIC)] == _MAGIC


def decode_gzip(body: IO[bytes], size_bytes: int, *, max_bytes: int) -> Iterator[bytes]:
    """Yield the decoded body in pieces of at most a megabyte. Raises `UndecodableGzip`.

    White space and zeros behind it belong to it, as they do behind other audio.
    """
    most, length = min(max_bytes, _PIECE_BYTES + _MAX_RATIO * size_bytes), 0
    decoder, given = zlib.decompressobj(_GZIP_FORMAT), b""
    try:
        while given := given or body.read(_PIECE_BYTES):
            if decoder.eof:
                given = given.lstrip(_PADDING)
                if not given:
                    continue
                decoder = zlib.decompressobj(_GZIP_FORMAT)
            piece = decoder.decompress(given, _PIECE_BYTES)
            given = decoder.unused_data if decoder.eof else decoder.unconsumed_tail
            length += len(piece)
            if length > most:
                raise UndecodableGzip(f"{size_bytes:,} bytes of gzip decode to more than {most:,} bytes")
            yield piece
    except zlib.error:
        raise UndecodableGzip("the body begins as gzip, and is none") from None
    if not decoder.eof:
        raise CutGzip("the gzip body ends early")
