"""The recording archiver: downloads one call's recording, judges it, and puts it into the archive."""

from datetime import date

from ..archive.audit_log import AuditLog
from ..archive.object_store import CREATE, ObjectStore
from ..archive.parquet import Row
from ..archive.tombstones import Tombstones
from ..core.audio import Inspection
from ..core.audio_check import CUT_AT_SOURCE, OTHER_ANSWER, verify_audio
from ..core.clock import Clock
from ..core.errors import (
    ArchiveDenied,
    ArchiveError,
    ArchiveUnavailable,
    AudioGone,
    CallGone,
    CallNotFound,
    DownloadBroken,
    DownloadError,
    ExternalError,
    InvalidAudio,
    ObjectExists,
    RequestRefused,
    UnaddressableCall,
    UnexpectedResponse,
    UrlExpired,
    UrlRefused,
)
from ..core.kept_body import KeptBody
from ..core.retention import upstream_expires_on
from ..core.statuses import RecordingStatus
from ..source.call_source import Body, CallSource
from .absent_recordings import AbsentRecordings
from .equal_bodies import HolderRecheck, SharedBodies, SharedBody, settle_shared
from .quarantine import BodyRejected, Quarantine
from .recording_rows import PendingRecording, RecordingRows, StoredAudio, audio_to_metadata
from .recording_tries import Questions, Tries
from .stored_audio import read_stored_audio

_MAX_DOWNLOADS = 4  # of one recording in one run
_MAX_MINTED_URLS = 3  # of one recording in one run
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.25, 10.0


class RecordingArchiver:
    """Archives recordings of one day; threads share it.

    What is wrong with one call becomes that call's row. What is likely to be wrong with every call is raised: any
    other `ApiError`, and any `ArchiveError`.
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
        self._source, self._store, self._tombstones, self._clock = source, store, tombstones, clock
        self.rows = RecordingRows(day, upstream_expires_on(day, retention_days))
        self.absent = AbsentRecordings(
            day, self.rows, clock, lookback_days=lookback_days, retention_days=retention_days
        )
        self.shared = SharedBodies()
        self._quarantine, self._questions = Quarantine(day, store, tombstones, audit), Questions(source)
        self.holders = HolderRecheck(
            self.rows,
            source=source,
            store=store,
            quarantine=self._quarantine,
            questions=self._questions,
            clock=clock,
        )

    def archive(self, call: PendingRecording, url: str | None) -> Row:
        """Archive one recording and return its row. Without a fresh `url`, upstream is asked for one."""
        tries = Tries(call, url)
        try:
            row = self._try(tries)
        except (CallNotFound, CallGone) as error:
            is_known = call.has_recording or isinstance(error, CallGone)
            row = self._gone(tries, error) if is_known else self.absent.without_recording(call, tries.downloads)
        except UrlRefused as error:
            row = self.rows.unarchived(call, RecordingStatus.REFUSED, str(error), attempts=max(1, tries.downloads))
        except (DownloadError, RequestRefused, UnaddressableCall, UnexpectedResponse) as error:
            row = self.rows.failed(call, error, attempts=tries.downloads)
        except (ExternalError, OSError) as error:
            if tries.rejected is None:  # otherwise the row must name the body; the next call meets the same
                raise
            row = self.rows.failed(call, error, attempts=tries.downloads)
        return self._name_kept_body(tries, row)

    def adopt(self, call: PendingRecording) -> Row:
        """Make the row of an object that is in the bucket already, from its bytes: whoever wrote them, they are read.

        Of its metadata only the SHA-256 is looked at, and whether an operator accepted it: an object without the first
        was not written by this pipeline, and bytes with another one were changed. Such an object stays where it is, and
        the row is `failed`.
        """
        try:
            found = read_stored_audio(self._store, self.rows.key(call))
        except (ArchiveUnavailable, ArchiveDenied):
            raise
        except (ArchiveError, InvalidAudio) as error:
            return self.rows.unarchived(call, RecordingStatus.FAILED, str(error))
        return self._archived(call, found, attempts=0)

    def _try(self, tries: Tries) -> Row:
        """Download up to four times: with the same URL where a transfer broke, with a new one where it is refused."""
        while True:
            if tries.url is None:
                tries.minted += 1
                tries.answer = self._source.recording(tries.call.call_id)
                tries.url = tries.answer.recording_url
                if tries.url is None:
                    return self.absent.without_url(tries.call, tries.downloads)
            tries.downloads += 1
            is_last = tries.downloads == _MAX_DOWNLOADS
            try:
                with self._source.open_recording(tries.url) as body:
                    return self._store_body(tries, body)
            except (UrlExpired, AudioGone) as error:
                if is_last or tries.minted == _MAX_MINTED_URLS:
                    return self._gone(tries, error)
                tries.url = None
            except SharedBody as error:
                tries.shared_sha256, tries.url = error.sha256, error.url
            except BodyRejected as rejected:
                is_same = tries.rejected is not None and tries.rejected.sha256 == rejected.sha256
                tries.rejected = rejected
                # The same bytes twice are enough. A page of text may be gone a second later; after days, all may be.
                is_certain = is_same and tries.call.kept is None and rejected.error.check != OTHER_ANSWER
                is_certain |= rejected.error.check == CUT_AT_SOURCE
                if is_last or is_certain:
                    return self.rows.failed(tries.call, rejected.error, attempts=tries.downloads)
                self._wait(tries)
            except (DownloadBroken, InvalidAudio) as error:
                if is_last:
                    return self.rows.failed(tries.call, error, attempts=tries.downloads)
                self._wait(tries)

    def _wait(self, tries: Tries) -> None:
        self._clock.sleep(min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2**tries.downloads))

    def _store_body(self, tries: Tries, body: Body) -> Row:
        call = tries.call
        try:
            found = self._judge(tries, body)
        except InvalidAudio as error:
            raise self._quarantine.keep(call.call_id, body, error) from None
        self._clock.check()  # an interrupted run puts nothing more
        if self._tombstones.is_erased(call.call_id):
            reason = "erased on request while it was on its way"
            return self.rows.unarchived(call, RecordingStatus.PENDING, reason)  # `Tables` drops this row
        try:
            self._store.put(
                self.rows.key(call),
                body.file if body.file is not None else memoryview(body.data),
                sha256=body.sha256,
                mode=CREATE,
                metadata=audio_to_metadata(body.sha256, found),
                content_type=found.content_type,
            )
        except ObjectExists:
            return self.adopt(call)  # another run was faster, or it is our own PUT, whose answer was lost
        stored = StoredAudio(body.size_bytes, body.sha256, found, self._clock.now())
        row = self._archived(call, stored, attempts=tries.downloads)
        return row | {"declared_size_bytes": tries.stated_size_bytes}

    def _judge(self, tries: Tries, body: Body) -> Inspection:
        """Return what a body is; upstream is asked where it is doubtful, or another call has the same bytes.

        Raises `InvalidAudio`, and `SharedBody` where it is to be downloaded once more.
        """
        found = verify_audio(
            body.data,
            is_length_known=body.is_length_known,
            call_seconds=tries.call.call_duration_seconds,
            stated=tries.stated,
            ask=lambda: self._questions.ask(tries),
        )
        if not self.shared.claim(found.audio.duration_seconds, body.sha256):
            return found
        if tries.shared_sha256 != body.sha256 and tries.downloads < _MAX_DOWNLOADS:
            self._questions.ask(tries)
            if tries.answer is not None and tries.answer.recording_url is not None:
                raise SharedBody(body.sha256, tries.answer.recording_url)
        return settle_shared(found, body.size_bytes, tries.stated)

    def _archived(self, call: PendingRecording, stored: StoredAudio, *, attempts: int) -> Row:
        return self.rows.archived(call, self._store.full_key(self.rows.key(call)), stored, attempts=attempts)

    def _gone(self, tries: Tries, error: Exception) -> Row:
        """Make the row of a recording that upstream does not give, or no longer.

        In the grace days it may still come. Afterwards it is lost, unless a body of it is kept.
        """
        tries.is_gone = not isinstance(error, UrlExpired)
        if isinstance(error, UrlExpired):
            status, reason = RecordingStatus.FAILED, str(error)
        elif isinstance(error, AudioGone):
            status, reason = RecordingStatus.LOST, str(error)
        else:
            status, reason = RecordingStatus.LOST, f"gone upstream: {error}"
        if tries.rejected is not None or tries.call.quarantine_key is not None:
            status = RecordingStatus.FAILED
        elif not self.absent.grace_is_over and not isinstance(error, CallGone):
            status = RecordingStatus.PENDING
        return self.rows.unarchived(tries.call, status, reason, attempts=tries.downloads)

    def _name_kept_body(self, tries: Tries, row: Row) -> Row:
        """Add to a row where the last rejected body is kept, and when the recording is tried again."""
        call, rejected = tries.call, tries.rejected
        key = (rejected.key if rejected is not None else None) or call.quarantine_key
        if key is None:
            return row
        row = row | {"quarantine_key": key}
        if row["status"] != RecordingStatus.FAILED:
            return row
        if rejected is None and not tries.is_gone:  # a transfer that broke says nothing of the bytes
            return row | {"reason": f"{row['reason']}; {call.kept}"} if call.kept is not None else row
        is_same = rejected is None or call.quarantine_key == rejected.key
        runs = call.kept.runs + 1 if call.kept is not None and is_same else 1
        check = rejected.error.check if rejected is not None else ""
        kept = KeptBody.after(
            runs,
            self._clock.now(),
            self.rows.expires_on,
            is_page=check == OTHER_ANSWER,
            may_change=check != CUT_AT_SOURCE,
        )
        return row | {
            "reason": f"{row['reason']}; {kept}",
            "declared_size_bytes": tries.stated_size_bytes,
        }
