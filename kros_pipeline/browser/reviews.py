"""Write and read reviews: create-only objects below `reviews/`, one for each time that somebody reviews a call."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from ..archive.json_objects import create_json, read_json
from ..archive.object_store import ObjectStore
from ..archive.reviewed_calls import reviewed_keys
from ..core.clock import Clock
from ..core.days import parse_time
from ..core.errors import ArchiveError
from ..core.object_keys import call_reviews_prefix, review_key

_THREADS = 8


@dataclass(frozen=True, slots=True)
class Review:
    """One review of one call."""

    reviewer: str
    reviewed_at: datetime | None
    verdict: str
    answers: dict[str, str]
    comment: str


class Reviews:
    """The reviews of the archive. Threads may share it."""

    def __init__(self, store: ObjectStore, clock: Clock):
        self._store, self._clock = store, clock

    def add(self, day: date, key: str, call_id: str, reviewer: str, content: dict[str, Any]) -> None:
        """Create one review. Raises `ArchiveError`."""
        now = self._clock.now()
        value = content | {
            "call_id": call_id,
            "call_date": day.isoformat(),
            "reviewer": reviewer,
            "reviewed_at": now.isoformat(timespec="microseconds"),
        }
        if not create_json(self._store, review_key(day, key, now, reviewer), value):
            raise ArchiveError("another review has this time and name: send it again")

    def of_call(self, day: date, key: str) -> list[Review]:
        """Return the reviews of a call, the oldest first. One that cannot be read is shown as such."""
        return [self._read(entry.key) for entry in self._store.list(call_reviews_prefix(day, key))]

    def reviewed_keys(self, days: list[date]) -> set[tuple[date, str]]:
        """Return the days and keys of the calls that somebody reviewed."""

        def keys(day: date) -> set[tuple[date, str]]:
            return {(day, key) for key in reviewed_keys(self._store, day)}

        with ThreadPoolExecutor(_THREADS, thread_name_prefix="reviews") as pool:
            return set().union(*pool.map(keys, days))

    def _read(self, key: str) -> Review:
        try:
            value = read_json(self._store, key) or {}
        except ArchiveError:
            return Review("", None, "unreadable", {}, "")
        answers = value.get("answers")
        return Review(
            reviewer=str(value.get("reviewer", "")),
            reviewed_at=parse_time(value.get("reviewed_at")),
            verdict=str(value.get("verdict", "")),
            answers={str(name): str(text) for name, text in answers.items()} if isinstance(answers, dict) else {},
            comment=str(value.get("comment", "")),
        )
