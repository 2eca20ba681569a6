"""The day of a partition: a UTC day of `created_at`, by our own clock."""

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo

# Which time `from_date` filters on is not documented. If it is `completed_at`, a call that was created on the day and
# completed after midnight is listed on the next one. So three more hours are listed; calls of other days go to theirs.
LISTED_BEYOND = timedelta(hours=3)
_is_day = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}").fullmatch


def start_of(day: date) -> datetime:
    """Return midnight, UTC, at which the day begins."""
    return datetime.combine(day, time.min, UTC)


def end_of(day: date) -> datetime:
    """Return midnight, UTC, at which the next day begins."""
    return start_of(day) + timedelta(days=1)


def days_beside(day: date) -> tuple[date, date]:
    """Return the day before and the day after."""
    return day - timedelta(days=1), day + timedelta(days=1)


def days_from(first: date, last: date) -> list[date]:
    """Return the days from `first` to `last`, both included; none where `last` is earlier."""
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


def is_over(day: date, now: datetime) -> bool:
    """Return whether no call can be created on the day any more."""
    return now >= end_of(day)


def grace_ends_at(day: date, lookback_days: int) -> datetime:
    """Return when the grace days end, in which late recordings and transcripts may come."""
    return end_of(day) + timedelta(days=lookback_days)


def grace_is_over(day: date, now: datetime, lookback_days: int) -> bool:
    """Return whether the grace days are over."""
    return now >= grace_ends_at(day, lookback_days)


def parse_day(text: str) -> date | None:
    """Parse a day like 2025-01-10; None where the text is none, or names a day that no calendar has."""
    try:
        return date.fromisoformat(text) if _is_day(text) else None
    except ValueError:
        return None


def parse_time(value: object, zone: tzinfo = UTC) -> datetime | None:
    """Parse an ISO 8601 text as an aware UTC time; None if it is not one.

    A time without an offset is meant in `zone`. Of a local time that comes twice, at the end of summer time, the
    earlier one is taken.
    """
    parsed = _parse_iso_8601(value)
    if parsed is None:
        return None
    try:
        return (parsed.replace(tzinfo=zone) if parsed.tzinfo is None else parsed).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def names_zone(value: object) -> bool:
    """Return whether a text is an ISO 8601 time that names its offset itself."""
    parsed = _parse_iso_8601(value)
    return parsed is not None and parsed.tzinfo is not None


def _parse_iso_8601(value: object) -> datetime | None:
    """Parse an ISO 8601 text, with its offset or without one; None if it is not one."""
    if not isinstance(value, str):
        return None
    try:
        return datetime.fromisoformat(value.strip().upper())  # RFC 3339 allows `t` and `z`
    except (ValueError, OverflowError):
        return None
