"""Read how many frames and bytes an MP3 says that it has: the Xing, Info and VBRI headers of its first frame."""

import re
from dataclasses import dataclass

from .mp3_frames import HEADER_BYTES, Frame, parse_header

_SIDE_BYTES = {(True, 1): 17, (True, 2): 32, (False, 1): 9, (False, 2): 17}  # by MPEG 1 or not, and channels
_VBRI_AT = 36
_CRC_BYTES = 2
_NAMES = re.compile(rb"Xing|Info|VBRI")


@dataclass(frozen=True, slots=True)
class StatedCounts:
    """What the header in one frame says of the frames and bytes of its file; 0 where it does not say it."""

    name: str
    frames: int
    size_bytes: int


def read_counts(view: memoryview, position: int, frame: Frame) -> StatedCounts | None:
    """Return what the frame at a position states; None where it states nothing."""
    side = HEADER_BYTES + _SIDE_BYTES[frame.samples == 1152, frame.channels]
    for at in (position + side, position + side + _CRC_BYTES):
        name = bytes(view[at : at + 4])
        if name in (b"Xing", b"Info"):
            flags, numbers = _big(view, at + 4), at + 8
            frames = _big(view, numbers) if flags & 1 else 0
            size = _big(view, numbers + (4 if flags & 1 else 0)) if flags & 2 else 0
            return StatedCounts(name.decode(), frames, size)
    if bytes(view[position + _VBRI_AT : position + _VBRI_AT + 4]) == b"VBRI":
        at = position + _VBRI_AT
        return StatedCounts("VBRI", _big(view, at + 14), _big(view, at + 10))
    return None


def find_counting_frames(view: memoryview) -> list[int]:
    """Return where frames with such a header begin: each is the first one of a file that was appended."""
    found = []
    for match in _NAMES.finditer(view):
        for before in {_VBRI_AT, *(HEADER_BYTES + side + crc for side in (9, 17, 32) for crc in (0, _CRC_BYTES))}:
            at = match.start() - before
            if at < 0 or view[at] != 0xFF:
                continue
            frame = parse_header(view[at + 1], view[at + 2], view[at + 3] >> 6)
            if frame is not None and read_counts(view, at, frame) is not None:
                found.append(at)
    return sorted(set(found))


def _big(view: memoryview, position: int) -> int:
    return int.from_bytes(view[position : position + 4], "big")
