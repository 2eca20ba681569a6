"""Describe what a recording's bytes are: the measures of its audio, and what is wrong with them.

That a body plays is a statement about its frames or blocks. Nobody here listens to the sound.
"""

from typing import NamedTuple

FORMAT_CHANGED = "upstream's format changed"
SAME_BYTES = "another call of the day has the same bytes"
CONTRADICTED = "upstream declares other audio than these bytes, which another call of the day has, too"
MP3_TYPE = "audio/mpeg"
_MAX_NAMED_DEFECTS, _LAST_DEFECTS = 8, 3


class NotAudio(ValueError):
    """The bytes are no audio that plays. The message says what was found, and at which byte."""


class OtherAnswer(NotAudio):
    """The bytes are a page of text in place of a recording."""


class Audio(NamedTuple):
    """The measures of a recording, from all of its frames; None where its format does not say.

    `bitrate_bps` is the mean over the frames.
    """

    duration_seconds: float | None
    sample_rate_hz: int | None
    channels: int | None
    bitrate_bps: int | None


class Inspection(NamedTuple):
    """What a body is.

    `format` names the container and codec, as operators read it. `defects` are phrases, each about what a player passes
    over. `cut` says how the body's own header or sizes prove that bytes are missing behind; empty without a proof.
    `is_counted` is True where they prove that nothing is missing. `unexplained_bytes` belong to neither audio nor tags.
    `ends_in_frame`: the body ends inside a frame, as a cut body mostly does, and one of a recorder that was stopped.
    """

    audio: Audio
    format: str = "MP3"
    content_type: str = MP3_TYPE
    defects: tuple[str, ...] = ()
    cut: str = ""
    is_counted: bool = False
    unexplained_bytes: int = 0
    ends_in_frame: bool = False

    @property
    def is_mp3(self) -> bool:
        """Whether the body has the format that upstream documents."""
        return self.content_type == MP3_TYPE


def join_defects(defects: tuple[str, ...] | list[str]) -> str | None:
    """Return the text of the column `defects`: at most eight phrases and the number of the others; None for none.

    The last ones are always named: what upstream says, and that another call has the same bytes.
    """
    if not defects:
        return None
    more = len(defects) - _MAX_NAMED_DEFECTS
    if more <= 0:
        return "; ".join(defects)
    return "; ".join([*defects[: _MAX_NAMED_DEFECTS - _LAST_DEFECTS], f"and {more} more", *defects[-_LAST_DEFECTS:]])
