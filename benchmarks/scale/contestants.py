"""What `make scale` measures of one day, each in a process of its own: see `benchmarks.contest`.

A process has loaded the definitions before it is measured, as a run of Dagster has.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, cast

from benchmarks.scale.made_calls import FLAGGED_PATTERN, MadeCalls
from benchmarks.scale.made_source import MadeSource
from benchmarks.scale.sqlite_store import AudiolessStore
from kros_pipeline.archive.governance import Governance
from kros_pipeline.archive.settings import ArchiveSettings
from kros_pipeline.core.clock import Clock
from kros_pipeline.steps.run_context import RunContext, open_run_context
from kros_pipeline_tests.support import steps
from kros_pipeline_tests.support.clocks import clock_without_waits
from kros_pipeline_tests.support.memory_store import MemoryGovernance, MemoryObjectStore

DAY = date(2025, 1, 10)
_NOW = datetime(2025, 1, 15, 6, tzinfo=UTC)  # the grace days are over
_RULES = f"""
rules:
  - id: reference
    speaker: caller
    text_matches: '{FLAGGED_PATTERN}'
    extend_days: 30
  - id: court
    text_matches_any: ['\\bsubpoena\\b', '\\barbitration\\b']
    extend_days: 30
"""

Contestant = Generator[None, None, dict[str, Any]]


def idle() -> Contestant:
    """Do nothing: what a process takes that has loaded the definitions."""
    _load_definitions()
    yield
    return {"units": 0}


def list_only(calls: int) -> Contestant:
    """Make every page of the day once: what the source itself costs."""
    made, clock = _make(calls)
    source = MadeSource(made, clock)
    source.list_page(None, 0, 1)
    yield
    rows = sum(len(source.list_page(None, offset, 1).calls) for offset in range(0, calls, source.page_limit))
    return {"units": rows}


def steps_of_day(names: Sequence[str], folder: str, calls: int) -> Contestant:
    """Run steps of the day in one process. They find what the steps before them have written into the folder."""
    _load_definitions()
    ctx = _open(Path(folder), calls)
    ctx.prepare_archive()
    api, requests, writes = ctx.source.requests_made, ctx.store.requests_made, ctx.store.writes_made
    yield
    for name in names:
        _STEPS[name](ctx)
    return {
        "units": calls,
        "api": ctx.source.requests_made - api,
        "s3": ctx.store.requests_made - requests,
        "s3_writes": ctx.store.writes_made - writes,
    }


def _load_definitions() -> None:
    import kros_pipeline.definitions  # noqa: F401


def _make(calls: int) -> tuple[MadeCalls, Clock]:
    return MadeCalls(DAY, calls, _NOW), clock_without_waits(lambda: _NOW)


def _open(folder: Path, calls: int) -> RunContext:
    """Open a run over the made source and the folder's archive. Its settings are those of a usual account."""
    made, clock = _make(calls)
    rules = folder / "rules.yaml"
    rules.write_text(_RULES)
    settings = {
        "KROSAI_API_KEY": "kros_test_scale",
        "KROS_ARCHIVE_URL": "s3://scale",
        "KROS_ERASURE_KEY": "a key of the benchmarks, long enough for them",
        "KROSAI_RETENTION_DAYS": "90",
        "KROSAI_PLAN": "business",
        "KROS_FLAG_RULES": str(rules),
    }
    store = AudiolessStore(folder, made)

    def open_archive(_: ArchiveSettings) -> tuple[AudiolessStore, Governance]:
        return store, MemoryGovernance(cast(MemoryObjectStore, store))  # which reads; a day deletes nothing

    ctx = open_run_context(settings, clock=clock, open_archive=open_archive)
    ctx.source.close()
    ctx.source = MadeSource(made, clock)
    return ctx


def _calls(ctx: RunContext) -> None:
    report, listing = steps.list_calls(ctx, DAY)
    _require(report.error is None and listing.proved, f"the list is not proved: {report.error} {listing.problems}")
    _require_count(ctx, report.counts["calls"])


def _archive_recordings(ctx: RunContext) -> None:
    report = steps.archive_recordings(ctx, DAY)
    _require(report.error is None and not report.problems, f"recordings: {report.error} {report.problems[:3]}")
    _require_count(ctx, report.counts["archived"])


def _fetch_transcripts(ctx: RunContext) -> None:
    report = steps.fetch_transcripts(ctx, DAY)
    _require(report.error is None, f"transcripts: {report.error}")
    _require_count(ctx, report.counts["kept"])


def _split_utterances(ctx: RunContext) -> None:
    _require_count(ctx, steps.split_utterances(ctx, DAY).counts["calls"])


def _flag_calls(ctx: RunContext) -> None:
    steps.flag_calls(ctx, DAY)


def _extend_retention(ctx: RunContext) -> None:
    report = steps.extend_retention(ctx, DAY)
    _require(report.error is None, f"retention_extensions: {report.error}")
    _require(report.counts["extended"] == _made_of(ctx).flagged_count, f"retention_extensions: {report.counts}")


def _reconcile(ctx: RunContext) -> None:
    result = steps.reconcile_day(ctx, DAY)
    _require(result.verdict.verdict == "complete", f"reconciliation: {result.verdict}")
    _require_count(ctx, result.row["calls"])


def _seal(ctx: RunContext) -> None:
    from kros_pipeline.operations.sealing import seal_days_of

    report = seal_days_of(ctx)
    _require(report.sealed == [DAY], f"sealing: {report}")


def _verify(ctx: RunContext) -> None:
    found = steps.verify_days(ctx, [DAY])
    _require(found.is_sound, f"verification: {found.drifted[:3]} {found.missing[:3]} {found.unknown[:3]}")
    _require_count(ctx, found.objects)


def _made_of(ctx: RunContext) -> MadeCalls:
    return cast(MadeSource, ctx.source).made


def _require_count(ctx: RunContext, count: int) -> None:
    _require(count == _made_of(ctx).count, f"{count:,} of {_made_of(ctx).count:,} calls")


def _require(is_so: bool, problem: str) -> None:
    if not is_so:
        raise AssertionError(problem)


_STEPS: dict[str, Callable[[RunContext], None]] = {
    "calls": _calls,
    "recordings": _archive_recordings,
    "transcripts": _fetch_transcripts,
    "utterances": _split_utterances,
    "flagged_calls": _flag_calls,
    "retention_extensions": _extend_retention,
    "reconciliation": _reconcile,
    "sealing": _seal,
    "verification": _verify,
}
