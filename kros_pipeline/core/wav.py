"""Measure WAV (RIFF, RF64) and AU files: PCM, µ-law, A-law and other codecs of a constant rate."""

from .audio import Audio, Inspection, NotAudio

_CODECS = {1: "PCM", 3: "float PCM", 6: "A-law", 7: "µ-law", 0x11: "IMA ADPCM", 0x31: "GSM", 0x55: "MP3"}
_AU_CODECS = {1: ("µ-law", 1), 2: ("PCM", 1), 3: ("PCM", 2), 4: ("PCM", 3), 5: ("PCM", 4), 27: ("A-law", 1)}
_EXTENSIBLE, _UNKNOWN_SIZE = 0xFFFE, 0xFFFFFFFF


def inspect_wav(view: memoryview) -> Inspection:
    """Read the chunks of a WAV file; the sizes that they say prove a cut. Raises `NotAudio` without audio."""
    position, codec, facts, long_size, defects = 12, "", None, 0, []
    while position + 8 <= len(view):
        name, size = bytes(view[position : position + 4]), _little(view, position + 4, 4)
        content, rest = position + 8, len(view) - position - 8
        if name == b"ds64" and rest >= 16:
            long_size = _little(view, content + 8, 8)
        elif name == b"fmt " and rest >= 16:
            tag = _little(view, content, 2)
            tag = _little(view, content + 24, 2) if tag == _EXTENSIBLE and rest >= 26 else tag
            codec = _CODECS.get(tag, f"codec {tag}")
            facts = (_little(view, content + 2, 2), _little(view, content + 4, 4), _little(view, content + 8, 4))
        elif name == b"data":
            is_stated = size not in (0, _UNKNOWN_SIZE) or bool(long_size)
            stated = long_size or size
            came = min(rest, stated) if is_stated else rest
            cut = f"its data chunk says {stated:,} bytes, and {rest:,} came" if is_stated and rest < stated else ""
            if not is_stated:
                defects.append("its header does not say how long it is")
            return _describe("WAV", codec, facts, came, tuple(defects), cut, is_stated)
        position = content + size + size % 2
    raise NotAudio(f"a WAV file without audio, of {len(view):,} bytes")


def inspect_au(view: memoryview) -> Inspection:
    """Read the header of an AU file. Raises `NotAudio` without audio."""
    if len(view) < 24:
        raise NotAudio(f"an AU file without audio, of {len(view):,} bytes")
    offset, size, encoding, rate, channels = (int.from_bytes(view[at : at + 4], "big") for at in range(4, 24, 4))
    codec, width = _AU_CODECS.get(encoding, (f"codec {encoding}", 0))
    rest, is_stated = len(view) - offset, size != _UNKNOWN_SIZE
    cut = f"its header says {size:,} bytes of audio, and {max(rest, 0):,} came" if is_stated and rest < size else ""
    facts = (channels, rate, rate * channels * width)
    return _describe("AU", codec, facts, min(rest, size) if is_stated else rest, (), cut, is_stated)


def _describe(
    container: str,
    codec: str,
    facts: tuple[int, int, int] | None,
    size: int,
    defects: tuple[str, ...],
    cut: str,
    is_stated: bool,
) -> Inspection:
    if facts is None or not all(facts) or (size <= 0 and not cut):
        raise NotAudio(f"a {container} file without audio")
    channels, rate, bytes_per_second = facts
    audio = Audio(max(size, 0) / bytes_per_second, rate, channels, bytes_per_second * 8)
    content_type = "audio/wav" if container == "WAV" else "audio/basic"
    return Inspection(audio, f"{container}, {codec}", content_type, defects, cut, is_stated and not cut)


def _little(view: memoryview, position: int, size: int) -> int:
    return int.from_bytes(view[position : position + size], "little")
