"""The pipeline's own steps as contestants: whole, with everything that a run does."""

from __future__ import annotations

import os
from collections.abc import Generator
from datetime import date
from typing import Any

from kros_pipeline.clients.errors import OutsideError
from kros_pipeline.steps.workspace import Workspace, open_workspace

Contestant = Generator[None, None, dict[str, Any]]


def _opened() -> Workspace:
    return open_workspace(os.environ)


def _sound(error: OutsideError | None) -> None:
    if error is not None:
        raise error


def calls(day: str) -> Contestant:
    """The `calls` step."""
    from kros_pipeline.steps.enumerate import enumerate_day

    work = _opened()
    yield
    report, listing = enumerate_day(work, date.fromisoformat(day))
    _sound(report.error)
    return {"units": report.counts["calls"], "pages": report.counts["pages"], "proved": listing.proved}


def recordings(day: str) -> Contestant:
    """The `recordings` step of a day that was enumerated before."""
    from kros_pipeline.steps.download import archive_recordings

    work, that = _opened(), date.fromisoformat(day)
    yield
    report = archive_recordings(work, that)
    _sound(report.error)
    return {"units": report.counts["archived_now"]}
