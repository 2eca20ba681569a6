"""The backlog: the days that still owe something, read from the archive itself."""

from datetime import date
from itertools import islice

from ..archive.object_store import ObjectStore
from ..archive.tables import Tables
from ..core.clock import Clock
from ..core.statuses import DayVerdict
from .day_states import days_within_retention, read_day_states

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

    The oldest day is the one that upstream deletes next. A day is settled once it was `complete` after the grace days,
    before which late data may still come, and while its tables are the ones that were compared then. Incomplete days
    are interleaved, one after each two others and the longest unchecked first, so that days that cannot be mended
    cannot starve the rest.
    """
    days = days_within_retention(first, last, clock, retention_days)
    states = read_day_states(days, store=store, tables=tables)
    incomplete = {
        day: state.row["checked_at"]
        for day, state in states.items()
        if state.row and state.row["verdict"] == DayVerdict.INCOMPLETE
    }
    others = [
        day for day, state in states.items() if day not in incomplete and not state.is_settled(day, lookback_days)
    ]
    return _interleave(others, sorted(incomplete, key=lambda day: (incomplete[day], day)))


def _interleave(others: list[date], incomplete: list[date]) -> list[date]:
    backlog: list[date] = []
    waiting = iter(incomplete)
    for number, day in enumerate(others, 1):
        backlog.append(day)
        if number % _OTHERS_PER_INCOMPLETE_DAY == 0:
            backlog.extend(islice(waiting, 1))
    return backlog + list(waiting)
