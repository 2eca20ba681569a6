"""What the headers of an answer of the API show: its clock, and what is left of the rate or the quota."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from .rate_limiter import parse_http_date

_MAX_DIGITS = 12


@dataclass(frozen=True, slots=True)
class AnswerHeaders:
    """The headers of one answer; each is None where it is absent or unreadable.

    Whether `limit` and `remaining` count a second, a minute or a day is not documented.
    """

    date: datetime | None
    limit: int | None
    remaining: int | None
    reset_at: datetime | None


def read_answer_headers(headers: Mapping[str, str]) -> AnswerHeaders:
    """Read `Date` and `X-RateLimit-*`."""
    reset = _read_count(headers.get("X-RateLimit-Reset"))
    try:
        reset_at = None if reset is None else datetime.fromtimestamp(reset, UTC)
    except (OverflowError, ValueError, OSError):
        reset_at = None
    return AnswerHeaders(
        date=parse_http_date(headers.get("Date")),
        limit=_read_count(headers.get("X-RateLimit-Limit")),
        remaining=_read_count(headers.get("X-RateLimit-Remaining")),
        reset_at=reset_at,
    )


def _read_count(text: str | None) -> int | None:
    digits = (text or "").strip().partition(".")[0]
    return int(digits) if digits.isdecimal() and digits.isascii() and len(digits) <= _MAX_DIGITS else None
