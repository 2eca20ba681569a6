"""Are calls still recorded? A day's share of recorded calls, beside that of the days before it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from statistics import median

DAYS_BEFORE = 14
_LEAST_CALLS = 20  # a day of fewer says nothing by its share


@dataclass(frozen=True, slots=True)
class RecordedDay:
    """How many calls a day had, and of how many there is or was a recording."""

    day: date
    calls: int
    recorded: int

    @property
    def share(self) -> float:
        """0 to 1; of a day that has calls."""
        return self.recorded / self.calls


@dataclass(frozen=True, slots=True)
class Drop:
    """A day with markedly fewer recorded calls; `share_before` is the median of the days before it, 0 to 1."""

    of: RecordedDay
    share_before: float


def drops(days: Iterable[RecordedDay], *, since: date) -> list[Drop]:
    """Days from `since` on whose share is below half of the median of the days before, oldest first.

    Compared are days of 20 calls or more, with those of the two weeks before them; a day that dropped is no measure for
    the next one.
    """
    found: list[Drop] = []
    normal: list[RecordedDay] = []
    for day in sorted((day for day in days if day.calls >= _LEAST_CALLS), key=lambda day: day.day):
        before = [other.share for other in normal if day.day - other.day <= timedelta(days=DAYS_BEFORE)]
        if day.day >= since and before and day.share < median(before) / 2:
            found.append(Drop(day, median(before)))
        else:
            normal.append(day)
    return found
