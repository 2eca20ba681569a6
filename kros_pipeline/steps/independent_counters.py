"""Asks for upstream's own counts of a day's calls, and reads what was counted on the days before."""

import logging
from collections.abc import Callable, Sequence
from datetime import date, timedelta

from ..archive.object_store import ObjectStore
from ..archive.table_versions import read_checked_tables
from ..core.call_counters import DAYS_BEFORE, CallCounter, CountedDay, find_higher_counters, find_signs_of_silence
from ..core.days import end_of, start_of
from ..core.errors import ApiError
from ..core.listing import Listing
from ..core.worker_threads import worker_threads
from ..source.call_source import CallSource, Window

_THREADS = 8


def read_counters(day: date, source: CallSource, log: logging.Logger) -> list[CallCounter]:
    """Return upstream's counters of a day; none where they cannot be had. It costs two requests."""
    # Whether `to_date` is inclusive is not documented: midnight itself belongs to the next day.
    window = Window(start_of(day), end_of(day) - timedelta(seconds=1))
    counters: list[CallCounter] = []
    asked: dict[str, Callable[[], list[CallCounter]]] = {
        "statistics": lambda: source.statistics(window),
        "trends": lambda: source.trends(day),
    }
    for what, ask in asked.items():
        try:
            counters += ask()
        except ApiError as error:
            log.info("%s: the %s could not be read (%s)", day, what, error)
    return counters


def compare_counters(
    day: date, counters: Sequence[CallCounter], listing: Listing | None, *, calls: int, store: ObjectStore
) -> list[str]:
    """Return a sentence for each difference between the counters and a day of `calls` calls that weighs something.

    A day whose list was not proved is compared only where it has no calls at all: it is not complete anyway. The days
    before are read only where there is a difference, or no call: a request each, two weeks of them.
    """
    if listing is None:
        return []
    is_empty = not calls and not listing.listed_total
    shown = max(calls, listing.listed_total)
    is_higher = any(counter.counts_completed and counter.value > shown for counter in counters)
    if not is_empty and not (is_higher and listing.proved):
        return []
    before = [day - timedelta(days=number) for number in range(1, DAYS_BEFORE + 1)]
    with worker_threads(_THREADS, "counters") as pool:
        days_before = list(pool.map(lambda other: _read_counted(store, other), before))
    if is_empty:
        return list(find_signs_of_silence(counters, days_before))
    return list(find_higher_counters(counters, shown, days_before))


def _read_counted(store: ObjectStore, day: date) -> CountedDay | None:
    checked = read_checked_tables(store, day)
    return checked.counted if checked is not None else None
