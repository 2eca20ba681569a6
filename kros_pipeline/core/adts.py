"""Measure AAC in ADTS frames: the form in which AAC comes without a container."""

from .audio import Audio, Inspection, NotAudio
from .audio_tags import strip_tags_behind

_RATES_HZ = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
_SAMPLES, _HEADER_BYTES, _CONSISTENT_FRAMES = 1024, 7, 10


def is_adts(view: memoryview, start: int) -> bool:
    """Return whether ADTS frames begin at a position: ten, or as many as there are."""
    position, count = start, 0
    while count < _CONSISTENT_FRAMES and position + _HEADER_BYTES <= len(view):
        size = _frame_bytes(view, position)
        if not size:
            return False
        position += size
        count += 1
    return count > 0


def inspect_adts(view: memoryview, start: int) -> Inspection:
    """Read every ADTS frame. Raises `NotAudio` without one."""
    end, position, blocks = strip_tags_behind(view, start, len(view)), start, 0
    rate_index, channels = view[start + 2] >> 2 & 15, (view[start + 2] & 1) << 2 | view[start + 3] >> 6
    defects: list[str] = []
    while position + _HEADER_BYTES <= end and (size := _frame_bytes(view, position)):
        if position + size > end:
            break
        blocks += (view[position + 6] & 3) + 1
        position += size
    if not blocks or rate_index >= len(_RATES_HZ):
        raise NotAudio("AAC without a whole frame")
    if position < end:
        defects.append(f"{end - position} bytes at byte {position}, behind the frames, are no whole frame")
    rate = _RATES_HZ[rate_index]
    seconds = blocks * _SAMPLES / rate
    audio = Audio(seconds, rate, channels or None, round((position - start) * 8 / seconds))
    return Inspection(audio, "AAC (ADTS)", "audio/aac", tuple(defects), unexplained_bytes=end - position)


def _frame_bytes(view: memoryview, position: int) -> int:
    """Return the size of the frame at a position; 0 where no frame begins there."""
    if view[position] != 0xFF or view[position + 1] & 0xF6 != 0xF0:
        return 0
    size = (view[position + 3] & 3) << 11 | view[position + 4] << 3 | view[position + 5] >> 5
    return size if size > _HEADER_BYTES else 0
