"""The state of days, read from the archive itself: the row of each, and what happened to its tables since.

Dagster's history is not used: it may be incomplete.
"""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from functools import partial

from ..archive.day_totals import RECORD, KeptCheck, KeptDay, list_kept_years, read_kept_days
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
from ..core.day_total import DAY_WITHOUT_ROW
from ..core.days import days_from, grace_is_over
from ..core.next_look import NextLook
from ..core.object_keys import table_versions_key
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

    `row` is None where there is none, or where `unreadable` says why it cannot be read. Of a day that is known by what
    is kept of it, `unreadable` is also about its extensions and its record. `deleted` and `replaced` name
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
    with worker_threads(_THREADS, "day-states") as pool:
        return _read_states(days, _Listed(list_tables(store, pool)), {}, store, tables, pool)


def look_at_day_states(days: Iterable[date], *, store: ObjectStore, tables: Tables) -> dict[date, DayState]:
    """Read the states of these days, those of complete days from the numbers that the hourly look keeps.

    The row of such a day has numbers only, and no `problems`. Requests: one a table for each 1,000 days of the archive,
    one for each year, and two for each of these days that is not complete, or has changed since the last hourly look.
    """
    days = list(days)
    with worker_threads(_THREADS, "day-states") as pool:
        listed = _Listed(list_tables(store, pool), list_records(store))
        kept = _read_kept({day.year for day in days if day in listed.tables[_ROW]}, store, pool)
        return _read_states(days, listed, kept, store, tables, pool)


def look_at_every_day(
    days: Iterable[date], *, store: ObjectStore, tables: Tables
) -> tuple[dict[date, DayState], dict[date, DayState]]:
    """Read the states of these days as `look_at_day_states` does, and of every other day that an hourly look has kept.

    Those others cost no request each: their rows are not read. One whose row is gone has none, and names the table
    `reconciliation` as deleted, also where another day's run has marked it since, which leaves a table without rows. So
    does one of `days` that was kept. Requests beside those of `look_at_day_states`: one
    for each other year of the archive, and one.
    """
    with worker_threads(_THREADS, "day-states") as pool:
        listed = _Listed(list_tables(store, pool), list_records(store))
        kept = _read_kept(list_kept_years(store), store, pool)
        asked = _read_states(days, listed, kept, store, tables, pool)
    for day in asked.keys() & kept.keys():
        has_no_row = asked[day].row is None and not asked[day].unreadable
        if day not in listed.tables[_ROW] or (has_no_row and kept[day].check is not None):
            asked[day] = DayState(deleted=[_ROW])
    return asked, {day: _look_at_kept(day, value, listed) for day, value in kept.items() if day not in asked}


@dataclass(frozen=True)
class _Listed:
    """The versions that are in the bucket: by table and day, and of each day's record."""

    tables: Mapping[str, Mapping[date, str]]
    records: Mapping[date, str] = field(default_factory=dict)

    def present(self, day: date) -> TableVersions:
        return {name: versions[day] for name, versions in self.tables.items() if day in versions}

    def has_row_of(self, day: date, kept: KeptDay) -> bool:
        """Return whether row and record are still those that the kept numbers were read from."""
        return (kept.row_version, kept.record_version) == (self.tables[_ROW].get(day), self.records.get(day, ""))


def list_tables(store: ObjectStore, pool: ThreadPoolExecutor) -> dict[str, dict[date, str]]:
    """Return the versions of all tables. It costs a request for each table and 1,000 days."""
    names = list(schemas.TABLES)
    return dict(zip(names, pool.map(partial(list_table_versions, store), names), strict=True))


def _read_kept(years: Iterable[int], store: ObjectStore, pool: ThreadPoolExecutor) -> dict[date, KeptDay]:
    of_years = pool.map(partial(read_kept_days, store), sorted(years))
    return {day: kept for of_year in of_years for day, kept in of_year.items()}


def _read_states(
    days: Iterable[date],
    listed: _Listed,
    kept: Mapping[date, KeptDay],
    store: ObjectStore,
    tables: Tables,
    pool: ThreadPoolExecutor,
) -> dict[date, DayState]:
    """Read the states of these days, those of complete days that have not changed from what is kept."""
    days = list(days)
    known = {
        day: (_kept_row(value, value.check), value.check.tables)
        for day in days
        if (value := kept.get(day)) is not None
        and value.check is not None
        and value.is_complete
        and listed.has_row_of(day, value)
    }
    found = read_day_rows((day for day in days if day in listed.tables[_ROW] and day not in known), tables, pool)
    good = [day for day, row in found.rows.items() if row and row["verdict"] != DayVerdict.INCOMPLETE]
    checked = dict(zip(good, pool.map(lambda day: read_checked_tables(store, day), good), strict=True))
    states = {}
    for day in days:
        row, tables_then = known[day] if day in known else (found.rows.get(day), checked.get(day))
        state = DayState(row, found.unreadable.get(day, ""))
        states[day] = state if tables_then is None else _compare(state, tables_then, listed.present(day))
    return states


def _look_at_kept(day: date, kept: KeptDay, listed: _Listed) -> DayState:
    """Return the state of a day by what is kept.

    Where its row or record has changed since the last hourly look, nobody knows yet what was compared with them: no
    table counts as replaced. A row that is not the recorded one counts as replaced: no run will record it.
    """
    if day not in listed.tables[_ROW]:
        return DayState(deleted=[_ROW])
    unreadable = _describe_unread(day, kept)
    if kept.check is None:
        return DayState(unreadable=unreadable)
    state = _compare(DayState(_kept_row(kept, kept.check)), kept.check.tables, listed.present(day))
    if not listed.has_row_of(day, kept):
        return replace(state, replaced=[])
    if kept.total == DAY_WITHOUT_ROW:
        return DayState(deleted=[_ROW])
    if unreadable and kept.unread != RECORD:
        return DayState(unreadable=unreadable, deleted=state.deleted)
    state = replace(state, unreadable=unreadable)
    return state if state.is_recorded else replace(state, replaced=[_ROW])


def _describe_unread(day: date, kept: KeptDay) -> str:
    """Describe what the last hourly look could not read. A record that was never there is no damage."""
    if kept.unread == RECORD:
        was_there = kept.check is not None or kept.record_version
        return f"the record of its check, `{table_versions_key(day)}`, is missing or damaged" if was_there else ""
    return f"the table `{kept.unread}` cannot be read" if kept.unread else ""


def _kept_row(kept: KeptDay, check: KeptCheck) -> Row:
    return asdict(kept.total) | {"checked_at": check.checked_at, "listed_total": check.listed_total}


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
