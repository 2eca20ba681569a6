"""The rows of a day's decisions: the table's, a batch at a time, and those of which the journal knows more."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from ..archive.parquet import Partition, Row
from ..core.clock import Clock
from ..core.sorted_lookup import SortedLookup, group_by_call
from ..core.statuses import ExtensionStatus
from ..core.worker_threads import worker_threads
from .extension_journal import ExtensionJournal, rank
from .extension_orders import is_open

_THREADS = 8
_DECISIONS_AT_ONCE = 1_000


class KnownRows:
    """What is known of a day's decisions when the step begins.

    `changed` are the rows, by decision, that the journal knows and the table does not: a run died in between.
    """

    def __init__(self, present: Partition | None, journal: ExtensionJournal, clock: Clock):
        self._present = present
        with worker_threads(_THREADS, "journal", clock) as pool:
            self.changed = dict(_read_changed(present, journal, pool))
        by_call: dict[str, list[Row]] = {}
        for row in self.changed.values():
            by_call.setdefault(row["call_id"], []).append(row)
        self._changed_by_call = by_call
        self._lookup = SortedLookup(group_by_call(self._table_rows()))

    def rows(self) -> Iterator[Row]:
        """Yield the row of each decision."""
        rows = dict(self.changed)
        for row in self._table_rows():
            yield rows.pop(row["decision_id"], row)
        yield from rows.values()

    def of_call(self, call_id: str) -> list[Row]:
        """Return the rows of one call; one that has changed may come twice. Ask for calls in ascending order."""
        found = self._lookup.find(call_id)
        return [*(found["rows"] if found is not None else ()), *self._changed_by_call.get(call_id, ())]

    def _table_rows(self) -> Iterator[Row]:
        return self._present.rows() if self._present is not None else iter(())


def _read_changed(
    present: Partition | None, journal: ExtensionJournal, pool: ThreadPoolExecutor
) -> Iterator[tuple[str, Row]]:
    """Yield the rows, by decision, that the journal knows and the table does not. Only what may be one is read."""

    def read(known: tuple[str, Row | None]) -> tuple[str, Row] | None:
        decision_id, row = known
        journalled = journal.row(decision_id)
        journal.forget(decision_id)
        is_newer = journalled is not None and (row is None or rank(journalled) > rank(row))
        return (decision_id, journalled) if journalled is not None and is_newer else None

    to_read = _find_unsure(present, journal)
    while some := list(islice(to_read, _DECISIONS_AT_ONCE)):
        yield from filter(None, pool.map(read, some))


def _find_unsure(present: Partition | None, journal: ExtensionJournal) -> Iterator[tuple[str, Row | None]]:
    """Yield the decisions of which the journal may know more than the table, with their rows; None for no row."""
    left = journal.decision_ids()
    for row in present.rows() if present is not None else ():
        decision_id = row["decision_id"]
        journal.write_missing_outcome(row)
        was_sent_since = decision_id in left and row["status"] == ExtensionStatus.NOT_ALLOWED
        left.discard(decision_id)
        if was_sent_since or (is_open(row) and journal.may_know_more(row)):
            yield decision_id, row
    yield from ((decision_id, None) for decision_id in sorted(left))
