"""What the listing of one day means for the days beside it: calls that belong there, and calls that stay there."""

from collections.abc import Iterator, Mapping
from datetime import date

import pyarrow as pa

from ..archive.parquet import Partition, Row, batches_of
from ..archive.tables import Tables
from ..core import schemas
from ..core.calls import Call, merge_calls
from ..core.clock import Clock
from ..core.days import is_over
from ..core.home_days import HomeDays
from ..core.statuses import DayVerdict

_UTTERED_FIELDS = ("created_at", "direction")  # other tables repeat them


class ArchivedIds:
    """The ids of the table `calls`, by day; each day is read once, and only when it is asked for."""

    def __init__(self, tables: Tables):
        self._tables = tables
        self._ids: dict[date, frozenset[str] | None] = {}

    def __call__(self, day: date) -> frozenset[str]:
        """Return the ids of a day; none where there is no table."""
        return self._read(day) or frozenset()

    def has_table(self, day: date) -> bool:
        """Return whether the day has a table."""
        return self._read(day) is not None

    def _read(self, day: date) -> frozenset[str] | None:
        if day not in self._ids:
            with self._tables.opened(schemas.CALLS, day) as partition:
                rows = partition.rows(("call_id",)) if partition is not None else None
                self._ids[day] = frozenset(row["call_id"] for row in rows) if rows is not None else None
        return self._ids[day]


def may_be_added_to(day: date, archived: ArchivedIds, *, first_day: date, clock: Clock) -> bool:
    """Return whether a call may be added to a day: one that is over, is a partition, and was listed before."""
    return day >= first_day and is_over(day, clock.now()) and archived.has_table(day)


def save_to_other_days(day: date, homes: HomeDays, *, tables: Tables, clock: Clock) -> int:
    """Add and update the calls that other days keep. Return how many were added.

    Such a day is owed first and changed then: a run that is killed in between leaves no day that is complete and lacks
    a row.
    """
    for other in sorted(homes.doubled):
        _mark_owed(other, f"{other} has calls that {day} keeps.", tables, clock)
    for other in sorted({*homes.added, *homes.updated}):
        found = homes.updated.get(other, {}) | homes.added.get(other, {})
        with tables.transaction(schemas.CALLS, other) as transaction:
            present = {row["call_id"]: Call(**row) for row in transaction.rows() if row["call_id"] in found}
            if any(_is_news(present.get(call_id), call) for call_id, call in found.items()):
                _mark_owed(other, f"The listing of {day} showed calls that {other} keeps.", tables, clock)
            transaction.commit(lambda partition, found=found: add_calls(partition, found))  # type: ignore[misc]
    return sum(map(len, homes.added.values()))


def add_calls(present: Partition | None, found: Mapping[str, Call]) -> Iterator[pa.RecordBatch]:
    """Merge calls into a partition: rows are added and updated, never removed."""
    calls: dict[str, Call] = {row["call_id"]: Call(**row) for row in present.rows()} if present else {}
    for call_id, call in found.items():
        known = calls.get(call_id)
        calls[call_id] = merge_calls(known, call) if known else call
    return batches_of(schemas.CALLS, (_to_row(calls[call_id]) for call_id in sorted(calls)))


def _is_news(known: Call | None, call: Call) -> bool:
    return known is None or any(getattr(known, name) != getattr(call, name) for name in _UTTERED_FIELDS)


def _mark_owed(day: date, sentence: str, tables: Tables, clock: Clock) -> None:
    """Turn a day's verdict `complete` into `waiting`: its next run looks at everything anew."""

    def build(present: Partition | None) -> Iterator[pa.RecordBatch]:
        rows = list(present.rows()) if present else []
        return batches_of(schemas.RECONCILIATION, [_owe(row, sentence, clock) for row in rows])

    with tables.opened(schemas.RECONCILIATION, day) as present:
        if present is None:
            return  # owed already
    tables.commit(schemas.RECONCILIATION, day, build, replaces_unreadable=True)


def _owe(row: Row, sentence: str, clock: Clock) -> Row:
    if row["verdict"] != DayVerdict.COMPLETE:
        return row
    problems = [*row["problems"], f"{sentence} Materialize the whole day."]
    return row | {"verdict": DayVerdict.WAITING, "problems": problems, "checked_at": clock.now()}


def _to_row(call: Call) -> Row:
    return {name: getattr(call, name) for name in schemas.CALLS.column_names}
