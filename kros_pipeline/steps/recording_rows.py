"""Rows of the table `recordings`: how one is made, and how two of one call are merged."""

from dataclasses import dataclass
from datetime import date, datetime

from ..archive.parquet import Row
from ..core import schemas
from ..core.audio import Inspection, join_defects
from ..core.kept_body import KeptBody
from ..core.object_keys import audio_key
from ..core.statuses import UNSAFE_RECORDINGS, RecordingStatus
from ..core.two_answers import HOURS_APART, FirstAnswer

NO_URL_YET = "no recording URL yet"
NOT_TRIED = "not tried: "
ANSWERED_TWICE = f"upstream has none: it answered twice, at least {HOURS_APART} hours apart"
ANSWERED_ONCE = "answered once: upstream has none, and less than 48 hours of its retention remained"
RETENTION_WAS_OVER = (
    "answered once: upstream has none, and its retention is over, so that a deleted one would look the same"
)
LOST_UNSEEN = (
    "answered once: upstream shows no recording of the day any more; it was asked after its retention was over"
)
_MAX_METADATA_CHARACTERS = 1_000  # S3 takes 2,000 bytes for all of it
ACCEPTED = "accepted"  # metadata of an object that an operator accepted: the run that did it
ASKED_TOO_LATE = frozenset({RETENTION_WAS_OVER, LOST_UNSEEN})


@dataclass(frozen=True, slots=True)
class PendingRecording:
    """A call whose recording is not safe yet. `attempts` counts the downloads of earlier runs.

    `first_answer` is the first one, after the call's end, that upstream has no recording. `quarantine_key` is where the
    last rejected body is, and `kept` says when to try again because of it.
    """

    call_id: str
    call_duration_seconds: float | None
    has_recording: bool
    attempts: int
    first_answer: FirstAnswer | None = None
    quarantine_key: str | None = None
    kept: KeptBody | None = None


@dataclass(frozen=True, slots=True)
class StoredAudio:
    """An audio object in the bucket, and what its bytes are."""

    size_bytes: int
    sha256: str
    found: Inspection
    archived_at: datetime


@dataclass(frozen=True, slots=True)
class RecordingRows:
    """Makes the rows of one day. `expires_on` is the first day on which upstream may have deleted its copy."""

    day: date
    expires_on: date | None

    def unarchived(
        self, call: PendingRecording, status: RecordingStatus, reason: str | None, *, attempts: int = 0
    ) -> Row:
        """Make the row of a call whose recording is not in the archive. `attempts` are those of this run."""
        return self._row(call, status, reason, attempts)

    def failed(self, call: PendingRecording, error: object, *, attempts: int = 0) -> Row:
        """Make the row of a call of which `error` kept the recording from being had. Its first answer stays."""
        reason = _keep_first_answer(call, str(error))
        return self.unarchived(call, RecordingStatus.FAILED, reason, attempts=attempts)

    def untried(self, call: PendingRecording, error: object) -> Row:
        """Make the row of a call that `error` kept from being tried. Its first answer stays."""
        return self.unarchived(call, RecordingStatus.PENDING, _keep_first_answer(call, f"{NOT_TRIED}{error}"))

    def archived(self, call: PendingRecording, object_key: str, stored: StoredAudio, *, attempts: int) -> Row:
        """Make the row of a call whose recording is at `object_key`. `attempts` are those of this run."""
        return self._row(call, RecordingStatus.ARCHIVED, None, attempts) | {
            "object_key": object_key,
            "size_bytes": stored.size_bytes,
            "sha256": stored.sha256,
            **stored.found.audio._asdict(),
            "archived_at": stored.archived_at,
            "defects": join_defects(stored.found.defects),
        }

    def key(self, call: PendingRecording) -> str:
        """Return the key of the call's audio, below the archive's prefix."""
        return audio_key(self.day, call.call_id)

    def _row(self, call: PendingRecording, status: RecordingStatus, reason: str | None, attempts: int) -> Row:
        return dict.fromkeys(schemas.RECORDINGS.column_names) | {
            "call_id": call.call_id,
            "call_date": self.day,
            "status": status,
            "reason": reason,
            "attempts": call.attempts + attempts,
            "declared_duration_seconds": call.call_duration_seconds,
            "upstream_expires_on": self.expires_on,
            "quarantine_key": call.quarantine_key,
        }


def _keep_first_answer(call: PendingRecording, reason: str) -> str:
    """Return a reason from which the next run reads the call's first answer, too."""
    return reason if call.first_answer is None else f"{call.first_answer}; {reason}"


def find_only_answer(reason: str | None) -> FirstAnswer | None:
    """Return the answer of a pending call that upstream was asked about, and that needs a second answer; else None."""
    first = FirstAnswer.parse(reason)
    return first if first is not None and first.is_asked and NOT_TRIED not in (reason or "") else None


def merge_rows(present: Row | None, new: Row) -> Row:
    """Merge the table's row of a call with the row of this run. An archived recording stays archived."""
    if present is None:
        return new
    if present["status"] != RecordingStatus.ARCHIVED:
        # A later run that did not ask about the call has not refuted what an earlier one found.
        is_unasked = new["status"] == RecordingStatus.PENDING and find_only_answer(new.get("reason")) is None
        if is_unasked and present["status"] in UNSAFE_RECORDINGS:
            return present
        attempts = max(present["attempts"] or 0, new["attempts"])  # another run may have tried more often
        return new | {"attempts": attempts}
    # An object that vanished from the bucket and was fetched again may have other bytes.
    if new["status"] == RecordingStatus.ARCHIVED and new["sha256"] != present["sha256"]:
        return new
    later = ["quarantine_key"]  # what may be learnt after the bytes were archived
    if new["status"] == RecordingStatus.ARCHIVED:
        later += ["defects", "declared_size_bytes"]
    return present | {name: new[name] for name in later if new.get(name) is not None}


def audio_to_metadata(sha256: str, found: Inspection) -> dict[str, str]:
    """Write what was verified of an object as its user metadata (ASCII), for readers without the tables."""
    audio = found.audio
    facts = {
        "duration-seconds": audio.duration_seconds,
        "sample-rate-hz": audio.sample_rate_hz,
        "channels": audio.channels,
        "bitrate-bps": audio.bitrate_bps,
    }
    shown = {name: repr(value) for name, value in facts.items() if value is not None}
    defects = join_defects(found.defects)
    if defects is not None:
        shown["defects"] = defects.encode("ascii", "replace").decode()[:_MAX_METADATA_CHARACTERS]
    return {"sha256": sha256} | shown
