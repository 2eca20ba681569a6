"""Decide whether a body is a call's whole recording.

Exact facts decide: how many bytes upstream says there are, and what the body's own header and sizes say. A duration
only raises a question, which upstream's answer about the recording settles.
"""

from collections.abc import Callable
from dataclasses import dataclass

from .audio import Audio, Inspection, NotAudio, OtherAnswer
from .audio_formats import inspect_audio
from .errors import InvalidAudio

CUT_AT_SOURCE = "source"
"""The check that fails where upstream itself has only the cut body: fetching it again would change nothing."""
OTHER_ANSWER = "answer"
"""The check that fails where a page of text came in place of a recording, as a service that is down sends it."""
UNANSWERED = "upstream did not say"
_TOLERANCE_SECONDS, _TOLERANCE_SHARE = 2.0, 0.001
_MANY_BYTES = 256  # more than a newline or the padding of a tag: a piece of audio may have been there
_EMPTY = Inspection(Audio(0.0, None, None, None), "nothing", "audio/mpeg", ("the body of a call of 0 s is empty",))


@dataclass(frozen=True, slots=True)
class Stated:
    """What upstream's answer about one recording says of it; None for what it does not say.

    `problem` says why there is no answer.
    """

    size_bytes: int | None = None
    duration_seconds: float | None = None
    problem: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing that a body can be compared with."""
        return self.size_bytes is None and self.duration_seconds is None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A body that came for a call. `is_length_known` says that the storage declared its length, and all of it came."""

    size_bytes: int
    is_length_known: bool
    call_seconds: float | None
    inspection: Inspection | None
    problem: str = ""
    failed_check: str = "frames"

    @property
    def is_doubtful(self) -> bool:
        """Whether upstream's answer about the recording is needed: no exact fact is at hand, or something is odd."""
        found = self.inspection
        if found is None:
            return not self.is_length_known
        return bool(
            found.cut
            or not (self.is_length_known or found.is_counted)
            or found.unexplained_bytes >= _MANY_BYTES
            or found.ends_in_frame
            or not found.is_mp3
            or found is _EMPTY
            or self._is_duration_off
        )

    @property
    def _is_duration_off(self) -> bool:
        seconds = self.inspection.audio.duration_seconds if self.inspection is not None else None
        return seconds is not None and self.call_seconds is not None and differs(seconds, self.call_seconds)


def examine(data: bytes | memoryview, *, is_length_known: bool = True, call_seconds: float | None = None) -> Candidate:
    """Read a body, and return what it is; `call_seconds` is the call's duration, where the list says it."""
    size = len(data)
    if not size and call_seconds == 0:
        return Candidate(size, is_length_known, call_seconds, _EMPTY)
    try:
        return Candidate(size, is_length_known, call_seconds, inspect_audio(data))
    except NotAudio as error:
        check = OTHER_ANSWER if isinstance(error, OtherAnswer) else "frames"
        return Candidate(size, is_length_known, call_seconds, None, f"not a whole MP3: {error}", check)


def decide(candidate: Candidate, stated: Stated | None) -> Inspection:
    """Return what a body is, with all of its defects, if it is the call's whole recording.

    `stated` is upstream's answer about the recording, if it was asked. Raises `InvalidAudio` with the check that
    failed: a proven cut comes before the lack of audio. Another format than MP3 is the recording unless upstream's size
    contradicts it.
    """
    answer, size = stated or Stated(), candidate.size_bytes
    if answer.size_bytes is not None and answer.size_bytes > size:
        text = f"the body is cut: {size:,} bytes came, and upstream says {answer.size_bytes:,}"
        raise InvalidAudio("size", "; ".join([text, *_describe_shortage(candidate)]))
    found = candidate.inspection
    if found is None:
        raise InvalidAudio(candidate.failed_check, candidate.problem)
    if found.cut:
        if candidate.is_length_known and answer.size_bytes == size:
            raise InvalidAudio(
                CUT_AT_SOURCE, f"cut at the source: {found.cut}; Content-Length and `size_bytes` agree with the bytes"
            )
        raise InvalidAudio("counts", f"the body is cut: {found.cut}")
    if not found.is_mp3 and answer.size_bytes not in (None, size):
        raise InvalidAudio(
            "format",
            f"not the recording: {found.format}, {size:,} bytes, and upstream says {answer.size_bytes:,} bytes",
        )
    defects = [*found.defects, *_compare_duration(candidate, found, answer)]
    if answer.size_bytes is not None and answer.size_bytes < size:
        defects.append(f"upstream says {answer.size_bytes:,} bytes, and {size:,} came")
    if not candidate.is_length_known and not found.is_counted and answer.size_bytes is None:
        defects.append(f"nothing says how many bytes it must have ({answer.problem or UNANSWERED})")
    return found._replace(defects=tuple(defects))


def verify_audio(
    data: bytes | memoryview,
    *,
    is_length_known: bool = True,
    call_seconds: float | None = None,
    stated: Stated | None = None,
    ask: Callable[[], Stated] | None = None,
) -> Inspection:
    """Return what a body is, with its defects, if it is the call's whole recording; see `examine` and `decide`.

    `stated` is upstream's answer, if there is one already. Otherwise `ask` gets it, and is called only in doubt.
    """
    candidate = examine(data, is_length_known=is_length_known, call_seconds=call_seconds)
    if stated is None and ask is not None and candidate.is_doubtful:
        stated = ask()
    return decide(candidate, stated)


def describe_accepted(data: bytes | memoryview) -> Inspection:
    """Return what bytes are that are kept whatever they are: their measures as far as they can be read."""
    candidate = examine(data, call_seconds=0.0)
    found = candidate.inspection
    if found is None:
        unknown = Audio(None, None, None, None)
        return Inspection(unknown, "unknown", "application/octet-stream", (candidate.problem,))
    return found._replace(defects=(*found.defects, found.cut)) if found.cut else found


def differs(seconds: float, stated_seconds: float) -> bool:
    """Return whether two lengths differ by more than rounding does."""
    return abs(seconds - stated_seconds) > max(_TOLERANCE_SECONDS, _TOLERANCE_SHARE * stated_seconds)


def _describe_shortage(candidate: Candidate) -> list[str]:
    """Return what a body has, of which bytes are missing."""
    found, call = candidate.inspection, candidate.call_seconds
    if found is None:
        return [candidate.problem]
    seconds = found.audio.duration_seconds
    of_call = [] if seconds is None or call is None else [f"{seconds:.1f} s of audio for a call of {call:g} s"]
    return [*of_call, *found.defects[:1]]


def _compare_duration(candidate: Candidate, found: Inspection, answer: Stated) -> list[str]:
    """Return the defects of a length that is not the stated one. Raises `InvalidAudio` where audio is missing.

    Upstream's own length refuses a body that is shorter, unless its size is exactly the stated one.
    """
    seconds, call, own = found.audio.duration_seconds, candidate.call_seconds, answer.duration_seconds
    if seconds is None:
        return []
    if own is not None and differs(seconds, own):
        of_call = "" if call is None else f" for a call of {call:g} s"
        text = f"{seconds:.1f} s of audio{of_call}, and upstream says {own:g} s of its recording"
        if seconds < own and answer.size_bytes is None:
            raise InvalidAudio("duration", text)
        return [text]
    if call is not None and differs(seconds, call) and answer.is_empty:
        return [f"{seconds:.1f} s of audio for a call of {call:g} s ({answer.problem or UNANSWERED})"]
    return []
