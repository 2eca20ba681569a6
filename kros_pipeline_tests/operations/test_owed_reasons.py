"""Why a day is owed: the first reason that holds, as a value that Dagster takes for a tag."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest

from kros_pipeline.core.next_look import NextLook
from kros_pipeline.operations.day_states import DayState, OwedReason
from kros_pipeline.schedules import REASON_TAG

AT = datetime(2025, 1, 20, tzinfo=UTC)
CHANGED: dict[str, Any] = {"deleted": ["calls"], "replaced": ["recordings"], "is_recorded": True}


def row(verdict: str, listed_total: int | None = 3) -> dict[str, Any]:
    return {"verdict": verdict, "listed_total": listed_total, "checked_at": AT}


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (DayState(), "missing"),
        (DayState(unreadable="tables/reconciliation is no Parquet file"), "unreadable-row"),
        # A failed day is failed, whatever happened to its tables.
        (DayState(row("incomplete")), "failed"),
        (DayState(row("incomplete"), **CHANGED), "failed"),
        (DayState(row("complete"), **CHANGED), "deleted-table"),
        (DayState(row("waiting"), **CHANGED | {"deleted": []}), "replaced-table"),
        (DayState(row("complete")), "interrupted"),
        (DayState(row("waiting"), is_recorded=True), "waiting"),
        (DayState(row("waiting"), is_recorded=True, next_look=NextLook(AT, True)), "second-answers"),
        (DayState(row("waiting"), is_recorded=True, next_look=NextLook(AT, False)), "waiting"),
        (DayState(row("complete"), is_recorded=True), "late-data"),
        (DayState(row("complete", None), is_recorded=True), "unproved-list"),
    ],
)
def test_a_day_is_owed_for_the_first_reason_that_holds(state: DayState, reason: str) -> None:
    assert state.owed_reason() == reason


def test_every_reason_is_a_valid_tag() -> None:
    for reason in OwedReason:  # a definition's tags obey the strictest rules
        job = dg.define_asset_job("a_job", tags={REASON_TAG: str(reason)})
        assert job.tags == {REASON_TAG: str(reason)}
