"""What `make scale` measures of an archive of years, over a store that generates it: see `benchmarks.contest`."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kros_pipeline.archive.archived_days import archived_days
from kros_pipeline.archive.latest_look import write_latest_look
from kros_pipeline.archive.request_quota import read_requests_of_day
from kros_pipeline.archive.verified_days import read_verified_days
from kros_pipeline.core import schemas
from kros_pipeline.operations.archive_totals import read_coverage
from kros_pipeline.operations.erasure_request import ErasureRequest
from kros_pipeline.operations.metrics import make_look
from kros_pipeline.operations.sealing import describe_seals
from kros_pipeline.operations.verification import select_days
from kros_pipeline.steps.run_context import RunContext
from kros_pipeline_tests.support import steps
from kros_pipeline_tests.support.years_run import open_years_run
from kros_pipeline_tests.support.years_store import YearsStore

Contestant = Generator[None, None, dict[str, Any]]

_ERASED_CALLS = 10


@dataclass
class _Archive:
    """One archive of years, and a run over it, a day after its last day's check."""

    store: YearsStore
    ctx: RunContext

    @property
    def now(self) -> datetime:
        return self.ctx.clock.now()


def act(name: str, days: int, calls: int, retention_days: int) -> Contestant:
    """Do one thing with an archive: of a name in `_FOLLOW_A_LOOK`, after an hourly look at it."""
    archive = _open(days, calls, retention_days)
    _warm(archive)
    if name in _FOLLOW_A_LOOK:
        _look(archive)
    action = _ACTIONS[name]
    store, was_generating = archive.store, archive.store.seconds_generating
    requests, writes, bytes_read = store.requests_made, store.writes_made, store.bytes_read
    yield
    facts = action(archive)
    return {
        "units": days,
        "s3": store.requests_made - requests,
        "s3_writes": store.writes_made - writes,
        "bytes_read": store.bytes_read - bytes_read,
        "generating_seconds": store.seconds_generating - was_generating,
        "api": archive.ctx.source.requests_made,
        **facts,
    }


def _open(days: int, calls: int, retention_days: int) -> _Archive:
    store = YearsStore(days, calls)
    return _Archive(store, open_years_run(store, KROSAI_PLAN="business", KROSAI_RETENTION_DAYS=f"{retention_days}"))


def _warm(archive: _Archive) -> None:
    """Make the templates of the store now: no real store has any."""
    made, day = archive.store.generated, archive.store.days[0]
    for name in schemas.TABLES:
        made.table(name, day)
    for make in (made.listing, made.audit, made.records, made.manifest, made.journal):
        make(day)


def _erase(archive: _Archive) -> dict[str, Any]:
    """Erase calls of as many days, from the first to the last."""
    days = archive.store.days
    chosen = [days[number * (len(days) - 1) // (_ERASED_CALLS - 1)] for number in range(_ERASED_CALLS)]
    ids = [archive.store.generated.ids(day)[number] for number, day in enumerate(chosen)]
    result = steps.erase_calls(archive.ctx, ErasureRequest(tuple(ids), reason="benchmark"))
    if result.calls != _ERASED_CALLS or result.residue:
        raise AssertionError(f"{result.calls} calls were erased, and {result.residue[:3]} is left")
    return {"versions_deleted": result.versions_deleted}


def _look(archive: _Archive) -> dict[str, Any]:
    """Do what the asset `archive` does each hour."""
    ctx, days = archive.ctx, archive.store.days
    seals = describe_seals(ctx.store, ctx.clock)
    health = steps.check_health(ctx, days[0], days[-1])
    totals = steps.gather_totals(ctx, days[0], days[-1])
    read_requests_of_day(ctx.store, archive.now.date())
    write_latest_look(ctx.store, make_look(totals, {}, archive.now))
    if totals.days_complete != len(days) or health.days:
        raise AssertionError(f"{totals.days_complete} of {len(days)} days are complete: {health.days[:3]}")
    return {"seals": seals}


def _find_backlog(archive: _Archive) -> dict[str, Any]:
    days = archive.store.days
    return {"owed": len(steps.find_backlog(archive.ctx, days[0], days[-1]))}


def _choose_settled(archive: _Archive) -> dict[str, Any]:
    days = archive.store.days
    return {"chosen": len(steps.find_days_to_repeat(archive.ctx, days[0], days[-1]))}


def _plan_verification(archive: _Archive) -> dict[str, Any]:
    """Find the days whose turn it is, and how far the verification keeps up, as the job does; read no audio."""
    ctx = archive.ctx
    turn = select_days(archived_days(ctx.store), archive.now.date(), read_verified_days(ctx.store).with_findings)
    coverage = read_coverage(store=ctx.store, tables=ctx.tables, clock=ctx.clock)
    return {"days": len(turn), "coverage": coverage.percent}


_ACTIONS: dict[str, Callable[[_Archive], dict[str, Any]]] = {
    "the first look ever": _look,
    "the hourly look": _look,
    "the backlog": _find_backlog,
    "the settled days of a night": _choose_settled,
    "planning a verification": _plan_verification,
    "erasing ten calls": _erase,
}
_FOLLOW_A_LOOK = {"the hourly look", "planning a verification"}
