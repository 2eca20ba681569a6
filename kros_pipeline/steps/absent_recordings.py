"""The rows of calls of which upstream shows no recording: not yet, never, or no longer."""

from datetime import date, datetime

from ..archive.parquet import Row
from ..core.clock import Clock
from ..core.days import grace_is_over
from ..core.statuses import RecordingStatus
from ..core.two_answers import FirstAnswer, are_two, is_last_chance
from .recording_rows import (
    ANSWERED_ONCE,
    ANSWERED_TWICE,
    LOST_UNSEEN,
    RETENTION_WAS_OVER,
    PendingRecording,
    RecordingRows,
)


class AbsentRecordings:
    """Makes the rows of one day's calls without a recording.

    `was_seen_with_recordings` says that the list has shown a recording of some call of the day: the day was looked at
    while upstream still had its recordings.
    """

    def __init__(self, day: date, rows: RecordingRows, clock: Clock, *, lookback_days: int, retention_days: int | None):
        self._day, self._rows, self._clock, self._retention_days = day, rows, clock, retention_days
        self.grace_is_over = grace_is_over(day, clock.now(), lookback_days)
        self.was_seen_with_recordings = False

    def without_url(self, call: PendingRecording, attempts: int) -> Row:
        """Make the row of a call that was asked for, and of which upstream shows no URL."""
        if not self.grace_is_over:
            status, reason = RecordingStatus.PENDING, "upstream shows no URL at present"
        elif call.has_recording:
            status, reason = RecordingStatus.LOST, "listed with a recording once, and upstream shows none now"
        else:
            return self.without_recording(call, attempts)
        return self._rows.unarchived(call, status, reason, attempts=attempts)

    def settle_unasked(self, call: PendingRecording, listed_at: datetime | None) -> Row | None:
        """Make the row of a call that has no URL, where nothing is asked; None where upstream has to be asked.

        A call that was asked about after the grace days needs one more answer: a row of the list, or later a request.
        """
        first = call.first_answer
        if first is None or not first.is_asked:
            return None
        if are_two(first.at, listed_at):
            return self._rows.unarchived(call, RecordingStatus.NOT_RECORDED, ANSWERED_TWICE)
        if are_two(first.at, self._clock.now()) or self._is_last_chance():
            return None
        return self._rows.unarchived(call, RecordingStatus.PENDING, str(first))

    def without_recording(self, call: PendingRecording, attempts: int = 0) -> Row:
        """Make the row of a call of which neither the list nor upstream's answer has ever shown a recording.

        Upstream has to say so twice, but for the end of its retention. Once retention is over, a deleted recording
        looks like one that never was. Where the list shows no recording of the day at all, everything may have been
        deleted before the first look: that is a loss, until an operator acknowledges it. Where it shows others, calls
        without one were mostly not recorded: the day's problems say it.
        """
        first, now, expires_on = call.first_answer, self._clock.now(), self._rows.expires_on
        is_over = expires_on is not None and now.date() >= expires_on
        has_two = first is not None and are_two(first.at, now)
        status, reason = RecordingStatus.NOT_RECORDED, ANSWERED_TWICE if has_two else ANSWERED_ONCE
        if is_over and not (has_two and first is not None and first.is_asked):
            reason = RETENTION_WAS_OVER
            if not self.was_seen_with_recordings:
                status, reason = RecordingStatus.LOST, LOST_UNSEEN
        elif not has_two and not self._is_last_chance():
            status, reason = RecordingStatus.PENDING, str(FirstAnswer(first.at if first else now, is_asked=True))
        return self._rows.unarchived(call, status, reason, attempts=attempts)

    def _is_last_chance(self) -> bool:
        return is_last_chance(self._day, self._retention_days, self._clock.now())
