"""Measure FLAC files by their stream information and their last frame."""

from .audio import Audio, Inspection, NotAudio

_STREAM_INFO_BYTES = 34
_MAX_FRAME_BYTES = 1 << 20
_CRC8_POLYNOMIAL = 0x07


def inspect_flac(view: memoryview, start: int) -> Inspection:
    """Read the stream information at `start`; a last frame that ends too early proves a cut."""
    position, info = start + 4, b""
    is_last = False
    while not is_last and position + 4 <= len(view):
        kind, size = view[position] & 0x7F, int.from_bytes(view[position + 1 : position + 4], "big")
        is_last = bool(view[position] & 0x80)
        if kind == 0:
            info = bytes(view[position + 4 : position + 4 + size])
        position += 4 + size
    if len(info) < _STREAM_INFO_BYTES:
        raise NotAudio("a FLAC file without stream information")
    facts = int.from_bytes(info[10:18], "big")
    rate, channels, samples = facts >> 44, (facts >> 41 & 7) + 1, facts & (1 << 36) - 1
    block = int.from_bytes(info[2:4], "big")
    if not rate or not block:
        raise NotAudio("a FLAC file without audio")
    came = _find_last_sample(view, min(position, len(view)), block)
    cut = ""
    if samples and came is not None and came < samples:
        cut = f"its header says {samples:,} samples, and {came:,} came"
    elif samples and came is None:
        cut = f"its header says {samples:,} samples, and no frame came"
    elif not samples and came is None:
        raise NotAudio("a FLAC file without audio")
    seconds = (came or 0) / rate if cut or not samples else samples / rate
    bitrate = round((len(view) - start) * 8 / seconds) if seconds else None
    audio = Audio(seconds, rate, channels, bitrate)
    return Inspection(audio, "FLAC", "audio/flac", (), cut, is_counted=bool(samples) and not cut)


def _find_last_sample(view: memoryview, start: int, block: int) -> int | None:
    """Return the number of the sample behind the last frame; None without a frame."""
    lowest = max(start, len(view) - 2 * _MAX_FRAME_BYTES)
    tail = bytes(view[lowest:])
    at = tail.rfind(b"\xff")
    while at >= 0:
        end = _read_frame_end(tail, at, block)
        if end is not None:
            return end
        at = tail.rfind(b"\xff", 0, at)
    return None


def _read_frame_end(data: bytes, at: int, block: int) -> int | None:
    """Return the number of the sample behind the frame whose header is at a position; None where there is none."""
    if len(data) < at + 6 or data[at + 1] & 0xFC != 0xF8:
        return None
    is_variable, size_code, rate_code = data[at + 1] & 1, data[at + 2] >> 4, data[at + 2] & 15
    number, position = _read_number(data, at + 4)
    if number is None or not size_code:
        return None
    if size_code in (6, 7):
        width = size_code - 5
        samples = int.from_bytes(data[position : position + width], "big") + 1
        position += width
    else:
        samples = 192 if size_code == 1 else 576 << size_code - 2 if size_code < 6 else 256 << size_code - 8
    position += {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if position >= len(data) or _crc8(data[at:position]) != data[position]:
        return None
    return (number if is_variable else number * block) + samples


def _read_number(data: bytes, at: int) -> tuple[int | None, int]:
    """Read a number that is coded as UTF-8 codes a character, up to seven bytes."""
    first = data[at]
    if first < 0x80:
        return first, at + 1
    more = 7 - (~first & 0xFF).bit_length()
    if not 1 <= more <= 6 or at + more >= len(data):
        return None, at
    value = first & (0x3F >> more)
    for byte in data[at + 1 : at + 1 + more]:
        if byte & 0xC0 != 0x80:
            return None, at
        value = value << 6 | byte & 0x3F
    return value, at + 1 + more


def _crc8(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ _CRC8_POLYNOMIAL if crc & 0x80 else crc << 1) & 0xFF
    return crc
