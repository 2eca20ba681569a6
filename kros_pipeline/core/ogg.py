"""Measure Ogg files: Opus, Vorbis, Speex and FLAC. Every page's header is read."""

import re
from dataclasses import dataclass

from .audio import Audio, Inspection, NotAudio

_HEADER_BYTES = 27
_OPUS_RATE_HZ = 48_000
_NO_GRANULE = (1 << 64) - 1
_PAGE = re.compile(b"OggS\0")


@dataclass(slots=True)
class _Stream:
    """One logical stream: what its first packet says, and its last position in samples."""

    codec: str
    rate: int
    channels: int
    skipped: int
    last: int = 0
    next_page: int = 0
    has_ended: bool = False

    @property
    def seconds(self) -> float:
        return max(0, self.last - self.skipped) / self.rate


def inspect_ogg(view: memoryview) -> Inspection:
    """Read every page of an Ogg file. A page that is cut proves a cut; a stream without an end is a defect."""
    streams: dict[int, list[_Stream]] = {}
    defects: list[str] = []
    position, cut, unexplained = 0, "", 0
    while position < len(view):
        if bytes(view[position : position + 5]) != b"OggS\0":
            match = _PAGE.search(view[position:])
            behind = position + match.start() if match else len(view)
            defects.append(f"{behind - position} bytes at byte {position} belong to no page")
            unexplained += behind - position
            position = behind
            continue
        segments = view[position + 26] if position + 26 < len(view) else 0
        content = position + _HEADER_BYTES + segments
        end = content + sum(view[position + _HEADER_BYTES : content])
        if content > len(view) or end > len(view):
            came = len(view) - position
            cut = f"its last page says {end - position:,} bytes, and {came:,} came"
            break
        _read_page(view, position, content, streams, defects)
        position = end
    found = [stream for chain in streams.values() for stream in chain if stream.rate]
    if not found or not sum(stream.last for stream in found):
        if cut:
            return Inspection(Audio(None, None, None, None), "Ogg", "audio/ogg", tuple(defects), cut)
        raise NotAudio(f"an Ogg file without audio, of {len(view):,} bytes")
    if not cut and not all(stream.has_ended for stream in found):
        defects.append("the stream has no last page: it was not ended")
    seconds, first = sum(stream.seconds for stream in found), found[0]
    bitrate = round(len(view) * 8 / seconds) if seconds else None
    return Inspection(
        Audio(seconds, first.rate, first.channels, bitrate),
        f"Ogg, {first.codec}",
        "audio/ogg",
        tuple(defects),
        cut,
        is_counted=not defects and not cut,
        unexplained_bytes=unexplained,
    )


def _read_page(
    view: memoryview, position: int, content: int, streams: dict[int, list[_Stream]], defects: list[str]
) -> None:
    flags, serial = view[position + 5], _little(view, position + 14, 4)
    chain = streams.setdefault(serial, [])
    if flags & 2 or not chain:  # it begins a stream
        chain.append(_read_codec(bytes(view[content : content + 48])))
    stream, number, granule = chain[-1], _little(view, position + 18, 4), _little(view, position + 6, 8)
    if number != stream.next_page:
        defects.append(f"{abs(number - stream.next_page)} pages are missing before byte {position}")
    stream.next_page = number + 1
    stream.has_ended = bool(flags & 4)
    if granule != _NO_GRANULE:
        stream.last = max(stream.last, granule)


def _read_codec(packet: bytes) -> _Stream:
    if packet.startswith(b"OpusHead") and len(packet) >= 12:
        return _Stream("Opus", _OPUS_RATE_HZ, packet[9], int.from_bytes(packet[10:12], "little"))
    if packet.startswith(b"\x01vorbis") and len(packet) >= 16:
        return _Stream("Vorbis", int.from_bytes(packet[12:16], "little"), packet[11], 0)
    if packet.startswith(b"Speex   ") and len(packet) >= 48:
        return _Stream("Speex", int.from_bytes(packet[36:40], "little"), 1, 0)
    if packet.startswith(b"\x7fFLAC") and len(packet) >= 30:
        return _Stream("FLAC", int.from_bytes(packet[27:30], "big") >> 4, (packet[29] >> 1 & 7) + 1, 0)
    return _Stream("", 0, 0, 0)


def _little(view: memoryview, position: int, size: int) -> int:
    return int.from_bytes(view[position : position + size], "little")
