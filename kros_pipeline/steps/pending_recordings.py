"""Which calls of a day a run is about, and what is known of each when it begins."""

from collections.abc import Collection
from datetime import date, datetime

from ..archive.parquet import Partition, Row
from ..core.errors import UnknownCalls
from ..core.kept_body import KeptBody
from ..core.object_keys import call_key
from ..core.redaction import redact
from ..core.two_answers import FirstAnswer, is_after_call
from .recording_rows import PendingRecording

_MAX_NAMED_CALLS = 5


def choose_calls(day: date, call_ids: Collection[str], calls: Partition) -> set[str]:
    """Return the ids that an operator named, by the ids or by the keys by which calls are shown.

    Raises `UnknownCalls` for those of no call of the day.
    """
    wanted, found, chosen = set(call_ids), set(), set()
    for call in calls.rows(("call_id",)):
        names = wanted & {call["call_id"], call_key(call["call_id"])}
        if names:
            found |= names
            chosen.add(call["call_id"])
    if unknown := wanted - found:
        shown = ", ".join(sorted(map(redact, unknown))[:_MAX_NAMED_CALLS])
        raise UnknownCalls(f"call_ids: {len(unknown)} of them are no calls of {day}: {shown}")
    return chosen


def make_pending(call: Row, row: Row | None, listed_at: datetime | None) -> PendingRecording:
    """Make what is known of a call, from its row of `calls`, its row of `recordings` and its last listing."""
    return PendingRecording(
        call["call_id"],
        call["duration_seconds"],
        call["has_recording"],
        row["attempts"] if row else 0,
        _find_first_answer(call, row, listed_at),
        row["quarantine_key"] if row else None,
        KeptBody.parse(row["reason"]) if row else None,
    )


def _find_first_answer(call: Row, row: Row | None, listed_at: datetime | None) -> FirstAnswer | None:
    """Return the first answer that a call has no recording: the one that its row names, else the list's."""
    answers = [FirstAnswer.parse(row["reason"])] if row else []
    if listed_at is not None and not call["has_recording"]:
        answers.append(FirstAnswer(listed_at, is_asked=False))
    times = call["created_at"], call["completed_at"]
    return next((answer for answer in answers if answer is not None and is_after_call(answer.at, *times)), None)
