"""Say in words what became of a call's recording and transcript."""

import re
from dataclasses import dataclass

from ..core.statuses import RecordingStatus, TranscriptStatus
from . import call_filter
from .day_index import FlagRow

_PLACE = re.compile(r"turn (\d+) of speaker [a-z]+(?:, who may be anyone)?(?:, characters (\d+) to (\d+),)?")


@dataclass(frozen=True, slots=True)
class State:
    """A state, in a word and in a sentence. `tone` is `good`, `wait` or `bad`."""

    word: str
    sentence: str
    tone: str


def describe_recording(state: str | None) -> State:
    """Return the state of a recording."""
    match state:
        case call_filter.IN_QUARANTINE:
            return State(
                "in quarantine",
                "A body came and was rejected; it is kept in quarantine. An operator can listen to it there, and "
                "accept it by the job accept_quarantined.",
                "bad",
            )
        case RecordingStatus.ARCHIVED:
            return State("archived", "The recording is in the archive.", "good")
        case RecordingStatus.PENDING:
            return State("waiting", "The recording is not archived yet. The pipeline tries again by itself.", "wait")
        case RecordingStatus.NOT_RECORDED:
            return State("not recorded", "KrosAI has no recording of this call: it was not recorded.", "wait")
        case RecordingStatus.LOST:
            return State("lost", "KrosAI deleted the recording before it was archived. It cannot come back.", "bad")
        case RecordingStatus.FAILED:
            return State("failed", "The recording was tried and is not archived. An operator has to look at it.", "bad")
        case RecordingStatus.REFUSED:
            return State("refused", "KrosAI or a setting refused the recording. An operator has to look at it.", "bad")
    return State("unknown", "The day has no row for this recording: materialize the asset recordings.", "bad")


def describe_transcript(status: str | None) -> State:
    """Return the state of a transcript."""
    match status:
        case TranscriptStatus.KEPT:
            return State("kept", "The transcript is in the archive as it came.", "good")
        case TranscriptStatus.PENDING:
            return State("waiting", "The transcript may still come. The pipeline asks again by itself.", "wait")
        case TranscriptStatus.NONE:
            return State("none", "KrosAI has no transcript of this call.", "wait")
    return State("unknown", "The day has no row for this transcript: materialize the asset transcripts.", "bad")


def rule_marks(flags: list[FlagRow]) -> dict[int, list[tuple[int, int, str]]]:
    """Return what the rules marked, by turn: places in the turn's text, as `flagged_calls.reason` says them.

    A turn that is named without a place has an empty list: the whole turn is marked.
    """
    marks: dict[int, list[tuple[int, int, str]]] = {}
    for flag in flags:
        if flag.turn_index is not None:
            marks.setdefault(flag.turn_index, [])
        for turn, begin, end in _PLACE.findall(flag.reason or ""):
            places = marks.setdefault(int(turn), [])
            if begin:
                places.append((int(begin), int(end), "rule"))
    return marks
