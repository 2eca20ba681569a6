"""Saves what the listing of one day shows of other days: calls that belong there, and calls that stay there."""

from collections.abc import Iterator, Mapping
from datetime import date

import pyarrow as pa

from ..archive.object_store import VersionToken
from ..archive.parquet import Partition, Row, batches_of
from ..archive.tables import Tables
from ..core import schemas
from ..core.calls import Call, merge_calls
from ..core.clock import Clock
from ..core.days import days_beside, is_over
from ..core.errors import UnreadablePartition
from ..core.home_days import HomeDays
from ..core.statuses import DayVerdict

_TO_DO = "Materialize the whole day."
_FIELDS_OF_OTHER_TABLES = ("created_at", "direction", "has_recording", "listed_transcript")


class ArchivedIds:
    """The ids of the table `calls`, by day; each day is read once, and only when it is asked for.

    Another day's table that cannot be read stops nothing here: it counts as absent, and is named in `unreadable`.
    """

    def __init__(self, day: date, tables: Tables):
        self._day, self._tables = day, tables
        self._ids: dict[date, frozenset[str] | None] = {}
        self._versions: dict[date, VersionToken | None] = {}
        self.unreadable: dict[date, str] = {}

    def __call__(self, day: date) -> frozenset[str]:
        """Return the ids of a day; none where there is no table."""
        return self._read(day) or frozenset()

    def beside(self) -> frozenset[str]:
        """Return the ids of the day before and of the day after."""
        before, after = days_beside(self._day)
        return self(before) | self(after)

    def has_table(self, day: date) -> bool:
        """Return whether the day has a table."""
        return self._read(day) is not None

    def forget_changed(self, day: date) -> None:
        """Read a day again, when it is asked for, if its table was replaced since it was read."""
        if day in self._ids and self._tables.version(schemas.CALLS, day) != self._versions[day]:
            del self._ids[day]

    def _read(self, day: date) -> frozenset[str] | None:
        if day not in self._ids:
            self._ids[day] = self._versions[day] = None
            try:
                with self._tables.opened(schemas.CALLS, day) as partition:
                    if partition is not None:
                        self._versions[day] = partition.version
                        self._ids[day] = frozenset(row["call_id"] for row in partition.rows(("call_id",)))
            except UnreadablePartition as error:
                if day == self._day:
                    raise
                self.unreadable[day] = str(error)
        return self._ids[day]


def may_be_added_to(day: date, archived: ArchivedIds, *, first_day: date, clock: Clock) -> bool:
    """Return whether a call may be added to a day: one that is over, is a partition, and was listed before."""
    return day >= first_day and is_over(day, clock.now()) and archived.has_table(day)


def save_to_other_days(
    day: date, homes: HomeDays, unreadable: Mapping[date, str], *, tables: Tables, clock: Clock
) -> int:
    """Add and update the calls that other days keep. Return how many were added.

    `unreadable` says of other days why their table `calls` cannot be read: each is incomplete.

    Such a day is owed first and changed then: a run that is killed in between leaves no day that is complete and lacks
    a row. It is owed once more afterwards, because a run of that day may have written its row in between.
    """
    for other, why in sorted(unreadable.items()):
        mark(other, DayVerdict.INCOMPLETE, f"{why}.", tables, clock)
    for other in sorted(homes.doubled):
        mark(other, DayVerdict.WAITING, f"{other} has calls that {day} keeps. {_TO_DO}", tables, clock)
    for other in sorted({*homes.added, *homes.updated}):
        found = homes.updated.get(other, {}) | homes.added.get(other, {})
        sentence = f"The listing of {day} showed calls that {other} keeps. {_TO_DO}"
        with tables.transaction(schemas.CALLS, other) as transaction:
            if not has_news(transaction.rows(), found):
                continue
            mark(other, DayVerdict.WAITING, sentence, tables, clock)
            transaction.commit(lambda partition, found=found: add_calls(partition, found))  # type: ignore[misc]
            mark(other, DayVerdict.WAITING, sentence, tables, clock)
    return sum(map(len, homes.added.values()))


def add_calls(present: Partition | None, found: Mapping[str, Call]) -> Iterator[pa.RecordBatch]:
    """Merge calls into a partition: rows are added and updated, never removed."""
    calls: dict[str, Call] = {row["call_id"]: Call(**row) for row in present.rows()} if present else {}
    for call_id, call in found.items():
        known = calls.get(call_id)
        calls[call_id] = merge_calls(known, call) if known else call
    return batches_of(schemas.CALLS, (_to_row(calls[call_id]) for call_id in sorted(calls)))


def has_news(rows: Iterator[Row], found: Mapping[str, Call]) -> bool:
    """Return whether calls are new in a table, or change what other tables are made of."""
    known_count = 0
    for row in rows:
        call = found.get(row["call_id"])
        if call is None:
            continue
        known_count += 1
        merged = merge_calls(Call(**row), call)
        if any(getattr(merged, name) != row[name] for name in _FIELDS_OF_OTHER_TABLES):
            return True
    return known_count < len(found)


def mark(day: date, verdict: DayVerdict, sentence: str, tables: Tables, clock: Clock) -> None:
    """Turn a verdict `complete` into another, and end the rest of a waiting day: its next run looks at everything."""

    def build(present: Partition | None) -> Iterator[pa.RecordBatch]:
        rows = list(present.rows()) if present else []
        return batches_of(schemas.RECONCILIATION, [_with_verdict(row, verdict, sentence, clock) for row in rows])

    try:
        with tables.transaction(schemas.RECONCILIATION, day) as transaction:
            if transaction.present is not None:  # otherwise the day is owed already
                transaction.commit(build)
    except UnreadablePartition:
        return  # and so is a day whose row cannot be read


def _with_verdict(row: Row, verdict: DayVerdict, sentence: str, clock: Clock) -> Row:
    if row["verdict"] == DayVerdict.INCOMPLETE or sentence in row["problems"]:
        return row  # in the backlog already
    return row | {"verdict": verdict, "problems": [*row["problems"], sentence], "checked_at": clock.now()}


def _to_row(call: Call) -> Row:
    return {name: getattr(call, name) for name in schemas.CALLS.column_names}
