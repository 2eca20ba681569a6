"""The steps and operations, run on a whole run context: each passes on what the assets' bodies pass on."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date

from kros_pipeline.core.listing import Listing
from kros_pipeline.operations import archive_totals, backlog, health, settled_days, verification, webhook_witness
from kros_pipeline.operations.erasure import open_eraser
from kros_pipeline.operations.erasure_request import ErasureRequest, ErasureResult
from kros_pipeline.steps import (
    call_events,
    calls,
    flagged_calls,
    independent_counters,
    legal_holds,
    reconciliation,
    recordings,
    retention_extensions,
    transcripts,
    utterances,
)
from kros_pipeline.steps.report import Report
from kros_pipeline.steps.run_context import RunContext


def list_calls(ctx: RunContext, day: date, *, first_day: date = date.min) -> tuple[Report, Listing]:
    return calls.list_calls(
        day,
        first_day=first_day,
        source=ctx.source,
        store=ctx.store,
        tables=ctx.tables,
        tombstones=ctx.tombstones,
        identity=ctx.identity,
        open_audit=lambda listed: ctx.audit_log(listed, "calls"),
        clock=ctx.clock,
        lookback_days=ctx.settings.lookback_days,
        retention_days=ctx.settings.source.retention_days,
        download_workers=ctx.settings.download_workers,
        log=ctx.log,
        default_country=ctx.settings.source.default_country,
    )


def archive_recordings(ctx: RunContext, day: date, call_ids: Collection[str] = ()) -> Report:
    return recordings.archive_recordings(
        day,
        source=ctx.source,
        store=ctx.store,
        tables=ctx.tables,
        tombstones=ctx.tombstones,
        audit=ctx.audit_log(day, "recordings"),
        clock=ctx.clock,
        lookback_days=ctx.settings.lookback_days,
        retention_days=ctx.settings.source.retention_days,
        download_workers=ctx.settings.download_workers,
        log=ctx.log,
        call_ids=call_ids,
    )


def fetch_transcripts(ctx: RunContext, day: date) -> Report:
    return transcripts.fetch_transcripts(
        day,
        source=ctx.source,
        store=ctx.store,
        tables=ctx.tables,
        tombstones=ctx.tombstones,
        clock=ctx.clock,
        lookback_days=ctx.settings.lookback_days,
        retention_days=ctx.settings.source.retention_days,
        ask_every_transcript=ctx.settings.ask_every_transcript,
        download_workers=ctx.settings.download_workers,
        log=ctx.log,
        roles=ctx.settings.speaker_roles,
    )


def fetch_call_events(ctx: RunContext, day: date, *, requests_per_day: int | None = None) -> Report:
    return call_events.fetch_call_events(
        day,
        source=ctx.source,
        tables=ctx.tables,
        clock=ctx.clock,
        lookback_days=ctx.settings.lookback_days,
        requests_per_day=requests_per_day,
        download_workers=ctx.settings.download_workers,
        log=ctx.log,
    )


def split_utterances(ctx: RunContext, day: date) -> Report:
    return utterances.split_utterances(day, tables=ctx.tables, roles=ctx.settings.speaker_roles)


def flag_calls(ctx: RunContext, day: date) -> Report:
    return flagged_calls.flag_calls(day, tables=ctx.tables, rules=ctx.rules)


def extend_retention(
    ctx: RunContext,
    day: date,
    *,
    dry_run: bool = False,
    resend: Sequence[str] = (),
    settle: Sequence[str] = (),
    run_id: str = "",
) -> retention_extensions.ExtensionReport:
    return retention_extensions.extend_retention(
        day,
        source=ctx.source,
        store=ctx.store,
        tables=ctx.tables,
        tombstones=ctx.tombstones,
        audit=ctx.audit_log(day, "extensions"),
        clock=ctx.clock,
        dry_run=dry_run,
        resend=resend,
        settle=settle,
        run_id=run_id,
    )


def place_legal_holds(ctx: RunContext, day: date) -> list[str]:
    return legal_holds.place_legal_holds(
        day,
        is_wanted=ctx.settings.legal_hold,
        store=ctx.store,
        governance=ctx.governance,
        tables=ctx.tables,
        audit=ctx.audit_log(day, "hold"),
        clock=ctx.clock,
        threads=ctx.settings.download_workers,
    )


def reconcile_day(
    ctx: RunContext, day: date, acknowledged_call_ids: Collection[str] = (), *, blocked_by: str = ""
) -> reconciliation.ReconciliationResult:
    """All that the asset `reconciliation` does."""
    reconciliation.acknowledge_calls(day, acknowledged_call_ids, store=ctx.store, tables=ctx.tables, clock=ctx.clock)
    hold_problems = place_legal_holds(ctx, day)
    return reconciliation.reconcile_day(
        day,
        store=ctx.store,
        tables=ctx.tables,
        tombstones=ctx.tombstones,
        clock=ctx.clock,
        lookback_days=ctx.settings.lookback_days,
        retention_days=ctx.settings.source.retention_days,
        counters=independent_counters.read_counters(day, ctx.source, ctx.log),
        hold_problems=hold_problems,
        api_requests=ctx.source.requests_made,
        blocked_by=blocked_by,
    )


def find_backlog(ctx: RunContext, first: date, last: date) -> list[date]:
    due = backlog.find_backlog(
        first,
        last,
        store=ctx.store,
        tables=ctx.tables,
        clock=ctx.clock,
        retention_days=ctx.settings.source.retention_days,
        lookback_days=ctx.settings.lookback_days,
    )
    return list(due)


def find_days_to_repeat(ctx: RunContext, first: date, last: date) -> list[date]:
    return settled_days.find_days_to_repeat(
        first,
        last,
        store=ctx.store,
        tables=ctx.tables,
        clock=ctx.clock,
        retention_days=ctx.settings.source.retention_days,
        lookback_days=ctx.settings.lookback_days,
        requests_per_day=ctx.settings.source.plan.requests_per_day,
        under_way=(),
    )


def check_health(ctx: RunContext, first: date, last: date, under_way: Collection[date] = ()) -> health.ArchiveHealth:
    return health.check_health(
        first,
        last,
        store=ctx.store,
        tables=ctx.tables,
        clock=ctx.clock,
        retention_days=ctx.settings.source.retention_days,
        lookback_days=ctx.settings.lookback_days,
        under_way=under_way,
    )


def gather_totals(ctx: RunContext, first: date, last: date) -> archive_totals.ArchiveTotals:
    return archive_totals.gather_totals(
        first,
        last,
        store=ctx.store,
        tables=ctx.tables,
        clock=ctx.clock,
        retention_days=ctx.settings.source.retention_days,
        requests_per_day=ctx.settings.source.plan.requests_per_day,
    )


def verify_days(ctx: RunContext, days: Sequence[date], *, is_everything: bool = False) -> verification.Verification:
    return verification.verify_days(
        days,
        store=ctx.store,
        tables=ctx.tables,
        tombstones=ctx.tombstones,
        audit_log=ctx.audit_log,
        clock=ctx.clock,
        threads=ctx.settings.download_workers,
        log=ctx.log,
        is_everything=is_everything,
    )


def witness_calls(ctx: RunContext, first_day: date = date(2025, 1, 1)) -> webhook_witness.WitnessReport:
    return webhook_witness.witness_calls(
        first_day,
        source=ctx.source,
        store=ctx.store,
        tables=ctx.tables,
        tombstones=ctx.tombstones,
        identity=ctx.identity,
        clock=ctx.clock,
        retention_days=ctx.settings.source.retention_days,
        requests_per_day=ctx.settings.source.plan.requests_per_day,
    )


def erase_calls(ctx: RunContext, request: ErasureRequest, *, dry_run: bool = False) -> ErasureResult:
    return open_eraser(ctx).erase(request, dry_run=dry_run)
