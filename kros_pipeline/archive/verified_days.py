"""Record when each day's audio was last read back whole, and how far a verification of everything has come.

`state/verified_days.json` has a time for each day; and, while a verification of every day is under way or was killed,
when it began and the days that it has found as they were archived.
"""

from collections.abc import Iterable
from datetime import date, datetime, timedelta

from ..core.days import parse_day, parse_time
from ..core.object_keys import VERIFIED_DAYS
from .json_objects import Content, read_expendable_json, update_expendable_json
from .object_store import ObjectStore

_EVERYTHING = "everything"
_LONGEST_PASS = timedelta(days=28)
"""After it a verification that was killed begins anew: what it read at first says too little."""


def record_verified_days(
    store: ObjectStore, days: Iterable[date], now: datetime, *, sound: Iterable[date] = ()
) -> None:
    """Record that these days were read back whole. It costs two requests.

    A verification of everything has found those of `sound` as they were archived.
    """
    verified = {day.isoformat(): now.isoformat() for day in days}
    as_archived = {day.isoformat() for day in sound}

    def change(stored: Content) -> Content:
        under_way = _pass_in(stored)
        if under_way is None or not as_archived:
            return stored | verified
        days_of_pass = sorted({*under_way["days"], *as_archived})
        return stored | verified | {_EVERYTHING: under_way | {"days": days_of_pass}}

    if verified or as_archived:
        update_expendable_json(store, VERIFIED_DAYS, change)


def read_verified_days(store: ObjectStore) -> dict[date, datetime]:
    """Return when each day was last read back. It costs one request."""
    found = {}
    for text, value in read_expendable_json(store, VERIFIED_DAYS).items():
        day, at = parse_day(text), parse_time(value)
        if day is not None and at is not None:
            found[day] = at
    return found


def begin_everything(store: ObjectStore, now: datetime) -> set[date]:
    """Begin a verification of every day, or go on with one that was killed: return the days that it has found sound."""

    def change(stored: Content) -> Content:
        under_way = _pass_in(stored)
        began_at = parse_time(under_way["began_at"]) if under_way is not None else None
        if began_at is not None and timedelta(0) <= now - began_at < _LONGEST_PASS:
            return stored
        return stored | {_EVERYTHING: {"began_at": now.isoformat(), "days": []}}

    under_way = _pass_in(update_expendable_json(store, VERIFIED_DAYS, change))
    texts = under_way["days"] if under_way is not None else []
    return {day for text in texts if (day := parse_day(text)) is not None}


def end_everything(store: ObjectStore) -> None:
    """Record that a verification of every day has come to its end, whatever it found."""
    update_expendable_json(
        store, VERIFIED_DAYS, lambda stored: {name: value for name, value in stored.items() if name != _EVERYTHING}
    )


def _pass_in(stored: Content) -> Content | None:
    """Return the verification of everything that is under way; None where there is none, or none that can be read."""
    found = stored.get(_EVERYTHING)
    days, began_at = (found.get("days"), found.get("began_at")) if isinstance(found, dict) else (None, None)
    is_one = isinstance(days, list) and all(isinstance(day, str) for day in days) and isinstance(began_at, str)
    return found if is_one else None
