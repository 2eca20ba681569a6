"""Recognize the format of a body by its first bytes, and measure it.

Upstream documents MP3. Anything else that plays is kept as it came, too: its format is named in the defects.
"""

from . import mp3
from .adts import inspect_adts, is_adts
from .audio import FORMAT_CHANGED, Inspection, NotAudio
from .audio_tags import tag_end
from .flac import inspect_flac
from .mp4 import inspect_mp4
from .ogg import inspect_ogg
from .wav import inspect_au, inspect_wav
from .webm import inspect_webm

_NOT_AUDIO = ((b"\x1f\x8b", "gzip data"), (b"PK\x03\x04", "a ZIP archive"), (b"%PDF", "a PDF document"))


def inspect_audio(body: bytes | bytearray | memoryview) -> Inspection:
    """Return what a body is. Raises `NotAudio` for one that no player plays."""
    view = memoryview(body)
    start = 0
    while (behind := tag_end(view, start, len(view))) is not None and behind < len(view):
        start = behind
    try:
        found = _inspect_other(view, start)
    except IndexError:  # a header that its file does not hold
        raise NotAudio(f"a header at byte {start} of {len(view)} says more than came") from None
    if found is None:
        return mp3.inspect(view)
    return found._replace(defects=(f"{FORMAT_CHANGED}: {found.format}", *found.defects))


def _inspect_other(view: memoryview, start: int) -> Inspection | None:
    """Return what a body of another format is; None where it may be an MP3."""
    head = bytes(view[start : start + 12])
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return inspect_wav(view[start:])
    if head[:4] == b".snd":
        return inspect_au(view[start:])
    if head[:4] == b"OggS":
        return inspect_ogg(view[start:])
    if head[:4] == b"fLaC":
        return inspect_flac(view, start)
    if head[4:8] in (b"ftyp", b"styp"):
        return inspect_mp4(view[start:])
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return inspect_webm(view[start:])
    if head[:1] == b"\xff" and len(view) - start > 7 and is_adts(view, start):
        return inspect_adts(view, start)
    for magic, what in _NOT_AUDIO:
        if head.startswith(magic):
            raise NotAudio(f"{what}, no audio")
    return None
