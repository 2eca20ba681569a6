"""Checks that a body is a call's recording."""

from . import mp3
from .errors import InvalidAudio
from .redaction import redact

_TOLERANCE_SECONDS, _TOLERANCE_SHARE = 5.0, 0.05


def verify_audio(data: bytes | memoryview, *, encoding: str, declared_seconds: float | None) -> mp3.Audio:
    """Return what a body is, if it is the call's recording. Raises `InvalidAudio` with the check that it failed.

    `encoding` is the answer's Content-Encoding; `declared_seconds` the length that upstream declared, if it did.
    """
    if encoding not in ("", "identity"):
        raise InvalidAudio("encoding", f"the storage sent it as {redact(encoding[:20])}, which was not asked for")
    try:
        audio = mp3.inspect(data)
    except mp3.NotAudio as error:
        raise InvalidAudio("frames", f"not a whole MP3: {error}") from None
    if declared_seconds is not None:
        tolerance = max(_TOLERANCE_SECONDS, _TOLERANCE_SHARE * declared_seconds)
        if abs(audio.duration_seconds - declared_seconds) > tolerance:
            raise InvalidAudio(
                "duration", f"{audio.duration_seconds:.1f} s of audio for a call of {declared_seconds:g} s"
            )
    return audio
