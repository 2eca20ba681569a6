"""Count what runs use, in one object a month below `state/usage/`: API requests, S3 requests, and audio that was moved.

A run adds its numbers when it ends. What a run that was killed has used is not counted.
"""

from dataclasses import asdict, dataclass, fields
from datetime import date, datetime
from typing import Any

from ..core.object_keys import usage_key
from .json_objects import read_expendable_json, update_expendable_json
from .object_store import ObjectStore


@dataclass(frozen=True, slots=True)
class Usage:
    """What was used. S3 requests are counted as S3 prices them: PUT, POST and LIST are writes, GET and HEAD reads."""

    api_requests: int = 0
    s3_writes: int = 0
    s3_reads: int = 0
    moved_recordings: int = 0
    moved_bytes: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        """Add two usages, number by number."""
        return Usage(*(getattr(self, name) + getattr(other, name) for name in _NAMES))


_NAMES = tuple(field.name for field in fields(Usage))


def add_usage(store: ObjectStore, usage: Usage, now: datetime) -> None:
    """Add to what was used on the UTC day of `now`. It costs two requests."""
    day = now.date()

    def add(days: dict[str, Any]) -> dict[str, Any]:
        return days | {day.isoformat(): asdict(_parse(days.get(day.isoformat())) + usage)}

    update_expendable_json(store, usage_key(day), add)


def read_usage(store: ObjectStore, month_of: date) -> dict[date, Usage]:
    """Return what was used on each day of the month of `month_of`. It costs one request."""
    stored = read_expendable_json(store, usage_key(month_of))
    month = f"{month_of:%Y-%m}"
    days = {f"{month}-{number:02}": number for number in range(1, 32)}
    return {month_of.replace(day=days[text]): _parse(value) for text, value in stored.items() if text in days}


def _parse(value: object) -> Usage:
    """Parse the numbers of a day; a number that is missing is 0."""
    numbers = value if isinstance(value, dict) else {}
    return Usage(*(number if isinstance(number := numbers.get(name), int) else 0 for name in _NAMES))
