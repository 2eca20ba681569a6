"""The day of a partition: a UTC day of `created_at`, by our own clock."""

from datetime import UTC, date, datetime, time, timedelta

# Which timestamp `from_date` filters is not documented. If it is `completed_at`, a call that was created on the day
# and completed after midnight is listed on the next one: so three hours more are listed, and other days' calls dropped.
LISTED_BEYOND = timedelta(hours=3)


def start_of(day: date) -> datetime:
    """Midnight, UTC, with which the day begins."""
    return datetime.combine(day, time.min, UTC)


def end_of(day: date) -> datetime:
    """Midnight, UTC, with which the next day begins."""
    return start_of(day) + timedelta(days=1)


def is_over(day: date, now: datetime) -> bool:
    """Whether no call can be created on the day any more."""
    return now >= end_of(day)


def grace_is_over(day: date, now: datetime, lookback_days: int) -> bool:
    """Whether late recordings and transcripts have had the days that the settings give them."""
    return now >= end_of(day) + timedelta(days=lookback_days)


def api_time(moment: datetime) -> str:
    """A moment as the API's documentation writes it: ISO 8601, whole seconds, `Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(value: object) -> datetime | None:
    """An ISO 8601 string as an aware UTC datetime (one without an offset is read as UTC); None if it is not one."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value.strip().upper())  # RFC 3339 allows `t` and `z`
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
