"""The rows of a day's decisions: the table's, a batch at a time, and those of which the journal knows more."""

from collections.abc import Iterator, Mapping
from itertools import pairwise

from ..archive.parquet import Partition, Row
from ..core import schemas
from ..core.sorted_lookup import SortedLookup, group_by_call
from ..core.statuses import ExtensionStatus
from .extension_journal import ExtensionJournal, rank
from .extension_orders import is_open

_TABLE = schemas.RETENTION_EXTENSIONS


def rows_in_order(present: Partition | None) -> Iterator[Row]:
    """Yield the rows of the table in its order, also where another program wrote them in another one.

    A decision that is not found where it should be would be sent once more.
    """
    if present is None:
        return iter(())
    key = _TABLE.sort_key()
    keys = map(key, present.rows(_TABLE.sorted_by))
    if all(first <= second for first, second in pairwise(keys)):
        return present.rows()
    return iter(sorted(present.rows(), key=key))


class KnownRows:
    """What is known of a day's decisions when the step begins.

    `changed` are the rows, by decision, that the journal knows and the table does not: a run died in between.
    """

    def __init__(self, present: Partition | None, journal: ExtensionJournal):
        self._present = present
        self.changed: dict[str, Row] = {}
        left = journal.decision_ids()
        for row in present.rows() if present is not None else ():
            decision_id = row["decision_id"]
            journal.write_missing_outcome(row)
            was_sent_since = decision_id in left and row["status"] == ExtensionStatus.NOT_ALLOWED
            left.discard(decision_id)
            if is_open(row) or was_sent_since:
                journalled = journal.row(decision_id)
                if journalled is not None and rank(journalled) > rank(row):
                    self.changed[decision_id] = journalled
        for decision_id in sorted(left):
            journalled = journal.row(decision_id)
            if journalled is not None:
                self.changed[decision_id] = journalled
        by_call: dict[str, list[Row]] = {}
        for row in self.changed.values():
            by_call.setdefault(row["call_id"], []).append(row)
        self._changed_by_call = by_call
        self._lookup = SortedLookup(group_by_call(rows_in_order(present)))

    def rows(self, newer: Mapping[str, Row] | None = None) -> Iterator[Row]:
        """Yield the row of each decision; that of `newer`, by decision, in place of the known one."""
        rows = self.changed | dict(newer or {})
        for row in self._table_rows():
            yield rows.pop(row["decision_id"], row)
        yield from rows.values()

    def of_call(self, call_id: str) -> list[Row]:
        """Return the rows of one call; one that has changed may come twice. Ask for calls in ascending order."""
        found = self._lookup.find(call_id)
        return [*(found["rows"] if found is not None else ()), *self._changed_by_call.get(call_id, ())]

    def _table_rows(self) -> Iterator[Row]:
        return self._present.rows() if self._present is not None else iter(())
