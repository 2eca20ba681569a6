"""The recording archiver: downloads one call's recording, verifies it, and puts it into the archive."""

from contextlib import suppress
from datetime import date, datetime

from ..archive.audit_log import AuditEvent, AuditLog
from ..archive.object_store import CREATE, ObjectStore
from ..archive.parquet import Row
from ..archive.tombstones import Tombstones
from ..core.audio_check import verify_audio
from ..core.clock import Clock
from ..core.days import grace_is_over
from ..core.errors import (
    ArchiveDenied,
    ArchiveError,
    ArchiveUnavailable,
    AudioGone,
    CallGone,
    CallNotFound,
    DownloadBroken,
    DownloadError,
    InvalidAudio,
    ObjectExists,
    RequestRefused,
    UnaddressableCall,
    UnexpectedResponse,
    UrlExpired,
    UrlRefused,
)
from ..core.object_keys import quarantine_key
from ..core.retention import upstream_expires_on
from ..core.statuses import RecordingStatus
from ..core.two_answers import FirstAnswer, are_two, is_last_chance
from ..source.call_source import Body, CallSource
from .recording_rows import (
    ANSWERED_ONCE,
    ANSWERED_TWICE,
    LOST_UNSEEN,
    RETENTION_WAS_OVER,
    PendingRecording,
    RecordingRows,
    StoredAudio,
    audio_to_metadata,
)
from .stored_audio import read_stored_audio

_MAX_DOWNLOADS = 4  # of one recording in one run
_MAX_MINTED_URLS = 3  # of one recording in one run
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.25, 10.0


class RecordingArchiver:
    """Archives recordings of one day; threads share it.

    What is wrong with one call becomes that call's row. What is likely to be wrong with every call is raised: any
    other `ApiError`, and any `ArchiveError`.

    `was_seen_with_recordings` says that the list has shown a recording of some call of the day: the day was looked at
    while upstream still had its recordings.
    """

    def __init__(
        self,
        day: date,
        *,
        source: CallSource,
        store: ObjectStore,
        tombstones: Tombstones,
        audit: AuditLog,
        clock: Clock,
        lookback_days: int,
        retention_days: int | None,
    ):
        self._day, self._source, self._store = day, source, store
        self._tombstones, self._audit, self._clock = tombstones, audit, clock
        self._grace_is_over, self._retention_days = grace_is_over(day, clock.now(), lookback_days), retention_days
        self.was_seen_with_recordings = False
        self.rows = RecordingRows(day, upstream_expires_on(day, retention_days))

    def archive(self, call: PendingRecording, url: str | None) -> Row:
        """Archive one recording and return its row. Without a fresh `url`, upstream is asked for one."""
        try:
            return self._try(call, url)
        except (CallNotFound, CallGone) as error:
            if call.has_recording or isinstance(error, CallGone):
                return self.rows.unarchived(call, RecordingStatus.LOST, f"gone upstream: {error}")
            return self._without_recording(call)
        except UrlRefused as error:
            return self.rows.unarchived(call, RecordingStatus.REFUSED, str(error), attempts=1)
        except (DownloadError, RequestRefused, UnaddressableCall, UnexpectedResponse) as error:
            return self.rows.failed(call, error)

    def adopt(self, call: PendingRecording) -> Row:
        """Make the row of an object that is in the bucket already, from its bytes: whoever wrote them, they are read.

        Of its metadata only the SHA-256 is looked at: an object without one was not written by this pipeline, and
        bytes with another one were changed. Such an object stays where it is, and the row is `failed`.
        """
        try:
            found = read_stored_audio(self._store, self.rows.key(call))
        except (ArchiveUnavailable, ArchiveDenied):
            raise
        except (ArchiveError, InvalidAudio) as error:
            return self.rows.unarchived(call, RecordingStatus.FAILED, str(error))
        return self._archived(call, found, attempts=0)

    def _try(self, call: PendingRecording, url: str | None) -> Row:
        """Download up to four times: with the same URL where a transfer broke, with a new one where it is refused."""
        declared_seconds = call.call_duration_seconds
        minted = 0
        for attempt in range(1, _MAX_DOWNLOADS + 1):
            if url is None:
                minted += 1
                answer = self._source.recording(call.call_id)
                url = answer.recording_url
                declared_seconds = declared_seconds if declared_seconds is not None else answer.duration_seconds
                if url is None:
                    return self._without_url(call, attempt - 1)
            is_last = attempt == _MAX_DOWNLOADS
            try:
                with self._source.open_recording(url) as body:
                    return self._store_body(call, body, declared_seconds, attempt, keeps_rejected=is_last)
            except (UrlExpired, AudioGone) as error:
                if is_last or minted == _MAX_MINTED_URLS:
                    return self.rows.unarchived(call, _status_after(error), str(error), attempts=attempt)
                url = None
            except (DownloadBroken, InvalidAudio) as error:
                if is_last:
                    return self.rows.unarchived(call, _status_after(error), str(error), attempts=attempt)
                self._clock.sleep(min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2**attempt))
        raise AssertionError("the last attempt returns")

    def _store_body(
        self, call: PendingRecording, body: Body, declared_seconds: float | None, attempt: int, *, keeps_rejected: bool
    ) -> Row:
        try:
            audio = verify_audio(body.data, encoding="identity", declared_seconds=declared_seconds)
        except InvalidAudio:
            if keeps_rejected and body.size_bytes:
                self._quarantine(call, body)
            raise
        if self._tombstones.is_erased(call.call_id):
            reason = "erased on request while it was on its way"
            return self.rows.unarchived(call, RecordingStatus.PENDING, reason)  # `Tables` drops this row
        try:
            self._store.put(
                self.rows.key(call),
                body.file if body.file is not None else memoryview(body.data),
                sha256=body.sha256,
                mode=CREATE,
                metadata=audio_to_metadata(body.sha256, audio),
                content_type="audio/mpeg",
            )
        except ObjectExists:
            return self.adopt(call)  # another run was faster, or it is our own PUT, whose answer was lost
        stored = StoredAudio(body.size_bytes, body.sha256, audio, self._clock.now())
        return self._archived(call, stored, attempts=attempt)

    def _archived(self, call: PendingRecording, stored: StoredAudio, *, attempts: int) -> Row:
        return self.rows.archived(call, self._store.full_key(self.rows.key(call)), stored, attempts=attempts)

    def _quarantine(self, call: PendingRecording, body: Body) -> None:
        if self._tombstones.is_erased(call.call_id):
            return
        key = quarantine_key(self._day, call.call_id, body.sha256)
        content = body.file if body.file is not None else bytes(body.data)
        with suppress(ObjectExists):  # the same bytes came in an earlier run
            self._store.put(key, content, sha256=body.sha256, mode=CREATE)
        self._audit.record(AuditEvent.QUARANTINED, call.call_id, sha256=body.sha256, bytes=body.size_bytes)

    def _without_url(self, call: PendingRecording, attempts: int) -> Row:
        if not self._grace_is_over:
            status, reason = RecordingStatus.PENDING, "upstream shows no URL at present"
        elif call.has_recording:
            status, reason = RecordingStatus.LOST, "listed with a recording once, and upstream shows none now"
        else:
            return self._without_recording(call, attempts)
        return self.rows.unarchived(call, status, reason, attempts=attempts)

    def settle_unasked(self, call: PendingRecording, listed_at: datetime | None) -> Row | None:
        """Make the row of a call that has no URL, where nothing is asked; None where upstream has to be asked.

        A call that was asked about after the grace days needs one more answer: a row of the list, or later a request.
        """
        first = call.first_answer
        if first is None or not first.is_asked:
            return None
        if are_two(first.at, listed_at):
            return self.rows.unarchived(call, RecordingStatus.NOT_RECORDED, ANSWERED_TWICE)
        if are_two(first.at, self._clock.now()) or self._is_last_chance():
            return None
        return self.rows.unarchived(call, RecordingStatus.PENDING, str(first))

    def _without_recording(self, call: PendingRecording, attempts: int = 0) -> Row:
        """Make the row of a call of which neither the list nor upstream's answer has ever shown a recording.

        Upstream has to say so twice, but for the end of its retention. Once retention is over, a deleted recording
        looks like one that never was. Where the list shows no recording of the day at all, everything may have been
        deleted before the first look: that is a loss, until an operator acknowledges it. Where it shows others, calls
        without one were mostly not recorded: the day's problems say it.
        """
        first, now, expires_on = call.first_answer, self._clock.now(), self.rows.expires_on
        is_over = expires_on is not None and now.date() >= expires_on
        has_two = first is not None and are_two(first.at, now)
        status, reason = RecordingStatus.NOT_RECORDED, ANSWERED_TWICE if has_two else ANSWERED_ONCE
        if is_over and not (has_two and first is not None and first.is_asked):
            reason = RETENTION_WAS_OVER
            if not self.was_seen_with_recordings:
                status, reason = RecordingStatus.LOST, LOST_UNSEEN
        elif not has_two and not self._is_last_chance():
            status, reason = RecordingStatus.PENDING, str(FirstAnswer(first.at if first else now, is_asked=True))
        return self.rows.unarchived(call, status, reason, attempts=attempts)

    def _is_last_chance(self) -> bool:
        return is_last_chance(self._day, self._retention_days, self._clock.now())


def _status_after(error: DownloadError) -> RecordingStatus:
    return RecordingStatus.LOST if isinstance(error, AudioGone) else RecordingStatus.FAILED
