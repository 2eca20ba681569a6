"""Decides which extensions to ask for: the longest for each flagged call, unless an earlier one covers it."""

from collections.abc import Callable, Iterable
from datetime import date

from ..archive.parquet import Row
from ..archive.tables import Tables
from ..core import schemas
from ..core.statuses import ExtensionStatus, RecordingStatus
from .extension_journal import Decision

AllowedDays = Callable[[int], int | None]
"""From the days that a rule wants to the days to send; None where upstream keeps the recording that long already."""


def read_decisions(day: date, tables: Tables) -> list[Decision]:
    """Return, for each flagged call, the longest extension that a rule wants, where a recording is known to exist.

    Raises `MissingTable` where the day has no table `calls`.
    """
    with tables.required(schemas.CALLS, day) as calls:
        recorded = {row["call_id"] for row in calls.rows(("call_id", "has_recording")) if row["has_recording"]}
    recordings = tables.rows(schemas.RECORDINGS, day, ("call_id", "status"))
    recorded |= {row["call_id"] for row in recordings if row["status"] == RecordingStatus.ARCHIVED}
    longest: dict[str, Decision] = {}
    for row in tables.rows(schemas.FLAGGED_CALLS, day, ("call_id", "rule_id", "extend_days")):
        best = longest.get(row["call_id"])
        if row["call_id"] in recorded and (best is None or row["extend_days"] > best.requested_days):
            longest[row["call_id"]] = Decision(row["call_id"], row["rule_id"], row["extend_days"])
    return list(longest.values())


def select_new(decisions: Iterable[Decision], rows: dict[str, Row], allowed_days: AllowedDays) -> list[Decision]:
    """Return the decisions that no row settles, and that no earlier extension of the same call covers.

    `rows` are the known decisions, by id. One that was `not_allowed` is new where the plan allows it now.
    """
    most_days: dict[str, int] = {}
    for row in rows.values():
        if row["status"] in (ExtensionStatus.EXTENDED, ExtensionStatus.UNCONFIRMED):
            most_days[row["call_id"]] = max(row["sent_days"], most_days.get(row["call_id"], 0))

    def is_covered(decision: Decision) -> bool:
        days = allowed_days(decision.requested_days)
        return days is not None and days <= most_days.get(decision.call_id, 0)

    def is_settled(decision: Decision) -> bool:
        row = rows.get(decision.decision_id)
        if row is not None and row["status"] == ExtensionStatus.NOT_ALLOWED:
            return allowed_days(decision.requested_days) is None
        return row is not None

    return [decision for decision in decisions if not is_settled(decision) and not is_covered(decision)]
