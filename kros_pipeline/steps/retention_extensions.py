"""`retention_extensions`: upstream is asked once, for each flagged call, to keep its recording longer.

A decision is a call, a rule and its days. The first day that has it claims it: it is sent once, even if upstream moves
the call to another day. Before the request a create-only intent is written, after it the outcome. An intent without
outcome means that nobody knows whether upstream acted: only an operator has it sent again. Where the deployment does
not offer extensions, it is asked once a week.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import date
from heapq import merge
from itertools import chain, groupby, islice
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
from ..core.digest_set import DigestSet
from ..core.errors import ArchiveError, UnreadablePartition
from ..core.object_keys import call_key
from ..core.statuses import OPEN_EXTENSIONS, ExtensionStatus
from ..core.worker_threads import worker_threads
from ..source.call_source import CallSource
from .extension_decisions import AllowedDays, open_decisions, select_new
from .extension_journal import Decision, ExtensionJournal, rank
from .extension_offer import ExtensionOffer
from .extension_orders import describe_open_decisions, is_open, read_orders
from .extension_sender import ExtensionSender
from .known_extensions import KnownRows
from .report import SAMPLE_SIZE, Report

_TABLE = schemas.RETENTION_EXTENSIONS
_THREADS = 8
_DECISIONS_AT_ONCE = 1_000
_ROWS_AT_ONCE = 50_000  # one takes 1 kB until the table has it
_SAVED_PER_NEW = 10  # each save writes the whole table: a growing one is saved less often, or it would be the square
_LINES_AT_ONCE = 10_000  # of the audit log


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
    with open_decisions(day, tables) as decisions, ExitStack() as opened:
        journal = ExtensionJournal(store, clock, day)
        known = KnownRows(opened.enter_context(tables.opened(_TABLE, day)), journal, clock)
        orders = read_orders(source, journal, known.rows(), resend=resend, settle=settle, run_id=run_id)
        resent_rows = {row["decision_id"]: row for row in orders.resend}
        new = select_new(decisions, known, source.allowed_extension_days)
        new = (decision for decision in new if decision.decision_id not in resent_rows)
        to_resend = [Decision(row["call_id"], row["rule_id"], row["requested_days"]) for row in orders.resend]
        rows = _NewRows(known.changed)
        if dry_run:
            _describe_dry_run(chain(new, to_resend), source.allowed_extension_days, report)
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
            settled = [journal.settle(row, run_id) for row in orders.settle]
            report.counts["settled_now"] = len(settled)
            rows.add(settled)
            own_ids = (sender.sent_ids, {row["decision_id"] for row in settled})

            def save() -> None:
                report.counts["sent_now"] += rows.count_extended(sender.sent_ids)
                others = (one for one in rows.by_decision if not any(one in ids for ids in own_ids))
                taken_over = set(filter(journal.is_of_other_day, others))
                # Where the journal lacks an outcome, the table keeps it for the next run, and nothing else does.
                attempts = LONG_PATIENCE if sender.has_unwritten_outcomes else 1
                for _ in _record_changes(day, tables, audit, rows, sender, taken_over):
                    insist(audit.write, clock, attempts=attempts)
                written = insist(lambda: _write_rows(day, tables, rows, sender), clock, attempts=attempts)
                was_changed = report.written is not None and report.written.changed
                report.written = replace(written, changed=written.changed or was_changed)
                rows.clear()

            unreadable: UnreadablePartition | None = None
            try:
                with worker_threads(_THREADS, "extensions", clock) as pool:
                    # An order's answer shows whether extensions are offered.
                    for some in chain(_cut(to_resend), _cut(new)):
                        to_send = [decision for decision in some if sender.is_allowed(decision)]
                        rows.not_allowed += [decision for decision in some if not sender.is_allowed(decision)]
                        sent = pool.map(lambda one: sender.send(one, resent_rows.get(one.decision_id)), to_send)
                        rows.add(row for row in sent if row is not None)
                        saved_count = report.written.rows if report.written is not None else 0
                        if len(rows) >= max(_ROWS_AT_ONCE, saved_count // _SAVED_PER_NEW):
                            save()
            except UnreadablePartition as error:  # tables are read meanwhile: what was sent before is saved
                unreadable = error
            report.error = sender.breaker.error
            save()
            sender.write_outcomes()
            for failure in (unreadable, report.error):
                if isinstance(failure, ArchiveError):
                    raise failure  # what upstream answered is saved now
        unsent = sorted({f"{reason} The next run sends it." for _, reason in report.problems})
        statuses: Counter[str] = Counter()
        open_reasons: dict[str, Counter[str]] = {status: Counter() for status in OPEN_EXTENSIONS}
        for row in known.rows() if dry_run else _read_rows(opened.enter_context(tables.opened(_TABLE, day))):
            statuses[row["status"]] += 1
            if is_open(row):
                report.add_problem(row["call_id"], f"{row['status']}: {row['reason']}")
                open_reasons[row["status"]][str(row["reason"])] += 1
    errors = [str(report.error)] if report.error else []
    report.to_do = [*errors, *unsent, *describe_open_decisions(open_reasons, day)]
    report.counts |= {str(status): statuses[status] for status in ExtensionStatus}
    return report


def _read_rows(present: Partition | None) -> Iterator[Row]:
    return present.rows() if present is not None else iter(())


class _NewRows:
    """The rows that the table does not have yet, by decision: those that the journal knows, and those of this run.

    Of the decisions that are not allowed, which may be many, the rows are made when they are written.
    """

    def __init__(self, journalled: Mapping[str, Row]):
        self.by_decision = dict(journalled)
        self.not_allowed: list[Decision] = []  # in ascending order of calls
        self._made_now: set[str] = set()

    def add(self, rows: Iterable[Row]) -> None:
        """Add rows that this run has made."""
        for row in rows:
            self.by_decision[row["decision_id"]] = row
            self._made_now.add(row["decision_id"])

    def __len__(self) -> int:
        return len(self.by_decision) + len(self.not_allowed)

    def clear(self) -> None:
        """Forget the rows: the table has them."""
        self.by_decision.clear()
        self.not_allowed.clear()
        self._made_now.clear()

    def count_extended(self, sent_ids: Collection[str]) -> int:
        """Return how many of the decisions sent by this run upstream has confirmed."""
        rows = (self.by_decision[decision_id] for decision_id in self._made_now if decision_id in sent_ids)
        return sum(row["status"] == ExtensionStatus.EXTENDED and row["settled_at"] is None for row in rows)


def _cut(decisions: Iterable[Decision]) -> Iterator[list[Decision]]:
    left = iter(decisions)
    while some := list(islice(left, _DECISIONS_AT_ONCE)):
        yield some


def _record_changes(
    day: date, tables: Tables, audit: AuditLog, rows: _NewRows, sender: ExtensionSender, taken_over: Collection[str]
) -> Iterator[None]:
    """Record an audit line for each decision whose row the table does not have yet. Yield when they are to be saved.

    Rows of the decisions `taken_over` say what another day did, which has the line.
    """
    written: dict[str, Row] = {}
    written_ids = DigestSet()
    with tables.opened(_TABLE, day) as present:
        for row in _read_rows(present):
            written_ids.add(row["decision_id"])
            if row["decision_id"] in rows.by_decision:
                written[row["decision_id"]] = row
    changed = (
        row
        for decision_id, row in rows.by_decision.items()
        if decision_id not in taken_over and (decision_id not in written or rank(row) > rank(written[decision_id]))
    )
    not_allowed = (one for one in rows.not_allowed if one.decision_id not in written_ids)
    for number, row in enumerate(chain(changed, map(sender.make_not_allowed, not_allowed)), 1):
        # Not the decision's id: it is a plain hash of the call's id, and would outlive the call's erasure.
        audit.record(row["status"], row["call_id"], rule=row["rule_id"], days=row["sent_days"])
        if number % _LINES_AT_ONCE == 0:
            yield
    yield


def _write_rows(day: date, tables: Tables, rows: _NewRows, sender: ExtensionSender) -> WriteResult:
    key = _TABLE.sort_key()

    def build(present: Partition | None) -> Iterator[pa.RecordBatch]:
        ours = merge(
            sorted(rows.by_decision.values(), key=key), map(sender.make_not_allowed, rows.not_allowed), key=key
        )
        both = merge(_read_rows(present), ours, key=key)
        # Of two rows the one that knows more, and ours where both know as much: it comes last.
        best = (sorted(of_decision, key=rank)[-1] for _, of_decision in groupby(both, key=key))
        return batches_of(_TABLE, best)

    return tables.commit(_TABLE, day, build)


def _describe_dry_run(to_send: Iterable[Decision], allowed_days: AllowedDays, report: ExtensionReport) -> None:
    """Count what would be sent, and keep a sample of calls with their rules and days."""
    report.counts |= {"would_send": 0, "would_not_be_allowed": 0}
    for decision in to_send:
        days = allowed_days(decision.requested_days)
        report.counts["would_send" if days is not None else "would_not_be_allowed"] += 1
        if days is not None and len(report.would_send) < SAMPLE_SIZE:
            report.would_send.append({"call": call_key(decision.call_id), "rule": decision.rule_id, "days": days})
