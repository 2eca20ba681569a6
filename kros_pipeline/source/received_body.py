"""The part of a body that came so far, and how to ask for the rest of it after a transfer broke."""

from collections.abc import Mapping

from ..core.errors import DownloadBroken
from .body_sinks import BodySink
from .recording_answers import content_range, refusal
from .storage_answers import StorageAnswer


class ReceivedBody:
    """A body that begins with `answer`, the first one with audio, of `length` bytes; None where it declares none."""

    def __init__(self, answer: StorageAnswer, length: int | None, sink: BodySink):
        self.length, self.sink = length, sink
        self._validator = _strong_validator(answer)
        self._takes_ranges = "bytes" in (answer.header("Accept-Ranges") or "").lower() or answer.status == 206

    @property
    def is_whole(self) -> bool:
        """Whether as many bytes came as were declared."""
        return self.length is None or self.sink.size_bytes == self.length

    @property
    def range_headers(self) -> Mapping[str, str] | None:
        """The headers that ask for the rest, of the same bytes; None where it cannot be asked for."""
        if not (self.length and self._takes_ranges and self._validator and 0 < self.sink.size_bytes < self.length):
            return None
        return {"Range": f"bytes={self.sink.size_bytes}-", "If-Range": self._validator}

    def check_rest(self, answer: StorageAnswer) -> None:
        """Raise unless an answer continues the body where it broke off."""
        part = content_range(answer)
        if part is None and answer.status not in (200, 203, 206):
            raise refusal(answer.status)
        if part is None or (part.start, part.whole_bytes) != (self.sink.size_bytes, self.length):
            raise DownloadBroken("the storage does not continue the recording where it broke off")
        if _strong_validator(answer) not in (None, self._validator):
            raise DownloadBroken("the recording changed while it was downloaded")


def _strong_validator(answer: StorageAnswer) -> str | None:
    """Return what identifies the bytes: an ETag that is not weak, else Last-Modified."""
    etag = answer.header("ETag")
    return etag if etag and not etag.startswith("W/") else answer.header("Last-Modified")
