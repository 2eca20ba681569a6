"""Find where MPEG audio frames begin or go on, in bytes that hold something else as well."""

import numpy as np

from .audio_tags import tag_end
from .mp3_frames import HEADER_BYTES, MAX_FREE_FRAME_BYTES, Frame, frame_at, header_tables

CONSISTENT_FRAMES = 10
_SURE_FRAMES = 4  # of one kind, each at the end of the one before: noise has them once in 10^20 bytes
_PIECE_BYTES = 1 << 20
_BORDER_BYTES = np.frombuffer(b"\0\t\n\r ITAL", np.uint8)  # the first byte of padding or of a tag
_FREE_CANDIDATES = 200


class FrameReader:
    """Reads frames of one body up to `end`. `free_bytes` is the size of a frame of free format without its padding."""

    def __init__(self, view: memoryview, end: int, free_bytes: int = 0):
        self.view, self.end, self._free_bytes = view, end, free_bytes

    def read(self, position: int) -> Frame | None:
        """Return what the header at a position says, if its frame's size is known; whole or not."""
        frame = frame_at(self.view, position)
        if frame is None or frame.size_bytes:
            return frame
        if not self._free_bytes:
            return None
        size = self._free_bytes + frame.padding_bytes
        return Frame(size, self._free_bytes, frame.samples, frame.sample_rate_hz, frame.channels, frame.kind, 0)

    def count_chain(self, position: int) -> tuple[int, bool]:
        """Count frames of one kind from a position on, ten at most, and return whether what follows is a border."""
        count, kind = 0, 0
        while count < CONSISTENT_FRAMES:
            frame = self.read(position)
            if frame is None or (kind and frame.kind != kind):
                return count, bool(count) and self._is_border(position)
            if position + frame.size_bytes > self.end:
                return count, bool(count)  # the last frame is cut
            kind = frame.kind
            position += frame.size_bytes
            count += 1
        return count, True

    def is_sound(self, position: int, kind: int, *, is_expected: bool) -> bool:
        """Return whether frames begin at a position.

        `kind` is that of the frames before it, or 0. `is_expected`: a tag or the body's beginning ends there.
        """
        count, is_bordered = self.count_chain(position)
        if count >= (1 if is_expected else _SURE_FRAMES):
            return True
        frame = self.read(position)
        is_known = frame is not None and frame.kind == kind
        return is_bordered and count >= (1 if is_known else 2)

    def find_sync(self, start: int, kind: int) -> int | None:
        """Return the first position from `start` on where frames begin; None where none do."""
        sizes, kinds = header_tables()
        data = np.frombuffer(self.view, np.uint8)
        while start < self.end - HEADER_BYTES:
            stop = min(start + _PIECE_BYTES, self.end - HEADER_BYTES + 1)
            at = np.flatnonzero((data[start:stop] == 0xFF) & (data[start + 1 : stop + 1] >= 0xE0)) + start
            headers = data[at + 1].astype(np.int64) << 8 | data[at + 2]
            if self._free_bytes:
                candidates = at
            else:
                is_frame = sizes[headers] > 0
                at, headers = at[is_frame], headers[is_frame]
                behind = np.minimum(at + sizes[headers], self.end - HEADER_BYTES)
                following = data[behind + 1].astype(np.int64) << 8 | data[behind + 2]
                goes_on = (data[behind] == 0xFF) & (kinds[following] == kinds[headers])
                is_last = (behind == self.end - HEADER_BYTES) | np.isin(data[behind], _BORDER_BYTES)
                candidates = at[goes_on | is_last]
            for position in candidates:
                if self.is_sound(int(position), kind, is_expected=False):
                    return int(position)
            start = stop
        return None

    def find_free_bytes(self, start: int) -> int:
        """Return the size, without padding, of the frames of a body in free format; 0 where it has none.

        The size is the distance of two equal headers, at which ten follow each other.
        """
        data = np.frombuffer(self.view, np.uint8)[start : min(self.end, start + _PIECE_BYTES)]
        if len(data) < HEADER_BYTES:
            return 0
        is_free = (data[:-2] == 0xFF) & (data[1:-1] >= 0xE0) & (data[2:] & 0xF0 == 0)
        for at in (np.flatnonzero(is_free) + start)[:_FREE_CANDIDATES].tolist():
            frame = frame_at(self.view, at)
            if frame is None or frame.size_bytes:
                continue
            found = self._find_distance(at, frame)
            if found:
                return found
        return 0

    def _find_distance(self, at: int, frame: Frame) -> int:
        sync = bytes(self.view[at : at + 2])
        nearby = bytes(self.view[at : min(self.end, at + MAX_FREE_FRAME_BYTES + HEADER_BYTES)])
        distance = nearby.find(sync, HEADER_BYTES)
        while distance >= 0:
            following = frame_at(self.view, at + distance)
            if following is not None and following.kind == frame.kind and not following.size_bytes:
                reader = FrameReader(self.view, self.end, distance - frame.padding_bytes)
                if reader.count_chain(at)[0] >= CONSISTENT_FRAMES:
                    return distance - frame.padding_bytes
            distance = nearby.find(sync, distance + 1)
        return 0

    def _is_border(self, position: int) -> bool:
        """Return whether the frames' end, a tag or padding is at a position."""
        rest = self.end - position
        if rest < HEADER_BYTES or tag_end(self.view, position, len(self.view)) is not None:
            return True
        return not bytes(self.view[position : min(self.end, position + 64)]).strip(b"\0 \t\r\n")
