"""Serve a recording by Range, from S3 in parts: no body is ever whole in memory, and no URL of S3 leaves."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..archive.object_store import ObjectStore
from ..core.errors import ArchiveError

PIECE_BYTES = 256 << 10
_RANGE = re.compile(r"bytes=(\d*)-(\d*)").fullmatch
_MAX_DIGITS = 15
# Never a type that a browser would run, whatever somebody uploaded as a recording.
_SIGNATURES = (
    (0, b"RIFF", "audio/wav"),
    (0, b"fLaC", "audio/flac"),
    (0, b"OggS", "audio/ogg"),
    (4, b"ftyp", "audio/mp4"),
    (0, b"\x1aE\xdf\xa3", "audio/webm"),
)


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording in the bucket."""

    key: str
    size_bytes: int
    content_type: str


class RangeRefused(Exception):
    """The range that was asked for is not in the recording."""


def open_recording(store: ObjectStore, key: str) -> Recording | None:
    """Look at a recording; None where the bucket does not have it."""
    head = store.head(key)
    if head is None or head.size_bytes == 0:
        return None
    begin = store.read_range(key, 0, min(16, head.size_bytes))
    return Recording(key, head.size_bytes, _content_type(begin or b"")) if begin is not None else None


def _content_type(begin: bytes) -> str:
    return next((kind for at, text, kind in _SIGNATURES if begin[at : at + len(text)] == text), "audio/mpeg")


def parse_range(header: str | None, size_bytes: int) -> tuple[int, int] | None:
    """Return begin and end (exclusive) of what a `Range` header asks for; None where the whole body is to be sent.

    A header with several ranges, or in another unit, counts as none, as RFC 9110 allows. Raises `RangeRefused`.
    """
    match = _RANGE(header.replace(" ", "")) if header else None
    if match is None or not (match[1] or match[2]) or max(map(len, match.groups())) > _MAX_DIGITS:
        return None
    if not match[1]:
        begin, end = max(0, size_bytes - int(match[2])), size_bytes
        if not int(match[2]):
            raise RangeRefused
    else:
        begin = int(match[1])
        end = min(int(match[2]) + 1, size_bytes) if match[2] else size_bytes
        if match[2] and int(match[2]) < begin:
            return None
    if begin >= size_bytes:
        raise RangeRefused
    return begin, end


def iterate_range(
    store: ObjectStore, recording: Recording, begin: int, end: int, may_go_on: Callable[[], bool]
) -> Iterator[bytes]:
    """Yield a part of a recording, a ranged GET for each piece: a player that pauses holds no connection to S3.

    It ends early where `may_go_on` says so before a piece: the call was erased. Raises `ArchiveError` where the object
    is gone: the body breaks off, and the player reports it.
    """
    while begin < end:
        if not may_go_on():
            raise ArchiveError("the call was erased while it was played")
        piece = store.read_range(recording.key, begin, min(begin + PIECE_BYTES, end))
        if not piece:
            raise ArchiveError("the recording is gone")
        yield piece
        begin += len(piece)
