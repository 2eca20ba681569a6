"""Reconcile a day again after an operator's job has changed what the archive holds of it."""

from datetime import date

from ..steps.independent_counters import read_counters
from ..steps.legal_holds import place_legal_holds
from ..steps.reconciliation import has_reconciliation, reconcile_day
from ..steps.run_context import RunContext


def reconcile_again(ctx: RunContext, day: date) -> None:
    """Reconcile a day, legal holds included, if it was reconciled before."""
    if not has_reconciliation(ctx.tables, day):
        return
    settings = ctx.settings
    hold_problems = place_legal_holds(
        day,
        is_wanted=settings.legal_hold,
        store=ctx.store,
        governance=ctx.governance,
        tables=ctx.tables,
        audit=ctx.audit_log(day, "hold"),
        clock=ctx.clock,
        threads=settings.download_workers,
    )
    reconcile_day(
        day,
        store=ctx.store,
        tables=ctx.tables,
        tombstones=ctx.tombstones,
        clock=ctx.clock,
        lookback_days=settings.lookback_days,
        retention_days=settings.source.retention_days,
        counters=read_counters(day, ctx.source, ctx.log),
        hold_problems=hold_problems,
        api_requests=None,  # they are the job's, not the day's
    )
