"""The pipeline's steps as contestants, with everything that a run does."""

from __future__ import annotations

import os
from collections.abc import Generator
from datetime import date
from typing import Any

from kros_pipeline.core.errors import ExternalError
from kros_pipeline.steps.run_context import RunContext, open_run_context

Contestant = Generator[None, None, dict[str, Any]]


def _open() -> RunContext:
    return open_run_context(os.environ)


def _raise_if(error: ExternalError | None) -> None:
    if error is not None:
        raise error


def _warm_arrow() -> None:
    """Let Arrow import pandas now, if it is installed: 0.4 seconds at its first array, which no step causes."""
    import pyarrow as pa

    pa.array([None])


def calls(day: str) -> Contestant:
    """Run the `calls` step."""
    from kros_pipeline_tests.support.steps import list_calls

    ctx = _open()
    _warm_arrow()
    yield
    report, listing = list_calls(ctx, date.fromisoformat(day))
    _raise_if(report.error)
    return {"units": report.counts["calls"], "pages": report.counts["pages"], "proved": listing.proved}


def recordings(day: str) -> Contestant:
    """Run the `recordings` step of a day whose `calls` step has run."""
    from kros_pipeline_tests.support.steps import archive_recordings

    ctx, partition = _open(), date.fromisoformat(day)
    _warm_arrow()
    yield
    report = archive_recordings(ctx, partition)
    _raise_if(report.error)
    return {"units": report.counts["archived_now"]}


def day(day: str) -> Contestant:
    """Run all steps of a day, in the job's order, as one run."""
    from kros_pipeline_tests.support.steps import (
        archive_recordings,
        extend_retention,
        fetch_transcripts,
        flag_calls,
        list_calls,
        reconcile_day,
        split_utterances,
    )

    ctx, partition = _open(), date.fromisoformat(day)
    yield
    report, _ = list_calls(ctx, partition)
    for step in (archive_recordings, fetch_transcripts, split_utterances, flag_calls, extend_retention):
        step(ctx, partition)
    return {"units": report.counts["calls"], "verdict": reconcile_day(ctx, partition).verdict.verdict}


def utterances(day: str) -> Contestant:
    """Run the `utterances` step of a day whose transcripts are archived."""
    from kros_pipeline_tests.support.steps import split_utterances

    ctx, partition = _open(), date.fromisoformat(day)
    _warm_arrow()
    yield
    report = split_utterances(ctx, partition)
    return {"units": report.counts["utterances"], "calls": report.counts["calls"]}
