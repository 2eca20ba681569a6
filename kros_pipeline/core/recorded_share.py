"""Find days on which markedly fewer calls were recorded than on the days before."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from statistics import median

DAYS_BEFORE = 14
_MIN_CALLS = 20  # with fewer calls a share says too little


@dataclass(frozen=True, slots=True)
class RecordedDay:
    """How many calls a day had, and how many of them have or had a recording."""

    day: date
    calls: int
    recorded: int

    @property
    def share(self) -> float:
        """The share of recorded calls, 0 to 1. The day must have calls."""
        return self.recorded / self.calls


@dataclass(frozen=True, slots=True)
class Drop:
    """A day with markedly fewer recorded calls; `share_before` is the median of the days before it, 0 to 1."""

    recorded_day: RecordedDay
    share_before: float


def find_drops(days: Iterable[RecordedDay], *, since: date) -> list[Drop]:
    """Find the days from `since` on whose share is below half of the median of the two weeks before, oldest first.

    Only days of 20 calls or more are compared. A day that dropped does not count for the days after it.
    """
    found: list[Drop] = []
    normal: list[RecordedDay] = []
    for day in sorted((day for day in days if day.calls >= _MIN_CALLS), key=lambda day: day.day):
        before = [other.share for other in normal if day.day - other.day <= timedelta(days=DAYS_BEFORE)]
        if day.day >= since and before and day.share < median(before) / 2:
            found.append(Drop(day, median(before)))
        else:
            normal.append(day)
    return found
