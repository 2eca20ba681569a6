"""Measure WebM (Matroska) files: Opus and Vorbis. The elements' sizes are read, not the frames."""

from collections.abc import Iterator

import numpy as np

from .audio import Audio, Inspection, NotAudio

_SEGMENT, _INFO, _TRACKS, _CLUSTER = 0x18538067, 0x1549A966, 0x1654AE6B, 0x1F43B675
_SCALE, _DURATION, _TRACK, _CODEC, _AUDIO = 0x2AD7B1, 0x4489, 0xAE, 0x86, 0xE1
_RATE, _CHANNELS, _CLUSTER_TIME, _SIMPLE_BLOCK, _BLOCK_GROUP, _BLOCK = 0xB5, 0x9F, 0xE7, 0xA3, 0xA0, 0xA1
_OF_SEGMENT = {0x114D9B74, _INFO, _TRACKS, _CLUSTER, 0x1C53BB6B, 0x1043A770, 0x1941A469, 0x1254C367, 0xEC, 0xBF}
_NANOSECONDS = 1e9
_LEAST_NUMBER, _MOST_NUMBER = 1e-3, 1e15
_MAX_DEPTH = 4  # tracks, track, audio: nothing of ours lies deeper


def inspect_webm(view: memoryview) -> Inspection:
    """Read the elements of a WebM file; their sizes prove a cut. Raises `NotAudio` without an audio track."""
    reader = _Reader(view)
    reader.read()
    if not reader.codec or not reader.has_clusters:
        if reader.cut:
            return Inspection(Audio(None, None, None, None), "WebM", "audio/webm", (), reader.cut)
        raise NotAudio("a WebM file without audio")
    defects = () if reader.duration else ("its header does not say how long it is",)
    seconds = (reader.duration or reader.last_time) * reader.scale / _NANOSECONDS
    bitrate = round(len(view) * 8 / seconds) if seconds else None
    audio = Audio(seconds or None, round(reader.rate) or None, reader.channels or None, bitrate)
    return Inspection(
        audio, f"WebM, {reader.codec}", "audio/webm", defects, reader.cut, reader.is_sized and not reader.cut
    )


class _Reader:
    def __init__(self, view: memoryview):
        self._view = view
        self.codec, self.cut, self.rate, self.channels = "", "", 8_000.0, 1
        self.scale, self.duration, self.last_time = 1_000_000, 0.0, 0
        self.has_clusters, self.is_sized = False, False

    def read(self) -> None:
        for name, start, end in self._elements(0, len(self._view)):
            if name == _SEGMENT:
                self.is_sized = end is not None
                self._note_cut("segment", start, end)
                self._read_segment(start, len(self._view) if end is None else min(end, len(self._view)))

    def _note_cut(self, name: str, start: int, end: int | None) -> None:
        if end is not None and end > len(self._view) and not self.cut:
            self.cut = f"its {name} says {end - start:,} bytes, and {len(self._view) - start:,} came"

    def _read_segment(self, start: int, end: int) -> None:
        for name, begin, stop in self._elements(start, end):
            if name == _CLUSTER:
                self.has_clusters = True
                self._note_cut("last cluster", begin, stop)
                self._read_cluster(begin, end if stop is None else min(stop, end))
            elif name in (_INFO, _TRACKS) and stop is not None:
                self._read_facts(begin, min(stop, end))

    def _read_facts(self, start: int, end: int, depth: int = 1) -> None:
        for name, begin, stop in self._elements(start, end):
            if stop is None or stop > end:
                return
            value = bytes(self._view[begin:stop])
            if name in (_TRACK, _AUDIO) and depth < _MAX_DEPTH:
                self._read_facts(begin, stop, depth + 1)
            elif name == _CODEC and value.startswith(b"A_") and not self.codec:
                self.codec = value[2:].strip(b"\0").decode("ascii", "replace").title()
            elif name == _CHANNELS:
                self.channels = int.from_bytes(value, "big")
            elif name == _RATE:
                self.rate = _float(value)
            elif name == _DURATION:
                self.duration = _float(value)
            elif name == _SCALE:
                self.scale = int.from_bytes(value, "big") or self.scale

    def _read_cluster(self, start: int, end: int) -> None:
        time = 0
        for name, begin, stop in self._elements(start, end, stops_at=_OF_SEGMENT):
            if name == _CLUSTER_TIME and stop is not None:
                time = int.from_bytes(self._view[begin:stop], "big")
            elif name in (_SIMPLE_BLOCK, _BLOCK):
                offset = int.from_bytes(self._view[begin + 1 : begin + 3], "big", signed=True)
                self.last_time = max(self.last_time, time + offset)
            elif name == _BLOCK_GROUP and stop is not None:
                for inner, at, _ in self._elements(begin, min(stop, end)):
                    if inner == _BLOCK:
                        offset = int.from_bytes(self._view[at + 1 : at + 3], "big", signed=True)
                        self.last_time = max(self.last_time, time + offset)
            if stop is not None and stop > end:
                self._note_cut("last block", begin, stop)

    def _elements(
        self, position: int, end: int, *, stops_at: set[int] | frozenset[int] = frozenset()
    ) -> Iterator[tuple[int, int, int | None]]:
        """Yield name, content and end of each element of a span; the end is None where its size is not known."""
        while position < end:
            name, after_name = self._number(position, end, keeps_marker=True)
            size, content = self._number(after_name, end, keeps_marker=False)
            if name is None or size is None:
                return
            is_unknown = size == (1 << 7 * (content - after_name)) - 1
            if name in stops_at:
                return
            yield name, content, None if is_unknown else content + size
            # An element of unknown size ends where the next one of its parent begins: go on with what is inside.
            position = content if is_unknown else content + size

    def _number(self, position: int, end: int, *, keeps_marker: bool) -> tuple[int | None, int]:
        first = self._view[position] if position < end else 0
        if not first:
            return None, position
        width = 9 - first.bit_length()
        if position + width > end:
            return None, position
        value = int.from_bytes(self._view[position : position + width], "big")
        return (value if keeps_marker else value & ((1 << 7 * width) - 1)), position + width


def _float(value: bytes) -> float:
    """Return a positive number; 0 where there is none, or one that no length and no rate has."""
    known = {4: ">f4", 8: ">f8"}.get(len(value))
    number = float(np.frombuffer(value, known)[0]) if known else 0.0
    return number if _LEAST_NUMBER < number < _MOST_NUMBER else 0.0
