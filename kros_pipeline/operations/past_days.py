"""Past days: which days the archive itself proves complete. Dagster's history can be put back from them."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from itertools import islice

from ..archive.archived_days import days_of_table
from ..archive.object_store import ObjectStore
from ..archive.parquet import Row
from ..archive.tables import Tables
from ..core import schemas
from .day_states import DayState, read_day_states

_BATCH_DAYS = 100
"""So that an archive of many years takes no more memory than one of a few months, and the log shows progress."""


@dataclass
class PastDays:
    """The row of each complete day, and how many days are not put back, by the reason."""

    complete: dict[date, Row] = field(default_factory=dict)
    others: Counter[str] = field(default_factory=Counter)


def find_past_days(wanted: Iterable[date] | None, *, store: ObjectStore, tables: Tables) -> Iterator[PastDays]:
    """Yield the days of the table `reconciliation`, a batch at a time; only those in `wanted`, if it is given.

    A day is complete where its row says so and none of its tables was deleted or replaced since. Requests: a listing of
    each table for each batch, and two for each day.
    """
    days = iter(days_of_table(store, schemas.RECONCILIATION.name))
    if wanted is not None:
        chosen = set(wanted)
        days = iter([day for day in days if day in chosen])
    while batch := list(islice(days, _BATCH_DAYS)):
        found = PastDays()
        for day, state in read_day_states(batch, store=store, tables=tables).items():
            if state.row is not None and (state.is_proved and not state.deleted and not state.replaced):
                found.complete[day] = state.row
            else:
                found.others[_name(state)] += 1
        yield found


def _name(state: DayState) -> str:
    """Return the reason for which a day owes something: the same word as the tag of its run has."""
    return str(state.owed_reason())
