"""Saves what the listing of one day shows of other days: calls that belong there, and calls that stay there."""

import uuid
from collections.abc import Iterable, Iterator, MutableMapping
from contextlib import closing
from datetime import date
from itertools import chain, pairwise

import pyarrow as pa

from ..archive.parquet import Partition, Row, batches_of
from ..archive.tables import Tables
from ..core import schemas
from ..core.calls import Call, merge_calls
from ..core.clock import Clock
from ..core.days import is_over
from ..core.errors import UnreadablePartition
from ..core.sorted_lookup import outer_join
from ..core.statuses import DayVerdict
from .archived_ids import ArchivedIds, ids_in
from .call_runs import CallRuns
from .home_calls import HomeCalls

_TO_DO = "Materialize the whole day."
_FIELDS_OF_OTHER_TABLES = ("created_at", "direction", "has_recording", "listed_transcript")


def may_be_added_to(day: date, archived: ArchivedIds, *, first_day: date, clock: Clock) -> bool:
    """Return whether a call may be added to a day: one that is over, is a partition, and was listed before."""
    return day >= first_day and is_over(day, clock.now()) and archived.has_table(day)


def save_to_other_days(
    day: date, homes: HomeCalls, unreadable: MutableMapping[date, str], *, tables: Tables, clock: Clock
) -> int:
    """Add and update the calls that other days keep. Return how many were added.

    `unreadable` says of other days why their table `calls` cannot be read: each is incomplete. Days are added to it of
    which only the ids can be read: what was listed of them is left to their own run.

    Such a day is owed first and changed then: a run that is killed in between leaves no day that is complete and lacks
    a row. It is owed once more afterwards, because a run of that day may have written its row in between.
    """
    for other, why in sorted(unreadable.items()):
        mark(other, DayVerdict.INCOMPLETE, f"{why}.", tables, clock)
    for other in sorted(homes.doubled):
        mark(other, DayVerdict.WAITING, f"{other} has calls that {day} keeps. {_TO_DO}", tables, clock)
    added = homes.added.total()
    for other in homes.other_days:
        try:
            _save_to_other_day(day, other, homes, tables, clock)
        except UnreadablePartition as error:
            unreadable[other] = str(error)
            added -= homes.added[other]
            mark(other, DayVerdict.INCOMPLETE, f"{error}.", tables, clock)
    return added


def _save_to_other_day(day: date, other: date, homes: HomeCalls, tables: Tables, clock: Clock) -> None:
    sentence = f"The listing of {day} showed calls that {other} keeps. {_TO_DO}"
    with tables.transaction(schemas.CALLS, other) as transaction:
        if not has_news(transaction.present, homes.calls_of(other)):
            return
        mark(other, DayVerdict.WAITING, sentence, tables, clock)
        transaction.commit(lambda partition: add_calls(partition, homes.calls_of(other)))
        mark(other, DayVerdict.WAITING, sentence, tables, clock)


def add_calls(present: Partition | None, found: Iterable[Call]) -> Iterator[pa.RecordBatch]:
    """Merge calls into a partition: rows are added and updated, never removed. `found` is sorted by id."""
    return batches_of(schemas.CALLS, (_merge(row, call) for row, call in _join(present, found)))


def has_news(present: Partition | None, found: Iterable[Call]) -> bool:
    """Return whether calls are new in a table, or change what other tables are made of. `found` is sorted by id."""
    for row, call in _join(present, found):
        if call is not None:
            merged = _merge(row, call)
            if row is None or any(merged[name] != row[name] for name in _FIELDS_OF_OTHER_TABLES):
                return True
    return False


def _join(present: Partition | None, found: Iterable[Call]) -> Iterator[tuple[Row | None, Call | None]]:
    calls = ({"call_id": call.call_id, "call": call} for call in found)
    for row, named in outer_join(_rows_of(present), calls):
        yield row, named["call"] if named is not None else None


def _merge(row: Row | None, call: Call | None) -> Row:
    """Return the row of a call, of which at least one is given: the table's row, and the call as it is listed now."""
    if row is not None and call is not None:
        known = Call(**row)
        call = merge_calls(known, call)
        return row if call is known else _to_row(call)
    return _to_row(call) if call is not None else row or {}


def _rows_of(present: Partition | None) -> Iterator[Row]:
    """Yield the rows of a table, one for each id: the later one, where another program wrote two."""
    if present is None:
        return
    if _has_each_once(present):
        yield from present.rows()
        return
    with closing(CallRuns(lambda _, later: later)) as runs:
        for row in present.rows():
            runs.add(date.min, Call(**row))
        yield from map(_to_row, runs.of_day(date.min))


def _has_each_once(present: Partition) -> bool:
    last: str | None = None
    for ids in ids_in(present):
        if any(first >= second for first, second in pairwise(chain([] if last is None else [last], ids))):
            return False
        last = ids[-1] if ids else last
    return True


def mark(day: date, verdict: DayVerdict, sentence: str, tables: Tables, clock: Clock) -> None:
    """Turn a verdict `complete` into another, and end the rest of a waiting day: its next run looks at everything.

    A reconciliation that is under way begins again: it has read the day's row, or found none, and has gathered its
    evidence without what the mark is about. So each mark gives the partition a new version, by a token in the file,
    even where the row stays as it is. A day without a row gets a partition without rows: it is owed all the same.
    """

    def build(present: Partition | None) -> Iterator[pa.RecordBatch]:
        rows = present.rows() if present is not None else ()
        return batches_of(schemas.RECONCILIATION, [_with_verdict(row, verdict, sentence, clock) for row in rows])

    try:
        with tables.transaction(schemas.RECONCILIATION, day) as transaction:
            transaction.commit(build, erasure_token=uuid.uuid4().hex)  # an erasure bars late writes in the same way
    except UnreadablePartition:
        return  # a day whose row cannot be read is owed already


def _with_verdict(row: Row, verdict: DayVerdict, sentence: str, clock: Clock) -> Row:
    if row["verdict"] == DayVerdict.INCOMPLETE or sentence in row["problems"]:
        return row  # in the backlog already
    return row | {"verdict": verdict, "problems": [*row["problems"], sentence], "checked_at": clock.now()}


def _to_row(call: Call) -> Row:
    return {name: getattr(call, name) for name in schemas.CALLS.column_names}
