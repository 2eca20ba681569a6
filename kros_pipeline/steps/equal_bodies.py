"""Recordings of different calls with the same bytes: a cache that ignores the URL's query gives one body to many calls.

Each of them is downloaded once more, by a fresh URL. What stays the same is archived with a defect, unless upstream
declares another size or length for it. Short recordings may well be equal: an announcement, or silence.
"""

from collections.abc import Iterable
from threading import Lock

from ..archive.object_store import ObjectStore, Replace
from ..archive.parquet import Row
from ..core.audio import CONTRADICTED, SAME_BYTES, Inspection
from ..core.audio_check import Stated, differs, verify_audio
from ..core.clock import Clock
from ..core.digest_set import DigestSet
from ..core.errors import ArchiveError, DownloadError, InvalidAudio
from ..source.call_source import Body, CallSource
from .quarantine import BodyRejected, Quarantine
from .recording_rows import PendingRecording, RecordingRows, StoredAudio, audio_to_metadata
from .recording_tries import Questions, Tries

_MIN_SECONDS = 5.0


class SharedBody(Exception):
    """A body came that another call has, too. `url` is a fresh one, and a secret."""

    def __init__(self, sha256: str, url: str):
        super().__init__("another call has the same bytes")
        self.sha256, self.url = sha256, url


class SharedBodies:
    """The hashes of one day's recordings. Threads share it."""

    def __init__(self) -> None:
        self._known, self._shared = DigestSet(), DigestSet()
        self._lock = Lock()

    def add_archived(self, sha256s: Iterable[str]) -> None:
        """Add the hashes of recordings that were archived before and are not downloaded again."""
        self._known.update(sha256s)

    def claim(self, seconds: float | None, sha256: str) -> bool:
        """Note that a call has these bytes, and return whether another call has them, too."""
        if (seconds or 0.0) <= _MIN_SECONDS:
            return False
        with self._lock:
            if sha256 not in self._known:
                self._known.add(sha256)
                return False
            self._shared.add(sha256)
            return True

    def has_shared(self) -> bool:
        """Return whether a body came for two calls in this run."""
        return len(self._shared) > 0

    def is_shared(self, sha256: str) -> bool:
        """Return whether these bytes came for another call in this run."""
        return sha256 in self._shared


class HolderRecheck:
    """Downloads recordings once more that were archived before another call turned out to have their bytes."""

    def __init__(
        self,
        rows: RecordingRows,
        *,
        source: CallSource,
        store: ObjectStore,
        quarantine: Quarantine,
        questions: Questions,
        clock: Clock,
    ):
        self._rows, self._source, self._store = rows, source, store
        self._quarantine, self._questions, self._clock = quarantine, questions, clock

    def recheck(self, call: PendingRecording, row: Row) -> Row:
        """Return the row of an archived recording anew.

        If other bytes come by a fresh URL, they replace the archived ones, which go to quarantine: they were the other
        call's.
        """
        tries = Tries(call, None)
        stated = self._questions.ask(tries)
        url = tries.answer.recording_url if tries.answer is not None else None
        problem = stated.problem or ("" if url is not None else "upstream shows no URL at present")
        try:
            if url is not None:
                with self._source.open_recording(url) as body:
                    if body.sha256 != row["sha256"]:
                        return self._replace(call, row, body, stated)
        except (DownloadError, BodyRejected, ArchiveError) as error:
            problem = str(error)
        text = describe_contradiction(row["size_bytes"], row["duration_seconds"], stated)
        text = text or SAME_BYTES + (f" ({problem})" if problem else "")
        return row | {
            "defects": "; ".join(filter(None, (row["defects"], text))),
            "declared_size_bytes": stated.size_bytes,
        }

    def _replace(self, call: PendingRecording, row: Row, body: Body, stated: Stated) -> Row:
        try:
            found = verify_audio(
                body.data,
                is_length_known=body.is_length_known,
                call_seconds=call.call_duration_seconds,
                stated=stated,
            )
        except InvalidAudio as error:
            raise self._quarantine.keep(call.call_id, body, error) from None
        key = self._rows.key(call)
        head = self._store.head(key)
        if head is None or head.metadata.get("sha256") != row["sha256"]:
            return row  # somebody else has changed it since: the verification finds that out
        kept_key = self._quarantine.keep_stored(call.call_id, key, row["sha256"])
        self._store.put(
            key,
            body.file if body.file is not None else memoryview(body.data),
            sha256=body.sha256,
            mode=Replace(head.version),
            metadata=audio_to_metadata(body.sha256, found),
            content_type=found.content_type,
        )
        stored = StoredAudio(body.size_bytes, body.sha256, found, self._clock.now())
        made = self._rows.archived(call, self._store.full_key(key), stored, attempts=1)
        return made | {"quarantine_key": kept_key, "declared_size_bytes": stated.size_bytes}


def settle_shared(found: Inspection, size_bytes: int, stated: Stated | None) -> Inspection:
    """Return what a body is that stayed the same as another call's.

    Raises `InvalidAudio` where upstream declares something else for this call.
    """
    text = describe_contradiction(size_bytes, found.audio.duration_seconds, stated)
    if text:
        raise InvalidAudio("shared", text)
    problem = stated.problem if stated is not None else ""
    return found._replace(defects=(*found.defects, SAME_BYTES + (f" ({problem})" if problem else "")))


def describe_contradiction(size_bytes: int, seconds: float | None, stated: Stated | None) -> str:
    """Return how upstream's answer contradicts a body; empty where it does not."""
    if stated is None:
        return ""
    if stated.size_bytes is not None and stated.size_bytes != size_bytes:
        return f"{CONTRADICTED}: {stated.size_bytes:,} bytes, and {size_bytes:,} came"
    own = stated.duration_seconds
    if own is not None and seconds is not None and differs(seconds, own):
        return f"{CONTRADICTED}: {own:g} s, and {seconds:.1f} s came"
    return ""
