"""The backlog: the days that still owe something, read from the archive itself.

Dagster's history is not used: it may be incomplete.
"""

from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from itertools import islice

from ..archive.archived_days import days_of_table
from ..archive.object_store import ObjectStore
from ..archive.parquet import Row
from ..archive.tables import Tables
from ..core import schemas
from ..core.clock import Clock
from ..core.days import grace_is_over
from ..core.statuses import DayVerdict
from .day_rows import read_day_rows

_THREADS = 16
_OTHERS_PER_INCOMPLETE_DAY = 2


def find_backlog(
    first: date,
    last: date,
    *,
    store: ObjectStore,
    tables: Tables,
    clock: Clock,
    retention_days: int | None,
    lookback_days: int,
) -> list[date]:
    """Return the days from `first` to `last`, within upstream's retention, that are not settled; oldest first.

    The oldest day is the one that upstream deletes next. A day is settled once it was `complete` after the grace days:
    before that, late data may still come. Incomplete days are interleaved, one after each two others and the longest
    unchecked first, so that days that cannot be mended cannot starve the rest.
    """
    if retention_days is not None:
        first = max(first, clock.now().date() - timedelta(days=retention_days))
    checked = set(days_of_table(store, schemas.RECONCILIATION.name))
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    with ThreadPoolExecutor(_THREADS) as pool:
        found = read_day_rows((day for day in days if day in checked), tables, pool)
    row_by_day = {day: found.rows.get(day) for day in days}
    incomplete = {
        day: row["checked_at"] for day, row in row_by_day.items() if row and row["verdict"] == DayVerdict.INCOMPLETE
    }
    others = [
        day
        for day, row in row_by_day.items()
        if day not in incomplete and (row is None or not _is_settled(day, row, lookback_days))
    ]
    return _interleave(others, sorted(incomplete, key=lambda day: (incomplete[day], day)))


def _is_settled(day: date, row: Row, lookback_days: int) -> bool:
    return row["verdict"] == DayVerdict.COMPLETE and grace_is_over(day, row["checked_at"], lookback_days)


def _interleave(others: list[date], incomplete: list[date]) -> list[date]:
    backlog: list[date] = []
    waiting = iter(incomplete)
    for number, day in enumerate(others, 1):
        backlog.append(day)
        if number % _OTHERS_PER_INCOMPLETE_DAY == 0:
            backlog.extend(islice(waiting, 1))
    return backlog + list(waiting)
