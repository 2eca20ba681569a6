"""Record when each day's audio was last read back whole, which days have findings, and how far a pass has come.

`state/verified_days.json` has a time for each day; the days whose last reading was not sound (`with_findings`); and,
while a verification of every day is under way or was killed, when it began and the days that it has found as they were
archived. A day keeps its findings until a later reading of it is sound, whichever launch reads it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from ..core.days import parse_day, parse_time
from ..core.object_keys import VERIFIED_DAYS
from .json_objects import Content, read_expendable_json, update_expendable_json
from .object_store import ObjectStore

_EVERYTHING = "everything"
_WITH_FINDINGS = "with_findings"
_LONGEST_PASS = timedelta(days=28)
"""After it a verification that was killed begins anew: what it read at first says too little."""


@dataclass(frozen=True, slots=True)
class VerifiedDays:
    """When each day was last read back whole, and of each day with findings when it was last read."""

    read_at: dict[date, datetime] = field(default_factory=dict)
    with_findings: dict[date, datetime] = field(default_factory=dict)


def record_verified_days(
    store: ObjectStore,
    days: Iterable[date],
    now: datetime,
    *,
    with_findings: Iterable[date] = (),
    is_everything: bool = False,
) -> None:
    """Record that these days were read back whole, and which days, read whole or not, have findings.

    It costs two requests. A verification of everything has found the others as they were archived; a day with findings
    is none of those any more, whichever launch found them.
    """
    read, bad = ({day.isoformat() for day in some} for some in (days, with_findings))

    def change(stored: Content) -> Content:
        changed = stored | dict.fromkeys(read, now.isoformat())
        findings = {day: at for day, at in _findings_in(stored).items() if day not in read}
        findings |= dict.fromkeys(bad, now.isoformat())
        changed.pop(_WITH_FINDINGS, None)
        if findings:
            changed[_WITH_FINDINGS] = findings
        under_way = _pass_in(stored)
        if under_way is not None:
            sound = {*under_way["days"], *(read if is_everything else ())} - findings.keys()
            changed[_EVERYTHING] = under_way | {"days": sorted(sound)}
        return changed

    if read or bad:
        update_expendable_json(store, VERIFIED_DAYS, change)


def read_verified_days(store: ObjectStore) -> VerifiedDays:
    """Return when each day was last read back, and the days with findings. It costs one request."""
    stored = read_expendable_json(store, VERIFIED_DAYS)
    return VerifiedDays(_parse_times(stored), _parse_times(_findings_in(stored)))


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


def _parse_times(stored: Content) -> dict[date, datetime]:
    times = ((parse_day(text), parse_time(value)) for text, value in stored.items())
    return {day: at for day, at in times if day is not None and at is not None}


def _findings_in(stored: Content) -> Content:
    """Return the days with findings, and when each was last read; none where they cannot be read."""
    found = stored.get(_WITH_FINDINGS)
    return found if isinstance(found, dict) else {}


def _pass_in(stored: Content) -> Content | None:
    """Return the verification of everything that is under way; None where there is none, or none that can be read."""
    found = stored.get(_EVERYTHING)
    days, began_at = (found.get("days"), found.get("began_at")) if isinstance(found, dict) else (None, None)
    is_one = isinstance(days, list) and all(isinstance(day, str) for day in days) and isinstance(began_at, str)
    return found if is_one else None
