"""The health of the archive: days that are missing, recordings that upstream is about to delete, drops in recording.

Everything is read from the archive. Upstream is not asked: it may be the part that is down.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, timedelta

from ..archive.acknowledgements import acknowledged_call_keys
from ..archive.object_store import ObjectStore
from ..archive.parquet import Row
from ..archive.tables import Tables
from ..core import schemas
from ..core.clock import Clock
from ..core.days import grace_is_over
from ..core.errors import UnreadablePartition
from ..core.object_keys import call_key
from ..core.recorded_share import DAYS_BEFORE, Drop, RecordedDay, find_drops
from ..core.retention import warning_days
from ..core.statuses import DayVerdict, RecordingStatus
from .day_rows import read_day_rows

_RECENT_DAYS = 14
_DROPS_REPORTED_DAYS = 7
_THREADS = 16
_SAMPLE_SIZE = 20
_AT_RISK = (RecordingStatus.PENDING, RecordingStatus.FAILED, RecordingStatus.REFUSED)


@dataclass
class ArchiveHealth:
    """What was found. `days` are sentences; `calls` is a sample of (call id, day, days left) of `count` recordings."""

    days: list[str] = field(default_factory=list)
    calls: list[tuple[str, date, int]] = field(default_factory=list)
    count: int = 0
    days_never_listed: list[tuple[date, int]] = field(default_factory=list)
    least_days_left: int | None = None
    is_urgent: bool = False
    drops: list[Drop] = field(default_factory=list)


def check_health(
    first: date,
    last: date,
    *,
    store: ObjectStore,
    tables: Tables,
    clock: Clock,
    retention_days: int | None,
    lookback_days: int,
) -> ArchiveHealth:
    """Check the days from `first` to `last` of which upstream may still have recordings."""
    health = ArchiveHealth()
    today = clock.now().date()
    oldest = max(first, today - timedelta(days=retention_days if retention_days is not None else _RECENT_DAYS))
    first_drop = last - timedelta(days=_DROPS_REPORTED_DAYS - 1)
    first_read = min(oldest, max(first, first_drop - timedelta(days=DAYS_BEFORE)))
    read = [first_read + timedelta(days=number) for number in range((last - first_read).days + 1)]
    days = [day for day in read if day >= oldest]
    with ThreadPoolExecutor(_THREADS) as pool:
        found = read_day_rows(read, tables, pool)
        rows = found.rows
        recorded = (_count_recorded(day, row) for day, row in rows.items() if row is not None)
        health.drops = find_drops(recorded, since=first_drop)
        recent = [day for day in days if (today - day).days <= _RECENT_DAYS]
        sentences = [
            _describe_day(day, rows[day], clock, lookback_days) for day in recent if day not in found.unreadable
        ]
        health.days = [sentence for sentence in sentences if sentence is not None]
        health.days += [f"{day}: {reason}." for day, reason in found.unreadable.items()]
        if retention_days is not None:
            unsafe = [day for day in days if not _is_safe(rows[day])]
            calls_at_risk = pool.map(lambda day: _find_calls_at_risk(store, tables, day), unsafe)
            for day, calls in zip(unsafe, calls_at_risk, strict=True):
                if isinstance(calls, UnreadablePartition):
                    health.days.append(f"{day}: {calls}.")
                else:
                    _add_risk(health, day, rows[day], calls, today, retention_days)
    return health


def _describe_day(day: date, row: Row | None, clock: Clock, lookback_days: int) -> str | None:
    """Return what is wrong with a recent day; None where nothing is."""
    if row is None:
        return f"{day} was never archived."
    if row["verdict"] == DayVerdict.INCOMPLETE:
        return f"{day} is incomplete."
    if row["verdict"] != DayVerdict.COMPLETE and grace_is_over(day, clock.now(), lookback_days + 1):
        return f"{day} is still waiting, a day after its grace days."
    return None


def _count_recorded(day: date, row: Row) -> RecordedDay:
    """Count the calls that had a recording. `recordings_failed` includes the refused ones."""
    recorded = row["recordings_archived"] + row["recordings_lost"] + row["recordings_failed"]
    return RecordedDay(day, row["calls"], recorded)


def _is_safe(row: Row | None) -> bool:
    return (
        row is not None
        and row["recordings_pending"] == row["recordings_failed"] == 0
        and row["listed_total"] is not None
    )


def _find_calls_at_risk(store: ObjectStore, tables: Tables, day: date) -> list[str] | UnreadablePartition:
    try:
        rows = tables.rows(schemas.RECORDINGS, day, ("call_id", "status"))
    except UnreadablePartition as error:
        return error
    acknowledged = acknowledged_call_keys(store, day)
    return [
        row["call_id"] for row in rows if row["status"] in _AT_RISK and call_key(row["call_id"]) not in acknowledged
    ]


def _add_risk(
    health: ArchiveHealth, day: date, row: Row | None, calls: list[str], today: date, retention_days: int
) -> None:
    """Add a day's recordings that upstream deletes soon."""
    days_left = (day + timedelta(days=retention_days) - today).days
    warning, urgent = warning_days(retention_days)
    if days_left > warning or not (calls or row is None):
        return
    health.count += len(calls)
    health.calls += [(call_id, day, days_left) for call_id in calls[: _SAMPLE_SIZE - len(health.calls)]]
    if row is None:
        health.days_never_listed.append((day, days_left))
    least = health.least_days_left
    health.least_days_left = days_left if least is None else min(days_left, least)
    health.is_urgent = health.is_urgent or days_left <= urgent
