"""Recordings of different calls with the same bytes: a cache that ignores the URL's query gives one body to many calls.

Each of them is downloaded once more, by a fresh URL. What stays the same is archived with a defect, unless upstream
declares another size or length for it. Short recordings may well be equal: an announcement, or silence.
"""

from collections.abc import Iterable
from threading import Lock

from ..core.audio import CONTRADICTED, SAME_BYTES, Audio, Inspection
from ..core.audio_check import Stated, differs
from ..core.errors import InvalidAudio

_MIN_SECONDS = 5.0
_DIGITS = 16  # of a SHA-256, as a number: a day may have a million calls


class SharedBody(Exception):
    """A body came that another call has, too. `url` is a fresh one, and a secret."""

    def __init__(self, sha256: str, url: str):
        super().__init__("another call has the same bytes")
        self.sha256, self.url = sha256, url


class SharedBodies:
    """The hashes of one day's recordings. Threads share it."""

    def __init__(self) -> None:
        self._known: set[int] = set()
        self._shared: set[int] = set()
        self._lock = Lock()

    def add_archived(self, sha256s: Iterable[str]) -> None:
        """Add the hashes of recordings that were archived before and are not downloaded again."""
        self._known.update(int(sha256[:_DIGITS], 16) for sha256 in sha256s)

    def claim(self, audio: Audio, sha256: str) -> bool:
        """Note that a call has these bytes, and return whether another call has them, too."""
        if (audio.duration_seconds or 0.0) <= _MIN_SECONDS:
            return False
        number = int(sha256[:_DIGITS], 16)
        with self._lock:
            if number not in self._known:
                self._known.add(number)
                return False
            self._shared.add(number)
            return True

    def has_shared(self) -> bool:
        """Return whether a body came for two calls in this run."""
        return bool(self._shared)

    def is_shared(self, sha256: str) -> bool:
        """Return whether these bytes came for another call in this run."""
        return int(sha256[:_DIGITS], 16) in self._shared


def settle_shared(found: Inspection, size_bytes: int, stated: Stated | None, unanswered: str) -> Inspection:
    """Return what a body is that stayed the same as another call's.

    Raises `InvalidAudio` where upstream declares something else for this call.
    """
    text = describe_contradiction(size_bytes, found.audio.duration_seconds, stated)
    if text:
        raise InvalidAudio("shared", text)
    text = SAME_BYTES + (f" ({unanswered})" if unanswered else "")
    return found._replace(defects=(*found.defects, text))


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
