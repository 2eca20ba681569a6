"""The state of days, read from the archive itself: the row of each, and what happened to its tables since.

Dagster's history is not used: it may be incomplete.
"""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from functools import partial

from ..archive.day_totals import read_kept_days
from ..archive.object_store import ObjectStore
from ..archive.parquet import Row
from ..archive.table_versions import (
    CheckedTables,
    TableVersions,
    list_records,
    list_table_versions,
    read_checked_tables,
)
from ..archive.tables import Tables
from ..core import schemas
from ..core.clock import Clock
from ..core.days import days_from, grace_is_over
from ..core.next_look import NextLook
from ..core.statuses import DayVerdict
from ..core.worker_threads import worker_threads
from .day_rows import read_day_rows

_THREADS = 16
_ROW = schemas.RECONCILIATION.name


class OwedReason(StrEnum):
    """Why a day is in the backlog, as a tag of its run shows it."""

    MISSING = "missing"
    """The day was never reconciled."""
    UNREADABLE_ROW = "unreadable-row"
    """The day's row cannot be read: somebody else wrote or cut it."""
    FAILED = "failed"
    """The day is incomplete."""
    WAITING = "waiting"
    """The day is waiting, and its next look is due."""
    SECOND_ANSWERS = "second-answers"
    """Only second answers are missing: that there is no recording, or no transcript."""
    DELETED_TABLE = "deleted-table"
    """A table was deleted since the day's check."""
    REPLACED_TABLE = "replaced-table"
    """A table was replaced since the day's check: by somebody else, or by a run of another day that moved a call."""
    INTERRUPTED = "interrupted"
    """A run was killed between the day's row and the record of its tables."""
    UNPROVED_LIST = "unproved-list"
    """The day is complete by its row, and its list was never proved."""
    LATE_DATA = "late-data"
    """The day was complete before its grace days were over: late data may have come since."""


@dataclass(frozen=True)
class DayState:
    """What the archive says of one day.

    `row` is None where there is none, or where `unreadable` says why it cannot be read. `deleted` and `replaced` name
    tables that are not there any more, or are not the ones that the row is about. `is_recorded` is False where the
    versions of the row's tables are not known: a run was killed after the row, or an older version wrote it.
    `next_look` is when the day is due again; None: at once, or never, once it is settled.
    """

    row: Row | None = None
    unreadable: str = ""
    deleted: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    is_recorded: bool = False
    next_look: NextLook | None = None

    @property
    def is_proved(self) -> bool:
        """Whether the day's row says that its list was proved, and that nothing is missing."""
        return (
            self.row is not None and self.row["verdict"] == DayVerdict.COMPLETE and self.row["listed_total"] is not None
        )

    def was_proved_after_grace(self, day: date, lookback_days: int) -> bool:
        """Return whether the day was complete when late data could not come any more."""
        return self.is_proved and self.row is not None and grace_is_over(day, self.row["checked_at"], lookback_days)

    def is_settled(self, day: date, lookback_days: int) -> bool:
        """Return whether the day was complete after its grace days, and its tables are the ones that were compared."""
        return self.is_unchanged and self.was_proved_after_grace(day, lookback_days)

    def owed_reason(self) -> OwedReason:
        """Return why the day is owed, if it is: the first reason that holds."""
        if self.row is None:
            return OwedReason.UNREADABLE_ROW if self.unreadable else OwedReason.MISSING
        if self.row["verdict"] == DayVerdict.INCOMPLETE:
            return OwedReason.FAILED
        if self.deleted:
            return OwedReason.DELETED_TABLE
        if self.replaced:
            return OwedReason.REPLACED_TABLE
        if not self.is_recorded:
            return OwedReason.INTERRUPTED
        if self.row["verdict"] == DayVerdict.WAITING:
            return OwedReason.SECOND_ANSWERS if self.awaits_second_answers else OwedReason.WAITING
        return OwedReason.LATE_DATA if self.is_proved else OwedReason.UNPROVED_LIST

    @property
    def is_unchanged(self) -> bool:
        """Whether the day's tables are the ones that were compared."""
        return self.is_recorded and not self.deleted and not self.replaced

    def may_rest(self, now: datetime) -> bool:
        """Return whether nothing more of the day can be had before its next look."""
        return self.is_unchanged and self.next_look is not None and now < self.next_look.at

    @property
    def awaits_second_answers(self) -> bool:
        """Whether only second answers are missing: that there is no recording, or no transcript."""
        return self.is_unchanged and self.next_look is not None and self.next_look.is_for_second_answers


def days_within_retention(first: date, last: date, clock: Clock, retention_days: int | None) -> list[date]:
    """Return the days from `first` to `last` of which upstream may still have recordings."""
    if retention_days is not None:
        first = max(first, clock.now().date() - timedelta(days=retention_days))
    return days_from(first, last)


def read_day_states(days: Iterable[date], *, store: ObjectStore, tables: Tables) -> dict[date, DayState]:
    """Read the states of these days.

    Requests: one a table for each 1,000 days of the archive, and two for each of these days.
    """
    return _read_states(days, store, tables, keeps=False)


def look_at_day_states(days: Iterable[date], *, store: ObjectStore, tables: Tables) -> dict[date, DayState]:
    """Read the states of these days, those of complete days from the numbers that the hourly look keeps.

    The row of such a day has numbers only, and no `problems`. Requests: one a table for each 1,000 days of the archive,
    one for each year, and two for each of these days that is not complete, or has changed since the last hourly look.
    """
    return _read_states(days, store, tables, keeps=True)


def _read_states(days: Iterable[date], store: ObjectStore, tables: Tables, *, keeps: bool) -> dict[date, DayState]:
    days = list(days)
    with worker_threads(_THREADS, "day-states") as pool:
        names = list(schemas.TABLES)
        listed = dict(zip(names, pool.map(lambda name: list_table_versions(store, name), names), strict=True))
        kept = _read_kept(days, listed[_ROW], store, pool) if keeps else {}
        found = read_day_rows((day for day in days if day in listed[_ROW] and day not in kept), tables, pool)
        good = [day for day, row in found.rows.items() if row and row["verdict"] != DayVerdict.INCOMPLETE]
        checked = dict(zip(good, pool.map(lambda day: read_checked_tables(store, day), good), strict=True))
    states = {}
    for day in days:
        present = {name: versions[day] for name, versions in listed.items() if day in versions}
        row, tables_then = kept[day] if day in kept else (found.rows.get(day), checked.get(day))
        state = DayState(row, found.unreadable.get(day, ""))
        states[day] = state if tables_then is None else _compare(state, tables_then, present)
    return states


def _read_kept(
    days: Iterable[date], row_versions: Mapping[date, str], store: ObjectStore, pool: ThreadPoolExecutor
) -> dict[date, tuple[Row, CheckedTables]]:
    """Return what is kept of complete days, as far as row and record are still the ones that it was read from."""
    records = list_records(store)
    years = sorted({day.year for day in days if day in row_versions})
    kept = {day: value for of_year in pool.map(partial(read_kept_days, store), years) for day, value in of_year.items()}
    found = {}
    for day in days:
        value = kept.get(day)
        if value is None or value.check is None:
            continue
        if (value.row_version, value.record_version) == (row_versions.get(day), records.get(day)):
            times = {"checked_at": value.check.checked_at, "listed_total": value.check.listed_total}
            found[day] = asdict(value.total) | times, value.check.tables
    return found


def _compare(state: DayState, checked: CheckedTables, present: TableVersions) -> DayState:
    """Add what happened to the tables since. Versions that were recorded with another row say what there was only."""
    recorded = checked.versions
    is_of_this_row = _ROW in recorded and recorded[_ROW] == present.get(_ROW)
    replaced = [name for name in recorded if name in present and recorded[name] != present[name]]
    return DayState(
        state.row,
        state.unreadable,
        deleted=[name for name in recorded if name not in present],
        replaced=replaced if is_of_this_row else [],
        is_recorded=is_of_this_row,
        next_look=checked.next_look if is_of_this_row else None,
    )
