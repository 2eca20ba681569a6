"""Reads upstream's own counts of calls. Their shape is not documented: what cannot be read for sure is left out."""

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from ..core.call_counters import CallCounter
from .call_parsing import parse_count

_COMPLETED_FIELDS = ("completed", "completed_calls", "total_completed", "calls_completed", "completed_count")
_ALL_FIELDS = ("total_calls", "total", "calls", "call_count", "count")
_PARTS_OF_STATISTICS = ("stats", "statistics", "summary", "data", "by_status")
_PARTS_OF_TRENDS = ("trends", "data", "daily", "days", "stats", "results")
_DATE_FIELDS = ("date", "day", "period", "bucket")


def read_statistics(answer: Mapping[str, Any]) -> list[CallCounter]:
    """Return the counters of `/calls/stats`: at the top, or one level below; those of completed calls first."""
    nested = (answer[name] for name in _PARTS_OF_STATISTICS if isinstance(answer.get(name), dict))
    found: dict[str, CallCounter] = {}
    for fields in (answer, *nested):
        for counter in _counters_in(fields, "stats"):
            found.setdefault(counter.name, counter)
    return sorted(found.values(), key=lambda counter: not counter.counts_completed)


def read_trends(answer: Mapping[str, Any], day: date) -> list[CallCounter]:
    """Return the counters that `action=trends` shows of one day; none where the day is not in it."""
    parts = [answer, *(answer[name] for name in _PARTS_OF_TRENDS if name in answer)]
    entries = [entry for part in parts for entry in _entries_of(part, day)]
    if len(entries) != 1:  # of two entries nobody knows which one is the day's
        return []
    [entry] = entries
    if isinstance(entry, dict):
        return list(_counters_in(entry, "trends"))
    count = parse_count(entry)
    return [] if count is None else [CallCounter("trends", count, counts_completed=False)]


def _entries_of(part: object, day: date) -> Iterator[object]:
    """Yield what a list of objects, or an object by date, has of one day."""
    if isinstance(part, list):
        yield from (entry for entry in part if isinstance(entry, dict) and _is_of(entry, day))
    elif isinstance(part, dict) and day.isoformat() in part:
        yield part[day.isoformat()]


def _is_of(entry: Mapping[str, Any], day: date) -> bool:
    dates = [entry[name] for name in _DATE_FIELDS if isinstance(entry.get(name), str)]
    return bool(dates) and dates[0][:10] == day.isoformat()


def _counters_in(fields: Mapping[str, Any], where: str) -> Iterator[CallCounter]:
    for names, counts_completed in ((_COMPLETED_FIELDS, True), (_ALL_FIELDS, False)):
        for name in names:
            count = parse_count(fields.get(name))
            if count is not None:
                yield CallCounter(f"{where}.{name}", count, counts_completed)
