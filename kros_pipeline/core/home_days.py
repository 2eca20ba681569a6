"""Decide which day keeps a call. `created_at` may move upstream; the archive's day of a call does not.

A call keeps the first day that archived it. Where two days have it, because two runs met, the earlier one keeps it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date

from .calls import Call
from .days import days_beside

IdsOfDay = Callable[[date], frozenset[str]]
"""Returns the ids that a day's table `calls` has; none where there is no table."""


@dataclass
class HomeDays:
    """The calls of one listing, by the day that keeps each.

    `kept` are the listed day's own. `added` are new in another day, and `updated` are known there. `removed` are rows
    of the listed day that an earlier day keeps, each with that day. `doubled` are later days that have a call of the
    listed day, too: their next run removes it.
    """

    kept: dict[str, Call] = field(default_factory=dict)
    added: dict[date, dict[str, Call]] = field(default_factory=dict)
    updated: dict[date, dict[str, Call]] = field(default_factory=dict)
    removed: dict[str, date] = field(default_factory=dict)
    doubled: set[date] = field(default_factory=set)


def find_home_days(
    day: date,
    listed: Mapping[str, Call],
    others: Mapping[date, Mapping[str, Call]],
    *,
    archived: IdsOfDay,
    may_be_added: Callable[[date], bool],
) -> HomeDays:
    """Assign every listed call to the day that keeps it.

    `listed` are calls whose `created_at` is on `day`, `others` those of other days, by day. A call of another day that
    no table has is added there if `may_be_added` says so; otherwise it is left to that day's own run.
    """
    homes = HomeDays()
    before, after = days_beside(day)
    homes.removed = dict.fromkeys(archived(day) & archived(before), before)
    if archived(day) & archived(after):
        homes.doubled.add(after)
    for call_id, call in listed.items():
        _assign(homes, day, _first_with(call_id, (before, day, after), archived) or day, call)
    for other, calls in others.items():
        known = archived(other)
        for call_id, call in calls.items():
            if call_id in known and call_id not in archived(day):
                continue  # in the day that it belongs to
            home = _first_with(call_id, sorted({other, *days_beside(other), day}), archived)
            if home is not None and home != other:
                _assign(homes, day, home, call)
            elif home is None and may_be_added(other):
                homes.added.setdefault(other, {})[call_id] = replace(call, call_date=other)
    return homes


def _first_with(call_id: str, days: Iterable[date], archived: IdsOfDay) -> date | None:
    return next((day for day in days if call_id in archived(day)), None)


def _assign(homes: HomeDays, day: date, home: date, call: Call) -> None:
    calls = homes.kept if home == day else homes.updated.setdefault(home, {})
    calls[call.call_id] = replace(call, call_date=home)
