"""`retention_extensions`: upstream is asked once, for each flagged call, to keep its recording longer.

A decision is a call, a rule and its days. Before the request a create-only intent is written, after it the outcome:
an intent without outcome means that nobody knows whether upstream acted, and is never sent again but by an operator's
word.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pyarrow as pa

from ..archive.parquet import Partition, batches_of
from ..core import schemas
from ..core.errors import ApiError, ApiServerError, ApiUnauthorized, ApiUnreachable, TooManyRequests
from ..core.object_keys import call_key
from ..core.statuses import ExtensionStatus
from ..source.plans import days_to_send
from .extension_journal import NOT_SENT, Decision, ExtensionJournal, Row, rank
from .extension_orders import is_open, read_orders, what_to_do
from .report import SAMPLE, Report
from .run_context import RunContext, audit_log

_THREADS = 8


@dataclass
class ExtensionReport(Report):
    """What a step says, and what an operator is to do about it; of a dry run, a sample of what would be sent."""

    to_do: list[str] = field(default_factory=list)
    would_send: list[dict[str, Any]] = field(default_factory=list)


def extend_retention(
    ctx: RunContext,
    day: date,
    *,
    dry_run: bool = False,
    resend: Sequence[str] = (),
    settle: Sequence[str] = (),
    run_id: str = "",
) -> ExtensionReport:
    """Sends what is new, and writes a row for every decision of the day whose end, or whose doubt, is known.

    `resend` and `settle` are ids of decisions or calls, said by an operator in the run `run_id`; raises `BadOrder` for
    those that cannot be obeyed. A `dry_run` reads, and neither sends nor writes.
    """
    report = ExtensionReport(counts={"sent_now": 0, "settled_now": 0})
    journal = ExtensionJournal(ctx.store, ctx.clock, day)
    rows = _known_rows(ctx, day, journal)
    orders = read_orders(ctx, journal, rows.values(), resend, settle, run_id)
    days_of_calls = _days_of_calls(rows.values())
    wanted = [
        decision
        for decision in _decisions(ctx, day)
        if decision.decision_id not in rows and not _is_covered(ctx, decision, days_of_calls)
    ]
    again = {row["decision_id"]: row for row in orders.resend}
    wanted += [Decision(row["call_id"], row["rule_id"], row["requested_days"]) for row in orders.resend]
    if dry_run:
        _say_what_would_be_sent(ctx, wanted, report)
        report.counts["would_settle"] = len(orders.settle)
    else:
        learned: list[Row] = [journal.settle(row, run_id) for row in orders.settle]
        report.counts["settled_now"] = len(learned)
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="extensions") as pool:
            sent = pool.map(
                lambda decision: _extend(ctx, journal, decision, report, again.get(decision.decision_id), run_id),
                wanted,
            )
            learned += [row for row in sent if row is not None]
        for row in learned:  # the one place where the end of a decision, or a doubt about it, is new
            rows[row["decision_id"]] = row
            report.counts["sent_now"] += row["status"] == ExtensionStatus.EXTENDED and row["settled_at"] is None
        _account(ctx, day, rows)
        report.written = _write(ctx, day, rows)
    unsent = sorted({f"{reason} The next run sends it." for _, reason in report.problems})
    for row in rows.values():
        if is_open(row):
            report.problem(row["call_id"], f"{row['status']}: {row['reason']}")
    report.to_do = [*([str(report.error)] if report.error else []), *unsent, *what_to_do(rows.values(), day)]
    for status in ExtensionStatus:
        report.counts[status] = sum(1 for row in rows.values() if row["status"] == status)
    return report


def _known_rows(ctx: RunContext, day: date, journal: ExtensionJournal) -> dict[str, Row]:
    """By decision, what the table says or, where it knows more, the journal: a run may have died in between."""
    rows: dict[str, Row] = {row["decision_id"]: row for row in ctx.tables.rows(schemas.RETENTION_EXTENSIONS, day)}
    for decision_id in journal.decision_ids():
        known = rows.get(decision_id)
        if known is None or is_open(known):
            told = journal.row(decision_id)
            if told is not None and (known is None or rank(told) > rank(known)):
                rows[decision_id] = told
    return rows


def _account(ctx: RunContext, day: date, rows: dict[str, Row]) -> None:
    """A line for each decision of which the table does not say yet what became of it."""
    audit = audit_log(ctx, day, "extensions")
    told = {row["decision_id"]: row for row in ctx.tables.rows(schemas.RETENTION_EXTENSIONS, day)}
    for decision_id, row in rows.items():
        if decision_id not in told or rank(row) > rank(told[decision_id]):
            # Not the decision's id: that is a plain hash of the call's, and would outlive its erasure.
            audit.record(row["status"], row["call_id"], rule=row["rule_id"], days=row["sent_days"])
    audit.write()


def _write(ctx: RunContext, day: date, rows: dict[str, Row]) -> Any:
    def build(present: Partition | None) -> Iterator[pa.RecordBatch]:
        merged: dict[str, Row] = {row["decision_id"]: row for row in present.rows()} if present else {}
        for decision_id, row in rows.items():
            if decision_id not in merged or rank(row) >= rank(merged[decision_id]):
                merged[decision_id] = row
        key = schemas.RETENTION_EXTENSIONS.sort_key()
        return batches_of(schemas.RETENTION_EXTENSIONS, sorted(merged.values(), key=key))

    return ctx.tables.commit(schemas.RETENTION_EXTENSIONS, day, build)


def _say_what_would_be_sent(ctx: RunContext, wanted: list[Decision], report: ExtensionReport) -> None:
    """Counts, and the first calls with their rules and days."""
    report.counts |= {"would_send": 0, "would_not_be_allowed": 0}
    for decision in wanted:
        days = days_to_send(decision.requested_days, ctx.settings.plan, ctx.settings.retention_days)
        report.counts["would_send" if days is not None else "would_not_be_allowed"] += 1
        if days is not None and len(report.would_send) < SAMPLE:
            report.would_send.append({"call": call_key(decision.call_id), "rule": decision.rule_id, "days": days})


def _decisions(ctx: RunContext, day: date) -> list[Decision]:
    """For each flagged call the longest extension that a rule wants, where a recording is known to be there."""
    recorded = {
        row["call_id"]
        for row in ctx.tables.rows(schemas.CALLS, day, ("call_id", "has_recording"))
        if row["has_recording"]
    }
    recorded |= {
        row["call_id"]
        for row in ctx.tables.rows(schemas.RECORDINGS, day, ("call_id", "status"))
        if row["status"] == "archived"
    }
    longest: dict[str, Decision] = {}
    for row in ctx.tables.rows(schemas.FLAGGED_CALLS, day, ("call_id", "rule_id", "extend_days")):
        best = longest.get(row["call_id"])
        if row["call_id"] in recorded and (best is None or row["extend_days"] > best.requested_days):
            longest[row["call_id"]] = Decision(row["call_id"], row["rule_id"], row["extend_days"])
    return list(longest.values())


def _days_of_calls(rows: Iterable[Row]) -> dict[str, int]:
    """For each call the most days that upstream was asked for, whether it confirmed them or nobody knows."""
    most: dict[str, int] = {}
    for row in rows:
        if row["status"] in (ExtensionStatus.EXTENDED, ExtensionStatus.UNCONFIRMED):
            most[row["call_id"]] = max(row["sent_days"], most.get(row["call_id"], 0))
    return most


def _is_covered(ctx: RunContext, decision: Decision, days_of_calls: dict[str, int]) -> bool:
    """Whether what another decision sent for the call is as much as this one would send."""
    days = days_to_send(decision.requested_days, ctx.settings.plan, ctx.settings.retention_days)
    return days is not None and days <= days_of_calls.get(decision.call_id, 0)


def _extend(
    ctx: RunContext, journal: ExtensionJournal, decision: Decision, report: Report, before: Row | None, run_id: str
) -> Row | None:
    """Sends one decision; its row, or None where it surely did not reach upstream and the next run sends it.

    `before` is the row of a decision that an operator wants sent once more, in the run `run_id`.
    """
    days = days_to_send(decision.requested_days, ctx.settings.plan, ctx.settings.retention_days)
    if days is None:
        return journal.new_row(decision, None) | {
            "status": ExtensionStatus.NOT_ALLOWED,
            "reason": f"plan {ctx.settings.plan.name} keeps recordings no longer than it does already",
        }
    if report.error is not None or ctx.tombstones.is_erased(journal.day, decision.call_id):
        return None
    attempt = max(journal.next_attempt(decision.decision_id), before["attempts"] + 1 if before else 1)
    intent = {
        "call_id": decision.call_id,
        "rule_id": decision.rule_id,
        "requested_days": decision.requested_days,
        "sent_days": days,
        "requested_at": ctx.now().isoformat(),
        "resent_by": run_id if before else None,
    }
    if not journal.begin(decision.decision_id, attempt, intent):
        return None  # another run is sending it at this moment
    outcome: dict[str, Any]
    try:
        ctx.api.extend(decision.call_id, days, idempotency_key=decision.decision_id)
        outcome = {"status": ExtensionStatus.EXTENDED, "reason": None, "confirmed_at": ctx.now().isoformat()}
    except (TooManyRequests, ApiUnauthorized) as error:
        report.stop(error)
        outcome = {"status": NOT_SENT, "reason": str(error), "confirmed_at": None}
    except (ApiUnreachable, ApiServerError) as error:
        if not getattr(error, "surely_not_sent", False):
            return journal.row_from(decision.decision_id, attempt, intent, None, doubt=str(error))
        report.problem(decision.call_id, str(error))
        outcome = {"status": NOT_SENT, "reason": str(error), "confirmed_at": None}
    except ApiError as error:
        outcome = {"status": ExtensionStatus.REFUSED, "reason": str(error), "confirmed_at": None}
    if ctx.tombstones.is_erased(journal.day, decision.call_id, max_age_seconds=0.0):
        return None  # erased while the answer was waited for: its intent is gone, and its outcome must not be there
    journal.finish(decision.decision_id, attempt, outcome)
    return None if outcome["status"] == NOT_SENT else journal.row_from(decision.decision_id, attempt, intent, outcome)
