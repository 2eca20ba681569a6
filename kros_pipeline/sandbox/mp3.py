"""Make the sandbox's audio: valid MP3 files that decode to silence, each with different bytes.

96 kbit/s, 48 kHz, mono, constant bitrate, as KrosAI documents: frames of 288 bytes, 24 ms each. A frame is

    FF FB 74 C0   header: MPEG-1 layer III, no CRC, 96 kbit/s, 48 kHz, no padding, mono
    17 x 00       side information: nothing is coded, so every decoder plays silence
    4 bytes       the frame's number, so that all frames of a file differ (swapped blocks change the hash)
    263 bytes     derived from seed and call id, so that all calls differ

Everything after the side information is ancillary data, which decoders skip. Its bytes are below 0x80, so that no
decoder finds a false sync word in it.
"""

from __future__ import annotations

import hashlib
import io
import wave

import numpy as np

FRAME_BYTES = 288
FRAME_MILLISECONDS = 24
_HEADER = b"\xff\xfb\x74\xc0"
_SIDE_INFORMATION_BYTES = 17
_NUMBER_AT = len(_HEADER) + _SIDE_INFORMATION_BYTES
_NUMBER_BYTES = 4
_WAV_HEADER_BYTES = 44
_OWN_BYTES = FRAME_BYTES - _NUMBER_AT - _NUMBER_BYTES


def frames_in(seconds: float) -> int:
    """Return the number of frames nearest to `seconds`, at least one."""
    return max(1, round(seconds * 1000 / FRAME_MILLISECONDS))


def mp3_audio(seed: int, call_id: str, frames: int) -> memoryview:
    """Make the recording of one call: equal arguments give the same `frames * 288` bytes."""
    own = np.frombuffer(hashlib.shake_128(f"{seed}/{call_id}".encode()).digest(_OWN_BYTES), np.uint8) & 0x7F
    frame = np.frombuffer(_HEADER + bytes(_SIDE_INFORMATION_BYTES + _NUMBER_BYTES) + own.tobytes(), np.uint8)
    audio = np.tile(frame, (frames, 1))
    numbers = np.arange(frames, dtype=np.uint32)
    for place in range(_NUMBER_BYTES):
        audio[:, _NUMBER_AT + place] = (numbers >> np.uint32(7 * place)) & 0x7F
    return audio.reshape(-1).data


def wav_audio_of_size(size_bytes: int) -> bytes:
    """Make silence in WAV of an even size, which takes as long as an MP3 of this size: 6 kHz, 16 bits, mono."""
    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setparams((1, 2, 6000, 0, "NONE", "not compressed"))
        wav.writeframes(bytes(size_bytes - _WAV_HEADER_BYTES))
    return file.getvalue()


def wav_audio(seconds: float) -> bytes:
    """Make silence in another format: WAV, 8 kHz, 16 bits, mono."""
    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setparams((1, 2, 8000, 0, "NONE", "not compressed"))
        wav.writeframes(bytes(2 * int(8000 * seconds)))
    return file.getvalue()
