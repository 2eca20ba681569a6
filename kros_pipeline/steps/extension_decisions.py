"""Decides which extensions to ask for: the longest for each flagged call, unless an earlier one covers it."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import date

from ..archive.parquet import Partition
from ..archive.tables import Tables
from ..core import schemas
from ..core.sorted_lookup import SortedLookup, group_by_call
from ..core.statuses import ExtensionStatus, RecordingStatus
from .extension_journal import Decision
from .known_extensions import KnownRows

AllowedDays = Callable[[int], int | None]
"""From the days that a rule wants to the days to send; None where upstream keeps the recording that long already."""

_ASKED_FOR = (ExtensionStatus.EXTENDED, ExtensionStatus.UNCONFIRMED)


@contextmanager
def open_decisions(day: date, tables: Tables) -> Iterator[Iterator[Decision]]:
    """Give, for each flagged call, the longest extension that a rule wants, where a recording is known to exist.

    They come in ascending order of calls. Raises `MissingTable` where the day has no table `calls`.
    """
    with (
        tables.required(schemas.CALLS, day) as calls,
        tables.opened(schemas.RECORDINGS, day) as recordings,
        tables.opened(schemas.FLAGGED_CALLS, day) as flagged,
    ):
        yield _read_decisions(calls, recordings, flagged)


def _read_decisions(calls: Partition, recordings: Partition | None, flagged: Partition | None) -> Iterator[Decision]:
    listed = SortedLookup(calls.rows(("call_id", "has_recording")))
    archived = SortedLookup(recordings.rows(("call_id", "status")) if recordings is not None else ())
    flags = flagged.rows(("call_id", "rule_id", "extend_days")) if flagged is not None else ()
    for group in group_by_call(flags):
        call, recording = listed.find(group["call_id"]), archived.find(group["call_id"])
        is_archived = recording is not None and recording["status"] == RecordingStatus.ARCHIVED
        if is_archived or (call is not None and call["has_recording"]):
            longest = max(group["rows"], key=lambda row: row["extend_days"])  # of equal ones the first
            yield Decision(longest["call_id"], longest["rule_id"], longest["extend_days"])


def select_new(decisions: Iterable[Decision], known: KnownRows, allowed_days: AllowedDays) -> Iterator[Decision]:
    """Yield the decisions that no row settles, and that no earlier extension of the same call covers.

    They come in ascending order of calls. One that was `not_allowed` is new where the plan allows it now.
    """
    for decision in decisions:
        of_call = {row["decision_id"]: row for row in known.of_call(decision.call_id)}
        days, row = allowed_days(decision.requested_days), of_call.get(decision.decision_id)
        done = [row["sent_days"] for row in of_call.values() if row["status"] in _ASKED_FOR]
        is_settled = row is not None and not (row["status"] == ExtensionStatus.NOT_ALLOWED and days is not None)
        is_covered = days is not None and days <= max(done, default=0)
        if not is_settled and not is_covered:
            yield decision
