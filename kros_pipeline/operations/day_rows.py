"""Reads the row of `reconciliation` of many days, so that one unreadable partition does not stop the others."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date

from ..archive.parquet import Row
from ..archive.tables import Tables
from ..core.errors import UnreadablePartition
from ..steps.reconciliation import read_reconciliation


@dataclass(frozen=True)
class DayRows:
    """The row of each day, None where it has none; and, by day, why a row that is there cannot be read."""

    rows: dict[date, Row | None] = field(default_factory=dict)
    unreadable: dict[date, str] = field(default_factory=dict)


def read_day_rows(days: Iterable[date], tables: Tables, pool: ThreadPoolExecutor) -> DayRows:
    """Read the rows of these days, in threads. An unreadable day has no row: it is owed, and its run replaces it."""
    found = DayRows()

    def read(day: date) -> Row | UnreadablePartition | None:
        try:
            return read_reconciliation(tables, day)
        except UnreadablePartition as error:
            return error

    days = list(days)
    for day, row in zip(days, pool.map(read, days), strict=True):
        if isinstance(row, UnreadablePartition):
            found.rows[day], found.unreadable[day] = None, str(row)
        else:
            found.rows[day] = row
    return found
