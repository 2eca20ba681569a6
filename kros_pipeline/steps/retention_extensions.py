"""`retention_extensions`: upstream is asked once, for each flagged call, to keep its recording longer.

A decision is a call, a rule and its days. The first day that has it claims it: it is sent once, even if upstream moves
the call to another day. Before the request a create-only intent is written, after it the outcome. An intent without
outcome means that nobody knows whether upstream acted: only an operator has it sent again. Where the deployment does
not offer extensions, it is asked once a week.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pyarrow as pa

from ..archive.audit_log import AuditLog
from ..archive.compare_and_swap import LONG_PATIENCE, insist
from ..archive.object_store import ObjectStore
from ..archive.parquet import Partition, Row, batches_of
from ..archive.tables import Tables, WriteResult
from ..archive.tombstones import Tombstones
from ..core import schemas
from ..core.clock import Clock
from ..core.errors import ArchiveError
from ..core.object_keys import call_key
from ..core.statuses import ExtensionStatus
from ..core.worker_threads import worker_threads
from ..source.call_source import CallSource
from .extension_decisions import AllowedDays, read_decisions, select_new
from .extension_journal import Decision, ExtensionJournal, rank
from .extension_offer import ExtensionOffer
from .extension_orders import describe_open_decisions, is_open, read_orders
from .extension_sender import ExtensionSender
from .report import SAMPLE_SIZE, Report

_THREADS = 8


@dataclass
class ExtensionReport(Report):
    """A report, with what an operator is to do; of a dry run, a sample of what would be sent."""

    to_do: list[str] = field(default_factory=list)
    would_send: list[dict[str, Any]] = field(default_factory=list)


def extend_retention(
    day: date,
    *,
    source: CallSource,
    store: ObjectStore,
    tables: Tables,
    tombstones: Tombstones,
    audit: AuditLog,
    clock: Clock,
    dry_run: bool = False,
    resend: Sequence[str] = (),
    settle: Sequence[str] = (),
    run_id: str = "",
) -> ExtensionReport:
    """Send every new decision of the day once, and write a row for every decision that is settled or in doubt.

    `resend` and `settle` are ids of decisions or calls that an operator named in the run `run_id`; raises `BadOrder`
    for those that cannot be carried out, and `MissingTable` where the day has no table `calls`. A `dry_run` reads only:
    it neither sends nor writes.
    """
    report = ExtensionReport(counts={"sent_now": 0, "settled_now": 0})
    decisions = read_decisions(day, tables)
    journal = ExtensionJournal(store, clock, day)
    rows = _read_known_rows(day, tables, journal)
    orders = read_orders(source, journal, rows.values(), resend=resend, settle=settle, run_id=run_id)
    resent_rows = {row["decision_id"]: row for row in orders.resend}
    new = select_new(decisions, rows, source.allowed_extension_days)
    new = [decision for decision in new if decision.decision_id not in resent_rows]
    to_resend = [Decision(row["call_id"], row["rule_id"], row["requested_days"]) for row in orders.resend]
    if dry_run:
        _describe_dry_run(new + to_resend, source.allowed_extension_days, report)
        report.counts["would_settle"] = len(orders.settle)
    else:
        sender = ExtensionSender(
            journal,
            source=source,
            offer=ExtensionOffer(store, clock),
            tombstones=tombstones,
            clock=clock,
            report=report,
            run_id=run_id,
        )
        new_rows: list[Row] = [journal.settle(row, run_id) for row in orders.settle]
        report.counts["settled_now"] = len(new_rows)
        settled_ids = {row["decision_id"] for row in new_rows}
        with worker_threads(_THREADS, "extensions", clock) as pool:
            for decisions in (to_resend, new):  # an order's answer shows whether extensions are offered
                sent = pool.map(
                    lambda decision: sender.send(decision, resent_rows.get(decision.decision_id)), decisions
                )
                new_rows += [row for row in sent if row is not None]
        report.error = sender.breaker.error
        for row in new_rows:
            rows[row["decision_id"]] = row
            is_extended = row["status"] == ExtensionStatus.EXTENDED and row["settled_at"] is None
            report.counts["sent_now"] += is_extended and row["decision_id"] in sender.sent_ids
        own_ids = sender.sent_ids | settled_ids
        taken_over = {one for one in rows.keys() - own_ids if journal.is_of_other_day(one)}
        _record_changes(day, tables, audit, rows, taken_over)
        # Where the journal lacks an outcome, the table keeps it for the next run, and nothing else does.
        attempts = LONG_PATIENCE if sender.has_unwritten_outcomes else 1
        insist(audit.write, clock, attempts=attempts)
        report.written = insist(lambda: _write_rows(day, tables, rows), clock, attempts=attempts)
        sender.write_outcomes()
        if isinstance(report.error, ArchiveError):
            raise report.error  # what upstream answered is saved now
    unsent = sorted({f"{reason} The next run sends it." for _, reason in report.problems})
    for row in rows.values():
        if is_open(row):
            report.add_problem(row["call_id"], f"{row['status']}: {row['reason']}")
    errors = [str(report.error)] if report.error else []
    report.to_do = [*errors, *unsent, *describe_open_decisions(rows.values(), day)]
    for status in ExtensionStatus:
        report.counts[str(status)] = sum(1 for row in rows.values() if row["status"] == status)
    return report


def _read_known_rows(day: date, tables: Tables, journal: ExtensionJournal) -> dict[str, Row]:
    """Return, by decision, the table's row or, where the journal knows more (a run died in between), the journal's."""
    rows: dict[str, Row] = {row["decision_id"]: row for row in tables.rows(schemas.RETENTION_EXTENSIONS, day)}
    journalled_ids = journal.decision_ids()
    for decision_id in journalled_ids | rows.keys():
        known = rows.get(decision_id)
        if known is not None:
            journal.write_missing_outcome(known)
        was_sent_since = decision_id in journalled_ids and known and known["status"] == ExtensionStatus.NOT_ALLOWED
        if known is None or is_open(known) or was_sent_since:
            journalled = journal.row(decision_id)
            if journalled is not None and (known is None or rank(journalled) > rank(known)):
                rows[decision_id] = journalled
    return rows


def _record_changes(
    day: date, tables: Tables, audit: AuditLog, rows: dict[str, Row], taken_over: Collection[str]
) -> None:
    """Record an audit line for each decision whose row the table does not have yet.

    Rows of the decisions `taken_over` say what another day did, which has the line.
    """
    written = {row["decision_id"]: row for row in tables.rows(schemas.RETENTION_EXTENSIONS, day)}
    for decision_id, row in rows.items():
        is_changed = decision_id not in written or rank(row) > rank(written[decision_id])
        if is_changed and decision_id not in taken_over:
            # Not the decision's id: it is a plain hash of the call's id, and would outlive the call's erasure.
            audit.record(row["status"], row["call_id"], rule=row["rule_id"], days=row["sent_days"])


def _write_rows(day: date, tables: Tables, rows: dict[str, Row]) -> WriteResult:
    def build(present: Partition | None) -> Iterator[pa.RecordBatch]:
        merged: dict[str, Row] = {row["decision_id"]: row for row in present.rows()} if present else {}
        for decision_id, row in rows.items():
            if decision_id not in merged or rank(row) >= rank(merged[decision_id]):
                merged[decision_id] = row
        key = schemas.RETENTION_EXTENSIONS.sort_key()
        return batches_of(schemas.RETENTION_EXTENSIONS, sorted(merged.values(), key=key))

    return tables.commit(schemas.RETENTION_EXTENSIONS, day, build)


def _describe_dry_run(to_send: list[Decision], allowed_days: AllowedDays, report: ExtensionReport) -> None:
    """Count what would be sent, and keep a sample of calls with their rules and days."""
    report.counts |= {"would_send": 0, "would_not_be_allowed": 0}
    for decision in to_send:
        days = allowed_days(decision.requested_days)
        report.counts["would_send" if days is not None else "would_not_be_allowed"] += 1
        if days is not None and len(report.would_send) < SAMPLE_SIZE:
            report.would_send.append({"call": call_key(decision.call_id), "rule": decision.rule_id, "days": days})
