"""One call's recording: download, verify, put; and what became of it, as a row of the table `recordings`."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from ..archive.audit_log import AuditEvent, AuditLog
from ..archive.object_store import CREATE
from ..core import mp3, schemas
from ..core.days import grace_is_over
from ..core.errors import (
    AudioGone,
    CallGone,
    CallNotFound,
    DownloadBroken,
    DownloadError,
    InvalidAudio,
    ObjectExists,
    RequestRefused,
    UnexpectedResponse,
    UrlExpired,
    UrlRefused,
)
from ..core.object_keys import audio_key, quarantine_key
from ..source.downloads import Body, verified
from ..source.plans import upstream_expires_on
from .run_context import RunContext

ARCHIVED, PENDING, NOT_RECORDED = "archived", "pending", "not_recorded"
LOST, FAILED, REFUSED = "lost", "failed", "refused"
STATUSES = (ARCHIVED, PENDING, NOT_RECORDED, LOST, FAILED, REFUSED)

RETENTION_WAS_OVER = "asked, upstream has none; its retention is over, so that a deleted one would look the same"

_ATTEMPTS = 4  # downloads of one recording in one run
_MINTS = 3  # URLs asked for one by one, of one recording in one run

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PendingRecording:
    """A call whose recording is not known to be safe. `attempts` are those of earlier runs."""

    call_id: str
    call_duration_seconds: float | None
    has_recording: bool
    attempts: int


class RecordingArchiver:
    """Moves recordings of one day; its threads share it.

    What is wrong with one call alone is that call's row. What is likely to be about every call is raised: any other
    `ApiError`, and any `ArchiveError`.
    """

    def __init__(self, ctx: RunContext, day: date, audit: AuditLog, sleep: Callable[[float], None] = time.sleep):
        self._ctx, self._day, self._audit, self._sleep = ctx, day, audit, sleep
        self._grace_is_over = grace_is_over(day, ctx.now(), ctx.settings.lookback_days)
        self._expires_on = upstream_expires_on(day, ctx.settings.retention_days)

    def move(self, call: PendingRecording, url: str | None) -> Row:
        """The row of a call after its recording was tried, with a URL that was just minted or one it asks for."""
        try:
            return self._move(call, url)
        except (CallNotFound, CallGone) as error:
            if call.has_recording or isinstance(error, CallGone):
                return self.row(call, LOST, f"gone upstream: {error}")
            return self.row(call, NOT_RECORDED, self._no_recording())
        except UrlRefused as error:
            return self.row(call, REFUSED, str(error), attempts=1)
        except (DownloadError, RequestRefused, UnexpectedResponse) as error:
            return self.row(call, FAILED, str(error))

    def adopt(self, call: PendingRecording) -> Row:
        """The row of an object that is in the bucket already: what its writer verified stands in its metadata."""
        key = audio_key(self._day, call.call_id)
        head = self._ctx.store.head(key)
        facts = _from_metadata(head.metadata) if head is not None else None
        if head is None:
            return self.row(call, FAILED, "the object was there, and is gone")
        if facts is None:
            return self.row(call, FAILED, "an object that this pipeline did not write stands at the recording's key")
        sha256, audio = facts
        return self._archived(call, head.size_bytes, sha256, audio, head.last_modified.astimezone(UTC), attempts=0)

    def row(self, call: PendingRecording, status: str, reason: str | None, *, attempts: int = 0) -> Row:
        """A row with what is known of every call; `attempts` are those of this run."""
        return dict.fromkeys(schemas.RECORDINGS.column_names) | {
            "call_id": call.call_id,
            "call_date": self._day,
            "status": status,
            "reason": reason,
            "attempts": call.attempts + attempts,
            "declared_duration_seconds": call.call_duration_seconds,
            "upstream_expires_on": self._expires_on,
        }

    def _move(self, call: PendingRecording, url: str | None) -> Row:
        """With the same URL again where a transfer broke, with a new one where the storage does not accept it."""
        declared_seconds = call.call_duration_seconds
        mints = 0
        for attempt in range(1, _ATTEMPTS + 1):
            if url is None:
                mints += 1
                answer = self._ctx.api.recording(call.call_id)
                url = answer.recording_url
                declared_seconds = declared_seconds if declared_seconds is not None else answer.duration_seconds
                if url is None:
                    return self._without_url(call, attempt - 1)
            is_last = attempt == _ATTEMPTS
            try:
                with self._ctx.storage.fetched(url) as body:
                    return self._store(call, body, declared_seconds, attempt, may_be_the_only_copy=is_last)
            except (UrlExpired, AudioGone) as error:
                if is_last or mints == _MINTS:
                    return self.row(call, _status_after(error), str(error), attempts=attempt)
                url = None
            except (DownloadBroken, InvalidAudio) as error:
                if is_last:
                    return self.row(call, _status_after(error), str(error), attempts=attempt)
                self._sleep(min(10.0, 0.25 * 2**attempt))
        raise AssertionError("the last attempt returns")

    def _store(
        self,
        call: PendingRecording,
        body: Body,
        declared_seconds: float | None,
        attempt: int,
        *,
        may_be_the_only_copy: bool,
    ) -> Row:
        try:
            audio = verified(body, declared_seconds)
        except InvalidAudio:
            if may_be_the_only_copy and body.size_bytes:
                self._quarantine(call, body)
            raise
        if self._ctx.tombstones.is_erased(self._day, call.call_id):
            return self.row(call, PENDING, "erased on request while it was on its way")  # and its row is not written
        key, metadata = audio_key(self._day, call.call_id), _as_metadata(body.sha256, audio)
        try:
            self._ctx.store.put(
                key,
                body.file if body.file is not None else memoryview(body.data),
                sha256=body.sha256,
                mode=CREATE,
                metadata=metadata,
                content_type="audio/mpeg",
            )
        except ObjectExists:
            return self.adopt(call)  # another run was quicker, or it is our own PUT, whose answer was lost
        return self._archived(call, body.size_bytes, body.sha256, audio, self._ctx.now(), attempts=attempt)

    def _quarantine(self, call: PendingRecording, body: Body) -> None:
        if self._ctx.tombstones.is_erased(self._day, call.call_id):
            return
        key = quarantine_key(self._day, call.call_id, body.sha256)
        with suppress(ObjectExists):  # the same bytes came in an earlier run
            content = body.file if body.file is not None else bytes(body.data)
            self._ctx.store.put(key, content, sha256=body.sha256, mode=CREATE)
        self._audit.record(AuditEvent.QUARANTINED, call.call_id, sha256=body.sha256, bytes=body.size_bytes)

    def _archived(
        self,
        call: PendingRecording,
        size_bytes: int,
        sha256: str,
        audio: mp3.Audio,
        archived_at: datetime,
        *,
        attempts: int,
    ) -> Row:
        return self.row(call, ARCHIVED, None, attempts=attempts) | {
            "object_key": self._ctx.store.full_key(audio_key(self._day, call.call_id)),
            "size_bytes": size_bytes,
            "sha256": sha256,
            "duration_seconds": audio.duration_seconds,
            "sample_rate_hz": audio.sample_rate_hz,
            "channels": audio.channels,
            "bitrate_bps": audio.bitrate_bps,
            "archived_at": archived_at,
        }

    def _without_url(self, call: PendingRecording, attempts: int) -> Row:
        if not self._grace_is_over:
            return self.row(call, PENDING, "upstream shows no URL at present", attempts=attempts)
        if call.has_recording:
            return self.row(call, LOST, "listed with a recording once, and upstream shows none now", attempts=attempts)
        return self.row(call, NOT_RECORDED, self._no_recording(), attempts=attempts)

    def _no_recording(self) -> str:
        if self._expires_on is not None and self._ctx.now().date() >= self._expires_on:
            return RETENTION_WAS_OVER
        return "asked, upstream has none"


def merged(present: Row | None, new: Row) -> Row:
    """One call's row out of what the table holds and what a run found: archived is never made less."""
    if present is None:
        return new
    if present["status"] != ARCHIVED:
        # What was found out is not forgotten because a later run had no time to look.
        if new["status"] == PENDING and present["status"] in (LOST, FAILED, REFUSED):
            return present
        return new | {"attempts": max(present["attempts"], new["attempts"])}  # another run may have tried more often
    # An object that vanished from the bucket and was fetched again may be other bytes.
    return new if new["status"] == ARCHIVED and new["sha256"] != present["sha256"] else present


def _status_after(error: DownloadError) -> str:
    return LOST if isinstance(error, AudioGone) else FAILED


def _as_metadata(sha256: str, audio: mp3.Audio) -> dict[str, str]:
    return {
        "sha256": sha256,
        "duration-seconds": repr(audio.duration_seconds),
        "sample-rate-hz": str(audio.sample_rate_hz),
        "channels": str(audio.channels),
        "bitrate-bps": str(audio.bitrate_bps),
    }


def _from_metadata(metadata: Mapping[str, str]) -> tuple[str, mp3.Audio] | None:
    try:
        audio = mp3.Audio(
            float(metadata["duration-seconds"]),
            int(metadata["sample-rate-hz"]),
            int(metadata["channels"]),
            int(metadata["bitrate-bps"]),
        )
        return metadata["sha256"], audio
    except (KeyError, ValueError):
        return None
