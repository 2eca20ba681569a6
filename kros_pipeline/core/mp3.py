"""Verify that bytes are a whole MP3, and measure it. Every frame's header is read, and every byte is accounted for.

A reader that trusts the first header reports three minutes of audio for a file that is an error page after 2,000 bytes.
Layout: ISO/IEC 11172-3 (MPEG 1) and 13818-3 (MPEG 2 and 2.5), Layer III.
"""

from dataclasses import dataclass

import numpy as np

_BITRATES_KBPS = {
    1: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_SAMPLE_RATES_HZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_HEADER_BYTES = 4
_FIRST_STRIDE_FRAMES, _STRIDE_GROWTH = 64, 128  # three minutes of frames of 24 ms are compared in two strides


class NotAudio(ValueError):
    """The bytes are no whole MP3. The message says what was found, and at which byte."""


@dataclass(frozen=True, slots=True)
class Audio:
    """The measures of an MP3, from all of its frames. `bitrate_bps` is the mean over the frames."""

    duration_seconds: float
    sample_rate_hz: int
    channels: int
    bitrate_bps: int


@dataclass(frozen=True, slots=True)
class _Frame:
    size_bytes: int
    samples: int
    sample_rate_hz: int
    channels: int


def inspect(body: bytes | bytearray | memoryview) -> Audio:
    """Read every frame between the tags. Raises `NotAudio` where a byte belongs to neither a frame nor a tag."""
    view = memoryview(body)
    if not view:
        raise NotAudio("the body is empty")
    start, end = _audio_span(view)
    position, samples, first = start, 0, None
    while position < end:
        frame = _frame_at(view, position, end)
        if first is None:
            first = frame
        elif frame.sample_rate_hz != first.sample_rate_hz:
            raise NotAudio(f"the sample rate changes at byte {position} of {len(view)}")
        run = _equal_frames(view, position, end, frame.size_bytes)
        position += run * frame.size_bytes
        samples += run * frame.samples
    if first is None:
        raise NotAudio("there is no audio in it, only tags")
    seconds = samples / first.sample_rate_hz
    return Audio(seconds, first.sample_rate_hz, first.channels, round((end - start) * 8 / seconds))


def _frame_at(view: memoryview, position: int, end: int) -> _Frame:
    header = bytes(view[position : position + _HEADER_BYTES])
    frame = _parse_header(header)
    if frame is None:
        what = "an HTML or JSON answer" if header.lstrip()[:1] in (b"<", b"{") else "no MP3 frame"
        raise NotAudio(f"{what} at byte {position} of {len(view)}")
    if position + frame.size_bytes > end:
        raise NotAudio(f"the last frame is cut: {end - position} of its {frame.size_bytes} bytes are there")
    return frame


def _parse_header(header: bytes) -> _Frame | None:
    if len(header) < _HEADER_BYTES or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    bitrate_index, rate_index, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or layer != 1 or bitrate_index in (0, 15) or rate_index == 3:
        return None
    is_mpeg1 = version == 3
    kbps = _BITRATES_KBPS[1 if is_mpeg1 else 2][bitrate_index]
    rate = _SAMPLE_RATES_HZ[version][rate_index]
    samples = 1152 if is_mpeg1 else 576
    return _Frame(samples // 8 * kbps * 1000 // rate + padding, samples, rate, 1 if header[3] >> 6 == 3 else 2)


def _equal_frames(view: memoryview, position: int, end: int, size: int) -> int:
    """Count the whole frames that follow here with an equal header: in a file of constant bitrate, all of them."""
    count = (end - position) // size
    header = view[position : position + 3]
    if count < 2 or view[position + size : position + size + 3] != header:
        return 1  # a variable bitrate or padding: the caller goes on frame by frame
    # Compare headers as numbers, without their fourth byte, in few numpy operations on many frames each: numpy releases
    # the GIL in each operation, and with thirty threads, taking it back costs more time than the comparison.
    expected, stride = int.from_bytes(header, "little"), _FIRST_STRIDE_FRAMES
    while True:
        stride = min(stride, count)
        headers = np.ndarray((stride,), "<u4", view, position, (size,))
        different = (headers & 0xFFFFFF) != expected
        first = int(different.argmax())
        if different[first]:
            return first
        if stride == count:
            return count
        stride *= _STRIDE_GROWTH  # a small first stride keeps many short runs linear in the file's size


def _audio_span(view: memoryview) -> tuple[int, int]:
    """Return where the frames begin and end, without an ID3v2 tag in front and ID3v1 or APEv2 tags behind."""
    start, end = 0, len(view)
    if bytes(view[:3]) == b"ID3" and end >= 10:
        size = 0
        for byte in view[6:10]:
            size = size << 7 | byte & 0x7F
        start = 10 + size + (10 if view[5] & 0x10 else 0)
        if start > end:
            raise NotAudio("the ID3 tag in front is longer than the body")
    if end - start >= 128 and bytes(view[end - 128 : end - 125]) == b"TAG":
        end -= 128
    if end - start >= 32 and bytes(view[end - 32 : end - 24]) == b"APETAGEX":
        size = int.from_bytes(view[end - 20 : end - 16], "little")
        has_header = int.from_bytes(view[end - 12 : end - 8], "little") >> 31
        tag = size + (32 if has_header else 0)
        if tag <= end - start:
            end -= tag
    return start, end
