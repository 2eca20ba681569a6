"""Describe what happened to the tables of days since their check; also of days that no schedule takes up.

Upstream has such days no more, or they are before the first partition, and the bucket keeps old versions of tables for
some weeks only: what nobody notices is lost for good.
"""

from collections.abc import Collection, Iterator, Mapping
from datetime import date, datetime, timedelta
from itertools import islice

from ..archive.object_store import ObjectStore
from ..core import schemas
from ..core.clock import Clock
from ..core.object_keys import table_key
from .day_states import DayState

_MOST_DAYS = 20  # that are named; and of which is asked when a table was replaced
DERIVED_TABLES = {schemas.UTTERANCES.name, schemas.FLAGGED_CALLS.name}  # a backfill makes them anew from the others
_REPLACED_FOR = timedelta(days=1)  # an erasure, or a job that writes tables again, reconciles the day by then


def describe_deleted(day: date, state: DayState) -> Iterator[str]:
    """Yield which tables of a day were deleted."""
    if state.deleted:
        yield f"{day}: deleted since its check: {_name(state.deleted)}."


def describe_replaced(day: date, tables: list[str]) -> Iterator[str]:
    """Yield which tables of a day were replaced."""
    if tables:
        yield f"{day}: replaced since its check: {_name(tables)}."


def describe_other_days(
    states: Mapping[date, DayState],
    *,
    store: ObjectStore,
    clock: Clock,
    lookback_days: int,
    under_way: Collection[date] = (),
) -> list[str]:
    """Describe days by what is kept of them: what is gone or damaged, and what was replaced a day ago or longer.

    A replaced table that can be made anew from the others is none of them. The first days are named, and the others
    counted. Requests: one for each replaced table of at most 20 days.
    """
    gone = [sentence for day, state in sorted(states.items()) for sentence in _describe_gone(day, state)]
    suspect = {
        day: evidence
        for day, state in sorted(states.items())
        if (evidence := [name for name in state.replaced if name not in DERIVED_TABLES])
        and day not in under_way
        and state.was_proved_after_grace(day, lookback_days)
    }
    since = clock.now() - _REPLACED_FOR
    replaced = [
        sentence
        for day, names in islice(suspect.items(), _MOST_DAYS)
        if any(_was_written_before(store, table_key(name, day), since) for name in names)
        for sentence in describe_replaced(day, names)
    ]
    more = max(0, len(gone) - _MOST_DAYS) + (max(0, len(suspect) - _MOST_DAYS) if replaced else 0)
    return [*gone[:_MOST_DAYS], *replaced, *([f"The same holds for {more} more days."] if more else [])]


def _describe_gone(day: date, state: DayState) -> Iterator[str]:
    if state.unreadable:
        yield f"{day}: {state.unreadable}."
    yield from describe_deleted(day, state)


def _was_written_before(store: ObjectStore, key: str, time: datetime) -> bool:
    head = store.head(key)
    return head is not None and head.last_modified <= time


def _name(tables: list[str]) -> str:
    """Name tables as a sentence does."""
    return ", ".join(f"the table `{name}`" for name in tables)
