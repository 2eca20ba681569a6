"""Record when each day's audio was last read back and found as it was archived: `state/verified_days.json`."""

from collections.abc import Iterable
from datetime import date, datetime

from ..core.days import parse_time
from ..core.object_keys import VERIFIED_DAYS
from .json_objects import read_expendable_json, update_expendable_json
from .object_store import ObjectStore


def record_verified_days(store: ObjectStore, days: Iterable[date], now: datetime) -> None:
    """Record that these days were read back whole. It costs two requests."""
    verified = {day.isoformat(): now.isoformat() for day in days}
    if verified:
        update_expendable_json(store, VERIFIED_DAYS, lambda stored: stored | verified)


def read_verified_days(store: ObjectStore) -> dict[date, datetime]:
    """Return when each day was last read back. It costs one request."""
    found = {}
    for text, value in read_expendable_json(store, VERIFIED_DAYS).items():
        try:
            day = date.fromisoformat(text)
        except ValueError:
            continue
        if (at := parse_time(value)) is not None:
            found[day] = at
    return found
