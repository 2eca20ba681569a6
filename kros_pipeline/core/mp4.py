"""Measure MP4 files (M4A): AAC and other codecs. The boxes' sizes are read, not the frames."""

from collections.abc import Iterator

from .audio import Audio, Inspection, NotAudio

_SAMPLE_ENTRY_BYTES = 36


def inspect_mp4(view: memoryview) -> Inspection:
    """Read the boxes of an MP4 file; their sizes prove a cut. Raises `NotAudio` without an audio track."""
    cut, position, movie, has_data = "", 0, None, False
    fragments = 0
    while position < len(view):
        name, content, end = _read_box(view, position, len(view))
        if not name:
            cut = f"its last box is cut at byte {position}"
            break
        has_data |= name == b"mdat"
        fragments += name == b"moof"
        if end > len(view):
            cut = f"its box {_shown(name)} says {end - position:,} bytes, and {len(view) - position:,} came"
            break
        if name == b"moov":
            movie = (content, end)
        position = end
    track = _find_audio_track(view, movie) if movie is not None else None
    if track is None or not has_data:
        if cut:
            return Inspection(Audio(None, None, None, None), "MP4", "audio/mp4", (), cut)
        raise NotAudio("an MP4 file without audio")
    codec, seconds, rate, channels = track
    defects = ("its header does not say how long it is",) if not seconds else ()
    bitrate = round(len(view) * 8 / seconds) if seconds else None
    audio = Audio(seconds or None, rate or None, channels or None, bitrate)
    return Inspection(audio, f"MP4, {codec}", "audio/mp4", defects, cut, is_counted=not cut and not fragments)


def _find_audio_track(view: memoryview, movie: tuple[int, int]) -> tuple[str, float, int, int] | None:
    """Return codec, seconds, sample rate and channels of the first audio track."""
    extended = next(_find(view, *movie, b"mvex", b"mehd"), None)
    for track in _find(view, *movie, b"trak", b"mdia"):
        handler = next(_find(view, *track, b"hdlr"), None)
        if handler is None or bytes(view[handler[0] + 8 : handler[0] + 12]) != b"soun":
            continue
        seconds = 0.0
        for start, end in _find(view, *track, b"mdhd"):
            is_long = end > start and view[start] == 1
            at, width = (start + 20, 8) if is_long else (start + 12, 4)
            scale, length = _big(view, at, 4), _big(view, at + 4, width)
            if extended is not None and not length:
                length = _big(view, extended[0] + 4, 8 if view[extended[0]] == 1 else 4)
            seconds = length / scale if scale else 0.0
        for start, end in _find(view, *track, b"minf", b"stbl", b"stsd"):
            entry = start + 8
            if end - entry >= _SAMPLE_ENTRY_BYTES:
                codec = _shown(bytes(view[entry + 4 : entry + 8]))
                return codec, seconds, _big(view, entry + 32, 2), _big(view, entry + 24, 2)
    return None


def _find(view: memoryview, start: int, end: int, name: bytes, *inner: bytes) -> Iterator[tuple[int, int]]:
    """Yield the content of each box of a name inside a span; of each box inside those, if more names are given."""
    while start < end:
        found, content, behind = _read_box(view, start, end)
        if not found or behind > end:
            return
        if found == name:
            if inner:
                yield from _find(view, content, behind, *inner)
            else:
                yield content, behind
        start = behind


def _read_box(view: memoryview, position: int, end: int) -> tuple[bytes, int, int]:
    """Return name, content and end of a box; no name where its header is not whole or says nonsense."""
    if position + 8 > end:
        return b"", position, end
    size, name, header = _big(view, position, 4), bytes(view[position + 4 : position + 8]), 8
    if size == 1:
        size, header = _big(view, position + 8, 8), 16
    elif size == 0:
        size = end - position  # it goes on to the file's end
    if size < header:
        return b"", position, end
    return name, position + header, position + size


def _shown(name: bytes) -> str:
    return "".join(chr(byte) if 32 < byte < 127 else "?" for byte in name)


def _big(view: memoryview, position: int, size: int) -> int:
    return int.from_bytes(view[position : position + size], "big")
