"""Searches the archive for the calls of one phone number: those that surely are, and those that a person decides on."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

from ..archive.parquet import Partition
from ..archive.unparsed_rows import UnparsedRows
from ..core.object_keys import day_in
from ..core.row_identity import id_of_row
from ..core.wanted_number import NUMBER_FIELDS, Found, WantedNumber

_COLUMNS = ("call_id", *NUMBER_FIELDS, "extra")


@dataclass(frozen=True, slots=True)
class Match:
    """A call, or an unparsed `row` at `unparsed_key`, that has the number. A row without an id has no `call_id`."""

    day: date
    call_id: str | None
    found: Found
    unparsed_key: str | None = None
    row: object = None

    @property
    def name(self) -> str:
        """What an operator names it by: the row's key, or else the call's id."""
        return self.unparsed_key or self.call_id or ""


def find_in_calls(wanted: WantedNumber, day: date, calls: Partition) -> list[Match]:
    """Find the calls of a day whose numbers, or whose free fields in `extra`, may have the number."""
    return [
        Match(day, row["call_id"], found)
        for batch in calls.batches(_COLUMNS)
        for row in _may_have(wanted, batch).to_pylist()
        if (found := wanted.find_in_row(row)) is not None
    ]


def has_number(wanted: WantedNumber, batch: pa.RecordBatch) -> bool:
    """Return whether a row of a batch of the table `calls` is from or to the number."""
    found = (wanted.find_in_row(row) for row in _may_have(wanted, batch).to_pylist())
    return any(one is not None and one.is_same for one in found)


def _may_have(wanted: WantedNumber, batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return the rows that are worth a closer look: RE2 finds them without a Python object for every row."""
    mask = pa.array([False] * batch.num_rows)
    for name in set(_COLUMNS[1:]) & set(batch.schema.names):
        hits = pc.match_substring_regex(batch.column(name), wanted.pattern)
        mask = pc.or_(mask, pc.fill_null(hits, False))
    return batch.filter(mask)


def find_in_unparsed_rows(wanted: WantedNumber, rows: UnparsedRows) -> Iterator[Match]:
    """Find the rows below `state/unparsed/` that may have the number."""
    for key, row in rows.rows():
        day = day_in(key)
        found = wanted.find_in_row(row if isinstance(row, dict) else {"row": row})
        if day is not None and found is not None:
            yield Match(day, id_of_row(row), found, key, row)
