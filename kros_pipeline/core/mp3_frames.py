"""Read the headers of MPEG audio frames: MPEG 1, 2 and 2.5, layers II and III.

Layout: ISO/IEC 11172-3 (MPEG 1) and 13818-3 (MPEG 2; 2.5 halves its sample rates).
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

HEADER_BYTES = 4
MAX_FREE_FRAME_BYTES = 8_192  # of free format: 640 kbit/s at 8 kHz
_BITRATES_KBPS = {  # by version (1, or 2 for 2 and 2.5) and layer
    (1, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (2, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_SAMPLE_RATES_HZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_LAYERS = {1: 3, 2: 2}  # layer I is used by no recorder, and its headers look like 0xFF bytes


@dataclass(frozen=True, slots=True)
class Frame:
    """What one header says. `size_bytes` is 0 in free format, where the header does not say it.

    Frames of one stream have one `kind`: version, layer and sample rate. `mean_bytes` is the size without rounding.
    """

    size_bytes: int
    mean_bytes: float
    samples: int
    sample_rate_hz: int
    channels: int
    kind: int
    padding_bytes: int


@cache
def parse_header(sync: int, rates: int, mode: int) -> Frame | None:
    """Return the frame of a header, from its second, third and fourth byte; None where no frame has it.

    `mode` is the fourth byte's two highest bits. There are few headers, so that each is parsed once.
    """
    if sync & 0xE0 != 0xE0:
        return None
    version, layer = sync >> 3 & 3, _LAYERS.get(sync >> 1 & 3)
    bitrate_index, rate_index, padding = rates >> 4, rates >> 2 & 3, rates >> 1 & 1
    if version == 1 or layer is None or bitrate_index == 15 or rate_index == 3:
        return None
    kbps = _BITRATES_KBPS[1 if version == 3 else 2, layer][bitrate_index]
    rate = _SAMPLE_RATES_HZ[version][rate_index]
    samples = 1152 if version == 3 or layer == 2 else 576
    mean = samples / 8 * kbps * 1000 / rate
    size = samples // 8 * kbps * 1000 // rate + padding if kbps else 0
    kind = 1 + (version << 4 | layer << 2 | rate_index)
    return Frame(size, mean, samples, rate, 1 if mode == 3 else 2, kind, padding)


def frame_at(view: memoryview, position: int) -> Frame | None:
    """Return what the header at a position says; None where there is no header."""
    if position + HEADER_BYTES > len(view) or view[position] != 0xFF:
        return None
    return parse_header(view[position + 1], view[position + 2], view[position + 3] >> 6)


@cache
def header_tables() -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Return the sizes and kinds of all headers, by their second and third byte as one number; 0 for no frame."""
    sizes, kinds = np.zeros(1 << 16, np.int32), np.zeros(1 << 16, np.uint8)
    for sync in range(0xE0, 0x100):
        for rates in range(0x100):
            frame = parse_header(sync, rates, 3)
            if frame is not None and frame.size_bytes:
                sizes[sync << 8 | rates], kinds[sync << 8 | rates] = frame.size_bytes, frame.kind
    return sizes, kinds
