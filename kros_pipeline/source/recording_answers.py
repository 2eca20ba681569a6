"""What an answer of the recording storage means: audio, a refusal, or a request to slow down."""

import re
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from ..core.errors import AudioGone, DownloadBroken, InvalidAudio, UrlExpired
from .rate_limiter import retry_after_seconds
from .storage_answers import StorageAnswer, declared_length

_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})", re.IGNORECASE).fullmatch
_SLOW_DOWN = b"<Code>SlowDown</Code>"


@dataclass(frozen=True)
class Throttle:
    """The storage asks for fewer requests, for some `seconds` if it says so."""

    status: int
    seconds: float | None


def read_throttle(answer: StorageAnswer, *, now: datetime) -> Throttle | None:
    """Return how an answer throttles: 429, S3's `SlowDown`, or 503 with a `Retry-After`; None where it does not."""
    if answer.status not in (429, 503):
        return None
    seconds = retry_after_seconds(answer.header("Retry-After"), date=answer.header("Date"), now=now)
    is_asked = answer.status == 429 or seconds is not None or _SLOW_DOWN in b"".join(islice(answer.pieces(), 1))
    return Throttle(answer.status, seconds) if is_asked else None


@dataclass(frozen=True)
class ContentRange:
    """The bytes of a partial answer: the first one's place, how many, and the size of the whole."""

    start: int
    size_bytes: int
    whole_bytes: int


def content_range(answer: StorageAnswer) -> ContentRange | None:
    """Read the Content-Range of a 206; None where it cannot be read."""
    found = _CONTENT_RANGE((answer.header("Content-Range") or "").strip())
    if answer.status != 206 or found is None:
        return None
    first, last, whole = map(int, found.groups())
    return ContentRange(first, last - first + 1, whole) if first <= last < whole else None


def whole_length(answer: StorageAnswer) -> int | None:
    """Return the length in bytes that the answer to a request for the whole declares; None where it does not.

    Raises the error that any other answer stands for. A 203 is audio that a proxy passed on; a 206 that has every byte
    is whole.
    """
    status, length = answer.status, declared_length(answer)
    if status in (200, 203):
        return length
    if status == 206:
        part = content_range(answer)
        if part is not None and (part.start, part.size_bytes) == (0, part.whole_bytes):
            return part.whole_bytes
        raise InvalidAudio("status", "the storage answered 206, a part of the recording")
    raise refusal(status)


def refusal(status: int) -> Exception:
    """Return the error that a status without audio stands for."""
    if status in (400, 401, 403):  # 400 is S3's answer to temporary credentials that ended before the URL
        return UrlExpired(f"the storage does not accept the URL (status {status})")
    if status in (404, 410):
        return AudioGone(f"the storage has no such recording (status {status})")
    if status in (408, 425, 429) or status >= 500:
        return DownloadBroken(f"the storage answered {status}")
    return InvalidAudio("status", f"the storage answered {status}")
