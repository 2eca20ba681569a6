"""The records of a day, made of its tables: one call after the other, so that no day is held in memory."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import date
from typing import Any

from ..archive.tables import Tables
from ..core import schemas
from ..core.call_records import Record, make_record
from ..core.sorted_lookup import SortedLookup, group_by_call
from ..core.statuses import RecordingStatus

_OF_THE_DAY = {"call_id", "call_date"}  # the record itself has them
_MORE_TABLES = [table for table in schemas.TABLES.values() if table.name not in ("calls", "reconciliation")]


@contextmanager
def open_day_records(day: date, tables: Tables, archive_prefix: str) -> Iterator[Iterator[Record]]:
    """Read the records of a day's calls, sorted by id, from all of its tables.

    `archive_prefix` is what keys in the tables have and keys of the archive have not. Raises `MissingTable` without a
    table `calls`, and `UnreadablePartition`.
    """
    with ExitStack() as stack:
        calls = stack.enter_context(tables.required(schemas.CALLS, day))
        others = {}
        for table in _MORE_TABLES:
            partition = stack.enter_context(tables.opened(table, day))
            others[table.name] = SortedLookup(group_by_call(partition.rows() if partition is not None else iter(())))
        yield (_make(day, row, others, archive_prefix) for row in calls.rows())


def _make(day: date, row: dict[str, Any], others: dict[str, SortedLookup], archive_prefix: str) -> Record:
    found: dict[str, list[dict[str, Any]]] = {"calls": [row]}
    for name, lookup in others.items():
        group = lookup.find(row["call_id"])
        found[name] = group["rows"] if group is not None else []
    audio = None
    for recording in found["recordings"]:
        if recording["status"] == RecordingStatus.ARCHIVED:
            audio = {"key": recording["object_key"].removeprefix(archive_prefix), "sha256": recording["sha256"]}
    tables = {
        name: [{key: value for key, value in one.items() if key not in _OF_THE_DAY} for one in rows]
        for name, rows in found.items()
    }
    return make_record(day, row["call_id"], tables, audio)
