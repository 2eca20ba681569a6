"""The backlog: the days that still owe something, read from the archive itself."""

from datetime import date
from itertools import islice

from ..archive.object_store import ObjectStore
from ..archive.tables import Tables
from ..core.clock import Clock
from ..core.statuses import DayVerdict
from ..core.two_answers import is_last_chance
from .day_states import OwedReason, days_within_retention, read_day_states

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
) -> dict[date, OwedReason]:
    """Return the days from `first` to `last`, within upstream's retention, that are due, and why; oldest first.

    The oldest day is the one that upstream deletes next. A day is settled once it was `complete` after the grace days,
    before which late data may still come, and while its tables are the ones that were compared then. A day that rests
    until its next look is not due. Incomplete days are interleaved, one after each two others and the longest unchecked
    first, so that days that cannot be mended cannot starve the rest. Days of which only second answers are missing
    come last, until upstream is about to delete them.
    """
    now = clock.now()
    days = days_within_retention(first, last, clock, retention_days)
    states = read_day_states(days, store=store, tables=tables)
    due = {
        day: state
        for day, state in states.items()
        if not state.is_settled(day, lookback_days) and not state.may_rest(now)
    }
    incomplete = {
        day: state.row["checked_at"]
        for day, state in due.items()
        if state.row and state.row["verdict"] == DayVerdict.INCOMPLETE
    }
    for_second_answers = [
        day
        for day, state in due.items()
        if state.awaits_second_answers and not is_last_chance(day, retention_days, now)
    ]
    others = [day for day in due if day not in incomplete and day not in for_second_answers]
    ordered = _interleave(others, sorted(incomplete, key=lambda day: (incomplete[day], day))) + for_second_answers
    return {day: due[day].owed_reason() for day in ordered}


def _interleave(others: list[date], incomplete: list[date]) -> list[date]:
    backlog: list[date] = []
    waiting = iter(incomplete)
    for number, day in enumerate(others, 1):
        backlog.append(day)
        if number % _OTHERS_PER_INCOMPLETE_DAY == 0:
            backlog.extend(islice(waiting, 1))
    return backlog + list(waiting)
