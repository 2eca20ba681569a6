"""Independent counters: what upstream counts of a day's calls by itself, beside what its list shows.

They are independent of the list, and never move the verdict. Which calls a counter counts, and in which time zone, is
not documented: so a difference weighs something only where the counter is named for completed calls, shows more than
the archive has, and has mostly agreed before.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

DAYS_BEFORE = 14
_SETTLED_DAYS = 5
_MIN_AGREEING_DAYS = 3
_MIN_DAYS_WITH_CALLS = 3
_WEEK = 7


@dataclass(frozen=True, slots=True)
class CallCounter:
    """One number of upstream's. `counts_completed` says that the field is named for completed calls."""

    name: str
    value: int
    counts_completed: bool


@dataclass(frozen=True, slots=True)
class CountedDay:
    """What was recorded of an earlier day: the calls that it has, those erased among them, and the counters then.

    `is_settled` says that the day was complete after its grace days.
    """

    calls: int
    counters: Mapping[str, int]
    is_settled: bool


def find_higher_counters(
    counters: Sequence[CallCounter], calls: int, days_before: Sequence[CountedDay | None]
) -> Iterator[str]:
    """Yield a sentence for each counter of completed calls that shows more than `calls`, and agreed before.

    `days_before` are the days before, the nearest first; None where nothing was recorded of one.
    """
    settled = [day for day in days_before if day is not None and day.is_settled][:_SETTLED_DAYS]
    for counter in counters:
        agreeing = sum(day.counters.get(counter.name) == day.calls for day in settled)
        if counter.counts_completed and counter.value > calls and agreeing >= _MIN_AGREEING_DAYS:
            yield (
                f"Upstream's counter {counter.name} shows {counter.value} completed calls, and the archive has "
                f"{calls}; on {agreeing} of the {len(settled)} settled days before they agreed. Ask KrosAI which calls "
                "its list does not show."
            )


def find_signs_of_silence(counters: Sequence[CallCounter], days_before: Sequence[CountedDay | None]) -> Iterator[str]:
    """Yield a sentence for each sign that a day without calls had some: silence is not success."""
    completed = [counter for counter in counters if counter.counts_completed] or counters
    shown = ", ".join(f"{counter.name}: {counter.value}" for counter in completed if counter.value)
    if shown:
        yield (
            f"The list shows no call of the day, and upstream's own counters do ({shown}): ask KrosAI why, before it "
            "deletes the recordings."
        )
    known = [day.calls for day in days_before if day is not None]
    week_before = days_before[_WEEK - 1] if len(days_before) >= _WEEK else None
    is_usual = week_before is not None and not week_before.calls
    if median(known or [0]) and sum(map(bool, known)) >= _MIN_DAYS_WITH_CALLS and not is_usual:
        yield (
            f"The list shows no call of the day, and the {len(known)} days before had {median(known):g} (their "
            "median): make sure that there were none."
        )
