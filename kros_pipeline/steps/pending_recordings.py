"""Which calls of a day a run is about, and what is known of each when it begins."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Self

from ..archive.parquet import ROWS_PER_BATCH, Partition, Row
from ..core.errors import UnknownCalls
from ..core.kept_body import KeptBody
from ..core.list_answers import ListAnswers
from ..core.object_keys import call_key
from ..core.redaction import redact
from ..core.statuses import RecordingStatus
from ..core.two_answers import FirstAnswer, is_after_call
from .day_snapshot import DaySnapshot
from .pending_file import PendingFile
from .recording_archiver import RecordingArchiver
from .recording_rows import NO_URL_YET, PendingRecording

_MAX_NAMED_CALLS = 5


@dataclass(frozen=True)
class SortedCalls:
    """The calls of a day by what a run does with them. Those that are not in it need nothing.

    `to_adopt` are in the bucket already, `to_archive` are to be downloaded, and `to_ask` are those of which upstream is
    asked whether it has a recording. `settled` has the rows of calls that need no request.
    """

    to_adopt: PendingFile[PendingRecording]
    to_archive: PendingFile[PendingRecording]
    to_ask: PendingFile[PendingRecording]
    settled: PendingFile[Row]

    @classmethod
    @contextmanager
    def opened(cls) -> Iterator[Self]:
        """Open four empty files."""
        with (
            PendingFile[PendingRecording]() as to_adopt,
            PendingFile[PendingRecording]() as to_archive,
            PendingFile[PendingRecording]() as to_ask,
            PendingFile[Row]() as settled,
        ):
            yield cls(to_adopt, to_archive, to_ask, settled)


def sort_calls(
    snapshot: DaySnapshot,
    archiver: RecordingArchiver,
    found: SortedCalls,
    *,
    chosen: Collection[str] | None,
    may_ask: bool,
    now: datetime,
) -> None:
    """Sort the calls of a day into `found`. The `archiver` learns which bodies are archived already.

    `chosen` are the only calls to be tried, None for all. With `may_ask` upstream may be asked about calls without a
    recording: the grace days are over.
    """
    listed, archived_sha256s = ListAnswers(snapshot.listing), list[str]()
    for call, row in snapshot.calls_with_rows():
        call_id, status = call["call_id"], row["status"] if row else None
        listed_at = listed.at(call_id)
        pending = make_pending(call, row, listed.first_at(call_id, call["listed_at"]))
        archiver.absent.was_seen_with_recordings |= pending.has_recording
        is_stored = archiver.rows.key(pending) in snapshot.audio_keys
        if row is not None and is_stored and status == RecordingStatus.ARCHIVED:
            if (row["duration_seconds"] or 0.0) > 0.0:
                archived_sha256s.append(row["sha256"])
            if len(archived_sha256s) == ROWS_PER_BATCH:
                archiver.shared.add_archived(archived_sha256s)
                archived_sha256s.clear()
        elif chosen is not None and call_id not in chosen:
            continue
        elif is_stored:
            found.to_adopt.add(call_id, pending)
        elif chosen is not None:
            found.to_archive.add(call_id, pending)
        elif row is not None and _rests(pending, row, now):
            continue
        elif pending.has_recording or status == RecordingStatus.LOST:
            found.to_archive.add(call_id, pending)
        elif status == RecordingStatus.NOT_RECORDED:
            continue
        elif not may_ask:
            reason = str(pending.first_answer or NO_URL_YET)
            found.settled.add(call_id, archiver.rows.unarchived(pending, RecordingStatus.PENDING, reason))
        elif (settled := archiver.absent.settle_unasked(pending, listed_at)) is not None:
            found.settled.add(call_id, settled)
        else:
            found.to_ask.add(call_id, pending)
    archiver.shared.add_archived(archived_sha256s)


def _rests(call: PendingRecording, row: Row, now: datetime) -> bool:
    """Return whether a rejected body is kept of a call, and nothing has changed since that would bring another."""
    if call.kept is None or row["status"] != RecordingStatus.FAILED:
        return False
    is_declared_anew = call.call_duration_seconds != row["declared_duration_seconds"]
    return not (call.kept.is_due(now) or is_declared_anew)


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
    """Make what is known of a call, from its row of `calls`, its row of `recordings` and its last listing.

    `listed_at` is when the last listing gave a first answer about the call, if it did.
    """
    return PendingRecording(
        call["call_id"],
        call["duration_seconds"],
        call["has_recording"],
        (row["attempts"] or 0) if row else 0,
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
