"""The backlog: the days that still owe something, read from the archive itself, and the order of their turns.

The day that upstream deletes next comes first. That loses the fewest recordings: whatever is spent on a day that has
more time could have been spent later, and on this day it could not. So an order by size, or of days that can be had
whole, gains nothing; what the order has to prevent is that days which were tried already take turns of others.
"""

from collections.abc import Collection
from datetime import date, timedelta
from itertools import islice

from ..archive.object_store import ObjectStore
from ..archive.tables import Tables
from ..core.clock import Clock
from ..core.statuses import DayVerdict
from ..core.two_answers import is_last_chance
from .day_states import OwedReason, days_within_retention, look_at_day_states

_OTHERS_PER_INCOMPLETE_DAY = 2
_BETWEEN_TRIES_UNDER_PRESSURE = timedelta(hours=20)


def find_backlog(
    first: date,
    last: date,
    *,
    store: ObjectStore,
    tables: Tables,
    clock: Clock,
    retention_days: int | None,
    lookback_days: int,
    late_days: Collection[date] = (),
) -> dict[date, OwedReason]:
    """Return the days from `first` to `last`, within upstream's retention, that are due, and why; oldest first.

    The oldest day is the one that upstream deletes next. A day is settled once it was `complete` after the grace days,
    before which late data may still come, and while its tables are the ones that were compared then. A day that rests
    until its next look is not due. Incomplete days are interleaved, one after each two others and the longest unchecked
    first, so that days that cannot be mended cannot starve the rest. Days of which only second answers are missing
    come last, until upstream is about to delete them.

    `late_days` are those that upstream deletes before their turn, by the last plan. While one of them is due, an
    incomplete day has its turn by its deletion, too, and only once in 20 hours: what was tried and failed must not take
    the time of what was never tried.
    """
    now = clock.now()
    days = days_within_retention(first, last, clock, retention_days)
    states = look_at_day_states(days, store=store, tables=tables)
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
    if any(day in late_days for day in due):
        tried = {day for day, checked_at in incomplete.items() if now - checked_at < _BETWEEN_TRIES_UNDER_PRESSURE}
        in_turn = [day for day in due if day not in tried and day not in for_second_answers]
        ordered = in_turn + sorted(tried, key=lambda day: (incomplete[day], day)) + for_second_answers
    else:
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
