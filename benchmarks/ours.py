"""The pipeline's own steps as contestants: whole, with everything that a run does."""

from __future__ import annotations

import os
from collections.abc import Generator
from datetime import date
from typing import Any

from kros_pipeline.core.errors import ExternalError
from kros_pipeline.steps.run_context import RunContext, open_run_context

Contestant = Generator[None, None, dict[str, Any]]


def _opened() -> RunContext:
    return open_run_context(os.environ)


def _sound(error: ExternalError | None) -> None:
    if error is not None:
        raise error


def _warm_arrow() -> None:
    """Where pandas is installed, Arrow imports it at its first array: 0.4 seconds that are no work of any step."""
    import pyarrow as pa

    pa.array([None])


def calls(day: str) -> Contestant:
    """The `calls` step."""
    from kros_pipeline_tests.support.steps import list_calls

    ctx = _opened()
    _warm_arrow()
    yield
    report, listing = list_calls(ctx, date.fromisoformat(day))
    _sound(report.error)
    return {"units": report.counts["calls"], "pages": report.counts["pages"], "proved": listing.proved}


def recordings(day: str) -> Contestant:
    """The `recordings` step of a day that was enumerated before."""
    from kros_pipeline_tests.support.steps import archive_recordings

    ctx, that = _opened(), date.fromisoformat(day)
    _warm_arrow()
    yield
    report = archive_recordings(ctx, that)
    _sound(report.error)
    return {"units": report.counts["archived_now"]}


def day(day: str) -> Contestant:
    """All steps of a day, in the job's order, as one run."""
    from kros_pipeline_tests.support.steps import (
        archive_recordings,
        extend_retention,
        fetch_transcripts,
        flag_calls,
        list_calls,
        reconcile_day,
        split_utterances,
    )

    ctx, that = _opened(), date.fromisoformat(day)
    yield
    report, _ = list_calls(ctx, that)
    for step in (archive_recordings, fetch_transcripts, split_utterances, flag_calls, extend_retention):
        step(ctx, that)
    return {"units": report.counts["calls"], "verdict": reconcile_day(ctx, that).verdict.verdict}


def utterances(day: str) -> Contestant:
    """The `utterances` step of a day whose transcripts are kept."""
    from kros_pipeline_tests.support.steps import split_utterances

    ctx, that = _opened(), date.fromisoformat(day)
    _warm_arrow()
    yield
    report = split_utterances(ctx, that)
    return {"units": report.counts["utterances"], "calls": report.counts["calls"]}
