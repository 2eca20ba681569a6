"""Decide which day keeps a call. `created_at` may move upstream; the archive's day of a call does not.

A call keeps the first day that archived it. Where two days have it, because two runs met, the earlier one keeps it.
"""

from collections.abc import Callable
from datetime import date
from itertools import compress

from .days import days_beside
from .digest_set import Digests, DigestSet

IdsOfDay = Callable[[date], DigestSet]
"""Returns the ids that a day's table `calls` has; none where there is no table."""


def find_home_days(
    day: date,
    created_on: date,
    calls: Digests,
    *,
    archived: IdsOfDay,
    may_be_added: Callable[[date], bool],
) -> list[date | None]:
    """Return, for each of some calls, the day to which the listing of `day` adds it, or where it updates it.

    `calls` are the digests of calls whose `created_at` is on `created_on`, as the list shows it. A call of another day
    than `day` that no table has is added there if `may_be_added` says so. None: it is left to that day's own run.
    """
    if created_on != day:
        is_left = archived(created_on).has(calls) & ~archived(day).has(calls)
        if is_left.all():
            return [None] * len(calls)  # each is in the day that it belongs to
    days = sorted({created_on, *days_beside(created_on), day})
    has_calls = [archived(other).has(calls).tolist() for other in days]
    first_days = [next(compress(days, row), None) for row in zip(*has_calls, strict=True)]
    if created_on == day:
        return [first or day for first in first_days]
    added_to = created_on if None in first_days and may_be_added(created_on) else None
    return [
        None if left or first == created_on else first or added_to
        for left, first in zip(is_left.tolist(), first_days, strict=True)
    ]
