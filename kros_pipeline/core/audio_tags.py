"""Recognize the tags that stand before, behind and between MPEG audio frames, as often as they come.

ID3v2.2 to 2.4 (with a footer, or appended), ID3v1, the enhanced TAG+, APEv1 and APEv2, Lyrics3 v1 and v2.
"""

import re
from collections.abc import Callable

_ID3V2_BYTES, _ID3V1_BYTES, _ENHANCED_BYTES, _APE_BYTES = 10, 128, 227, 32
_MAX_LYRICS3V1_BYTES = 5_100
_LYRICS_BEGIN, _LYRICS_END, _LYRICS2_END = b"LYRICSBEGIN", b"LYRICSEND", b"LYRICS200"
_APE = b"APETAGEX"
_PADDING = b"\0 \t\r\n"
_BEGINS = re.compile(rb"ID3|TAG|APETAGEX|LYRICSBEGIN")
_LYRICS2_IN_FRONT = re.compile(rb"LYRICSBEGIN(?s:.{0,1000000}?)(?:LYRICS200|LYRICSEND)")


def tag_end(view: memoryview, start: int, end: int) -> int | None:
    """Return where the tag that begins at `start` ends; None where none begins there, or it says more than there is."""
    if start >= end or view[start] not in b"ITAL":
        return None
    for read in _FROM_FRONT:
        found = read(view, start, end)
        if found is not None and start < found <= end:
            return found
    return None


def tag_start(view: memoryview, start: int, end: int) -> int | None:
    """Return where the tag that ends at `end` begins; None where none ends there, or it says more than there is."""
    tail = bytes(view[max(start, end - _ENHANCED_BYTES) : end])
    if not (  # the usual case, at the price of one comparison for each kind of tag
        tail[-_ID3V1_BYTES:].startswith(b"TAG")
        or tail.startswith(b"TAG+")
        or tail[-_APE_BYTES:].startswith(_APE)
        or tail[-len(_LYRICS_END) :].startswith(b"LYRICS")
        or tail[-_ID3V2_BYTES:].startswith(b"3DI")
    ):
        return None
    for read in _FROM_BEHIND:
        found = read(view, start, end)
        if found is not None and start <= found < end:
            return found
    return None


def find_tag(view: memoryview, start: int, end: int) -> int | None:
    """Return where the first tag begins between `start` and `end` that ends behind `end`; None where none does."""
    for match in _BEGINS.finditer(view[start : end + len(_LYRICS_BEGIN) - 1]):
        at = start + match.start()
        behind = tag_end(view, at, len(view))
        if at < end and behind is not None and behind >= end:
            return at
    return None


def is_id3v2(view: memoryview, position: int) -> bool:
    """Return whether the header of an ID3v2 tag is at a position, whatever size it says."""
    header = bytes(view[position : position + _ID3V2_BYTES])
    return len(header) == _ID3V2_BYTES and header[:3] == b"ID3" and 2 <= header[3] <= 4 and header[4] < 0xFF


def strip_tags_behind(view: memoryview, start: int, end: int) -> int:
    """Return where the frames end: before all tags behind them. White space or zeros between tags belong to them."""
    while True:
        found = tag_start(view, start, end)
        if found is None:
            stripped = _strip_padding_behind(view, start, end)
            found = tag_start(view, start, stripped) if stripped < end else None
        if found is None:
            return end
        end = found


def _strip_padding_behind(view: memoryview, start: int, end: int) -> int:
    if end <= start or view[end - 1] not in _PADDING:
        return end
    lowest = max(start, end - 4_096)
    return lowest + len(bytes(view[lowest:end]).rstrip(_PADDING))


def unexplained_bytes(view: memoryview, start: int, end: int) -> int:
    """Return how many bytes of a span belong to no tag."""
    while start < end:
        if (behind := tag_end(view, start, end)) is not None:
            start = behind
        elif (before := tag_start(view, start, end)) is not None:
            end = before
        else:
            break
    return end - start


def _id3v2_end(view: memoryview, start: int, end: int) -> int | None:
    if not is_id3v2(view, start):
        return None
    size = _synchsafe(view, start + 6)
    footer = _ID3V2_BYTES if view[start + 3] == 4 and view[start + 5] & 0x10 else 0
    return None if size is None else start + _ID3V2_BYTES + size + footer


def _id3v2_start(view: memoryview, start: int, end: int) -> int | None:
    """Find an ID3v2.4 tag that is appended: its footer repeats its header."""
    if end - start < 2 * _ID3V2_BYTES or bytes(view[end - 10 : end - 7]) != b"3DI":
        return None
    size = _synchsafe(view, end - 4)
    return None if size is None else end - 2 * _ID3V2_BYTES - size


def _synchsafe(view: memoryview, position: int) -> int | None:
    size = 0
    for byte in view[position : position + 4]:
        if byte & 0x80:
            return None  # written without the encoding that the standard asks for: it says nothing sure
        size = size << 7 | byte
    return size


def _id3v1_end(view: memoryview, start: int, end: int) -> int | None:
    if bytes(view[start : start + 4]) == b"TAG+":
        return start + _ENHANCED_BYTES
    return start + _ID3V1_BYTES if bytes(view[start : start + 3]) == b"TAG" else None


def _id3v1_start(view: memoryview, start: int, end: int) -> int | None:
    for size, magic in ((_ID3V1_BYTES, b"TAG"), (_ENHANCED_BYTES, b"TAG+")):
        if end - start >= size and bytes(view[end - size : end - size + len(magic)]) == magic:
            return end - size
    return None


def _ape_end(view: memoryview, start: int, end: int) -> int | None:
    if end - start < _APE_BYTES or view[start : start + 8] != _APE:
        return None
    is_header = view[start + 23] & 0x20  # an APEv1 tag has no header, and its footer stands behind
    return start + _APE_BYTES + (_little(view, start + 12) if is_header else 0)


def _ape_start(view: memoryview, start: int, end: int) -> int | None:
    if end - start < _APE_BYTES or view[end - 32 : end - 24] != _APE:
        return None
    has_header, is_header = view[end - 9] & 0x80, view[end - 9] & 0x20
    if is_header:
        return None
    return end - _little(view, end - 20) - (_APE_BYTES if has_header else 0)


def _lyrics3_end(view: memoryview, start: int, end: int) -> int | None:
    if view[start : start + 11] != _LYRICS_BEGIN:
        return None
    found = _LYRICS2_IN_FRONT.match(view[start:end])
    return start + found.end() if found else None


def _lyrics3_start(view: memoryview, start: int, end: int) -> int | None:
    if view[max(start, end - 9) : end] == _LYRICS2_END:
        digits = bytes(view[max(start, end - 15) : end - 9])
        begin = end - 15 - int(digits) if len(digits) == 6 and digits.isdigit() else -1
        return begin if begin >= start and view[begin : begin + 11] == _LYRICS_BEGIN else None
    if view[max(start, end - 9) : end] == _LYRICS_END:
        lowest = max(start, end - _MAX_LYRICS3V1_BYTES - 20)
        found = bytes(view[lowest:end]).rfind(_LYRICS_BEGIN)
        return lowest + found if found >= 0 else None
    return None


def _little(view: memoryview, position: int) -> int:
    return int.from_bytes(view[position : position + 4], "little")


_Reader = Callable[[memoryview, int, int], int | None]
_FROM_FRONT: tuple[_Reader, ...] = (_id3v2_end, _id3v1_end, _ape_end, _lyrics3_end)
_FROM_BEHIND: tuple[_Reader, ...] = (_id3v1_start, _ape_start, _lyrics3_start, _id3v2_start)
