"""`retention_extensions`: upstream is asked once, for each flagged call, to keep its recording longer.

A decision is a call, a rule and its days. Before the request a create-only intent is written, after it the outcome:
an intent without outcome means that nobody knows whether upstream acted, and is never sent again by itself.
"""

import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import date
from typing import Any

import pyarrow as pa

from ..clients.errors import (
    ApiError,
    ApiFailed,
    ApiUnreachable,
    BadKey,
    ObjectExists,
    TooManyRequests,
)
from ..clients.tables import Partition, batches_of
from ..core import schemas
from ..core.retention import days_to_send
from .extension_journal import (
    EXTENDED,
    INTENT,
    NOT_ALLOWED,
    NOT_SENT,
    OUTCOME,
    REFUSED,
    UNCONFIRMED,
    Decision,
    Journal,
    Row,
)
from .report import Report
from .workspace import Workspace

_THREADS = 8


def extend_retention(work: Workspace, day: date) -> Report:
    """Sends what is new, and writes a row for every decision of the day whose end, or whose doubt, is known."""
    report = Report(counts={"sent_now": 0})
    present = {row["decision_id"]: row for row in work.tables.rows(schemas.RETENTION_EXTENSIONS, day)}
    journal = Journal(work, day)
    rows: dict[str, Row] = dict(present)
    for decision_id in journal.decision_ids():
        if decision_id not in rows or rows[decision_id]["status"] == UNCONFIRMED:
            told = journal.row(decision_id)
            if told is not None:
                rows[decision_id] = told
    days_of_calls = _days_of_calls(rows.values())
    wanted = [
        decision
        for decision in _decisions(work, day)
        if decision.decision_id not in rows and not _is_covered(work, decision, days_of_calls)
    ]
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="extensions") as pool:
        sent = pool.map(lambda decision: _extend(work, journal, decision, report), wanted)
        for decision, new in zip(wanted, sent, strict=True):
            if new is not None:
                rows[decision.decision_id] = new
                report.counts["sent_now"] += new["status"] == EXTENDED
    for row in rows.values():
        if row["status"] in (UNCONFIRMED, REFUSED):
            report.problem(row["call_id"], f"{row['status']}: {row['reason']}")

    def build(now_present: Partition | None) -> Iterator[pa.RecordBatch]:
        merged: dict[str, Row] = {row["decision_id"]: row for row in now_present.rows()} if now_present else {}
        for decision_id, row in rows.items():
            if row["status"] != UNCONFIRMED or merged.get(decision_id, row)["status"] == UNCONFIRMED:
                merged[decision_id] = row
        key = schemas.RETENTION_EXTENSIONS.sort_key()
        return batches_of(schemas.RETENTION_EXTENSIONS, sorted(merged.values(), key=key))

    report.written = work.tables.replace(schemas.RETENTION_EXTENSIONS, day, build)
    for status in (EXTENDED, UNCONFIRMED, REFUSED, NOT_ALLOWED):
        report.counts[status] = sum(1 for row in rows.values() if row["status"] == status)
    return report


def _decisions(work: Workspace, day: date) -> list[Decision]:
    """For each flagged call the longest extension that a rule wants, where a recording is known to be there."""
    recorded = {
        row["call_id"]
        for row in work.tables.rows(schemas.CALLS, day, ("call_id", "has_recording"))
        if row["has_recording"]
    }
    recorded |= {
        row["call_id"]
        for row in work.tables.rows(schemas.RECORDINGS, day, ("call_id", "status"))
        if row["status"] == "archived"
    }
    longest: dict[str, Decision] = {}
    for row in work.tables.rows(schemas.FLAGGED_CALLS, day, ("call_id", "rule_id", "extend_days")):
        best = longest.get(row["call_id"])
        if row["call_id"] in recorded and (best is None or row["extend_days"] > best.requested_days):
            longest[row["call_id"]] = Decision(row["call_id"], row["rule_id"], row["extend_days"])
    return list(longest.values())


def _days_of_calls(rows: Iterable[Row]) -> dict[str, int]:
    """For each call the most days that upstream was asked for, whether it confirmed them or nobody knows."""
    most: dict[str, int] = {}
    for row in rows:
        if row["status"] in (EXTENDED, UNCONFIRMED):
            most[row["call_id"]] = max(row["sent_days"], most.get(row["call_id"], 0))
    return most


def _is_covered(work: Workspace, decision: Decision, days_of_calls: dict[str, int]) -> bool:
    """Whether what another decision sent for the call is as much as this one would send."""
    days = days_to_send(decision.requested_days, work.settings.plan, work.settings.retention_days)
    return days is not None and days <= days_of_calls.get(decision.call_id, 0)


def _extend(work: Workspace, journal: Journal, decision: Decision, report: Report) -> Row | None:
    """Sends one decision; its row, or None where it surely did not reach upstream and the next run sends it."""
    days = days_to_send(decision.requested_days, work.settings.plan, work.settings.retention_days)
    if days is None:
        return journal.new_row(decision, None) | {
            "status": NOT_ALLOWED,
            "reason": f"plan {work.settings.plan.name} keeps recordings no longer than it does already",
        }
    if report.error is not None:
        return None
    attempt = journal.next_attempt(decision.decision_id)
    intent = {
        "call_id": decision.call_id,
        "rule_id": decision.rule_id,
        "requested_days": decision.requested_days,
        "sent_days": days,
        "requested_at": work.now().isoformat(),
        "token": uuid.uuid4().hex,  # tells our own intent, whose answer was lost, from another run's
    }
    try:
        journal.write(decision.decision_id, attempt, INTENT, intent)
    except ObjectExists:
        if journal.read(decision.decision_id, attempt, INTENT) != intent:
            return None  # another run is sending it at this moment
    outcome: dict[str, Any]
    try:
        work.api.extend(decision.call_id, days, idempotency_key=decision.decision_id)
        outcome = {"status": EXTENDED, "reason": None, "confirmed_at": work.now().isoformat()}
    except (TooManyRequests, BadKey) as error:
        report.stop(error)
        outcome = {"status": NOT_SENT, "reason": str(error), "confirmed_at": None}
    except (ApiUnreachable, ApiFailed) as error:
        if not getattr(error, "surely_not_sent", False):
            return journal.row_from(decision.decision_id, attempt, intent, None, doubt=str(error))
        report.problem(decision.call_id, str(error))
        outcome = {"status": NOT_SENT, "reason": str(error), "confirmed_at": None}
    except ApiError as error:
        outcome = {"status": REFUSED, "reason": str(error), "confirmed_at": None}
    with suppress(ObjectExists):  # nobody but the intent's writer writes it: an answer was lost
        journal.write(decision.decision_id, attempt, OUTCOME, outcome)
    return None if outcome["status"] == NOT_SENT else journal.row_from(decision.decision_id, attempt, intent, outcome)
