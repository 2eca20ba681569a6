"""What one run knows of one call while it tries to archive its recording."""

from ..core.audio_check import Stated
from ..core.errors import ApiError, ApiUnauthorized, TooManyRequests
from ..source.call_source import CallSource, RecordingAnswer
from .quarantine import BodyRejected
from .recording_rows import PendingRecording


class Tries:
    """The URL of one call's recording, upstream's answer about it, and the body that was rejected last."""

    def __init__(self, call: PendingRecording, url: str | None):
        self.call, self.url = call, url
        self.answer: RecordingAnswer | None = None
        self.unanswered = ""
        self.downloads = self.minted = 0
        self.rejected: BodyRejected | None = None
        self.is_gone = False  # upstream has it no longer
        self.shared_sha256 = ""  # of a body that another call has, too, and that is downloaded once more

    @property
    def stated(self) -> Stated | None:
        """What upstream's answer says, or why there is none; None where upstream was not asked."""
        if self.answer is not None:
            return Stated(self.answer.size_bytes, self.answer.duration_seconds)
        return Stated(problem=self.unanswered) if self.unanswered else None

    @property
    def stated_size_bytes(self) -> int | None:
        """The size that upstream declares; None where it was not asked, or does not say."""
        return self.answer.size_bytes if self.answer is not None else None


class Questions:
    """Asks upstream about recordings whose bodies are doubtful. An error is no answer, and loses no body.

    What every further question would meet (quota, key) ends the questions, and nothing else: the bodies are here.
    """

    def __init__(self, source: CallSource):
        self._source = source
        self._ended_by: ApiError | None = None

    def ask(self, tries: Tries) -> Stated:
        """Ask about one recording, and keep the answer, which has a fresh URL."""
        tries.answer, tries.unanswered = None, ""
        if self._ended_by is not None:
            tries.unanswered = f"upstream was not asked: {self._ended_by}"
            return Stated(problem=tries.unanswered)
        try:
            tries.answer = self._source.recording(tries.call.call_id)
        except ApiError as error:
            tries.unanswered = f"upstream did not answer: {error}"
            if isinstance(error, (TooManyRequests, ApiUnauthorized)):
                self._ended_by = error
        return tries.stated or Stated()
