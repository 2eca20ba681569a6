"""What an hourly look at the archive must find: days that are missing, recordings that upstream is about to delete, and
days on which calls were not recorded as before.

Everything is read from the archive itself. Nothing is asked of upstream, which may be the very thing that is down.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from ..core import schemas
from ..core.days import grace_is_over
from ..core.object_keys import call_key
from ..core.recorded_share import DAYS_BEFORE, Drop, RecordedDay, find_drops
from ..core.statuses import DayVerdict
from ..source.plans import warning_days
from ..steps.reconciliation import acknowledged_calls, read_reconciliation
from ..steps.run_context import RunContext

_RECENT_DAYS = 14
_DROPS_TOLD_DAYS = 7
_THREADS = 16
_SAMPLE = 20
_AT_RISK = ("pending", "failed", "refused")


@dataclass
class ArchiveHealth:
    """What was found. `days` are sentences; `calls` is a sample of (call id, day, days left) of `count` calls."""

    days: list[str] = field(default_factory=list)
    calls: list[tuple[str, date, int]] = field(default_factory=list)
    count: int = 0
    days_never_listed: list[tuple[date, int]] = field(default_factory=list)
    least_days_left: int | None = None
    is_urgent: bool = False
    drops: list[Drop] = field(default_factory=list)


def check_health(ctx: RunContext, first: date, last: date) -> ArchiveHealth:
    """Looks at the days from `first` to `last` that upstream may still have recordings of."""
    found = ArchiveHealth()
    today = ctx.now().date()
    retention_days = ctx.settings.source.retention_days
    oldest = max(first, today - timedelta(days=retention_days if retention_days is not None else _RECENT_DAYS))
    oldest_told = last - timedelta(days=_DROPS_TOLD_DAYS - 1)
    begin = min(oldest, max(first, oldest_told - timedelta(days=DAYS_BEFORE)))
    read = [begin + timedelta(days=number) for number in range((last - begin).days + 1)]
    days = [day for day in read if day >= oldest]
    with ThreadPoolExecutor(_THREADS) as pool:
        rows = dict(zip(read, pool.map(lambda day: read_reconciliation(ctx, day), read), strict=True))
        found.drops = find_drops(
            (_recorded(day, row) for day, row in rows.items() if row is not None), since=oldest_told
        )
        recent = [day for day in days if (today - day).days <= _RECENT_DAYS]
        found.days = [sentence for day in recent if (sentence := _of_a_day(ctx, day, rows[day])) is not None]
        if retention_days is not None:
            unsafe = [day for day in days if (row := rows[day]) is None or not _is_safe(row)]
            for day, calls in zip(unsafe, pool.map(lambda day: _calls_at_risk(ctx, day), unsafe), strict=True):
                _weigh(found, day, rows[day], calls, today, retention_days)
    return found


def _of_a_day(ctx: RunContext, day: date, row: dict[str, Any] | None) -> str | None:
    if row is None:
        return f"{day} was never archived."
    if row["verdict"] == DayVerdict.INCOMPLETE:
        return f"{day} is incomplete."
    if row["verdict"] != DayVerdict.COMPLETE and grace_is_over(day, ctx.now(), ctx.settings.lookback_days + 1):
        return f"{day} is still waiting, a day after its grace days."
    return None


def _recorded(day: date, row: dict[str, Any]) -> RecordedDay:
    recorded = (
        row["recordings_archived"] + row["recordings_lost"] + row["recordings_failed"]
    )  # refused ones among these
    return RecordedDay(day, row["calls"], recorded)


def _is_safe(row: dict[str, Any]) -> bool:
    return row["recordings_pending"] == row["recordings_failed"] == 0 and row["listed_total"] is not None


def _calls_at_risk(ctx: RunContext, day: date) -> list[str]:
    rows = ctx.tables.rows(schemas.RECORDINGS, day, ("call_id", "status"))
    accepted = acknowledged_calls(ctx, day)
    return [row["call_id"] for row in rows if row["status"] in _AT_RISK and call_key(row["call_id"]) not in accepted]


def _weigh(
    found: ArchiveHealth, day: date, row: dict[str, Any] | None, calls: list[str], today: date, retention_days: int
) -> None:
    left = (day + timedelta(days=retention_days) - today).days
    warn, urgent = warning_days(retention_days)
    if left > warn or not (calls or row is None):
        return
    found.count += len(calls)
    found.calls += [(call_id, day, left) for call_id in calls[: _SAMPLE - len(found.calls)]]
    if row is None:
        found.days_never_listed.append((day, left))
    found.least_days_left = left if found.least_days_left is None else min(left, found.least_days_left)
    found.is_urgent = found.is_urgent or left <= urgent
