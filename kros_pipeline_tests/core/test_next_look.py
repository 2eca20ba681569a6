"""When a day is looked at again: at once where the next run can change something, and not every hour elsewhere."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kros_pipeline.core.evidence import Evidence
from kros_pipeline.core.listing import Listing
from kros_pipeline.core.next_look import NextLook, plan_next_look
from kros_pipeline.core.statuses import DayVerdict
from kros_pipeline_tests.support.accounts import AFTER_GRACE, DAY, WITHIN_GRACE

PROVED = Listing(proved=True, listed_total=2)
GRACE_ENDS = datetime(2025, 1, 14, tzinfo=UTC)
LAST_CHANCE_BEGINS = datetime(2025, 4, 8, tzinfo=UTC)


def evidence(*first_answers: datetime, **changes: Any) -> Evidence:
    """A day of which nothing is missing but second answers."""
    found = Evidence(listing=PROVED, calls=2, recordings=Counter(archived=1), grace_is_over=True)
    for at in first_answers:
        found.add_answered_once("recordings", at)
    return replace(found, **changes)


def plan(
    found: Evidence,
    verdict: DayVerdict = DayVerdict.WAITING,
    *,
    now: datetime = AFTER_GRACE,
    retention_days: int | None = 90,
) -> NextLook | None:
    return plan_next_look(DAY, found, verdict, now=now, lookback_days=3, retention_days=retention_days)


@pytest.mark.parametrize("grace_is_over", [True, False], ids=["after grace", "within grace"])
@pytest.mark.parametrize(
    "changes",
    [
        {"listing": None},
        {"listing": replace(PROVED, proved=False, problems=["The list was not read to its end: budget."])},
        {"listing": replace(PROVED, pending=["1 calls came to the list after it was read."])},
        {"listed_before_late_data": True},
        {"pending_by_error": 1},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_day_of_which_something_failed_is_due_at_once(changes: dict[str, Any], grace_is_over: bool) -> None:
    now = AFTER_GRACE if grace_is_over else WITHIN_GRACE
    assert plan(evidence(now, grace_is_over=grace_is_over, **changes), now=now) is None


def test_an_incomplete_day_is_due_at_once() -> None:
    assert plan(evidence(AFTER_GRACE), DayVerdict.INCOMPLETE) is None
    assert plan(evidence(grace_is_over=False), DayVerdict.INCOMPLETE, now=WITHIN_GRACE) is None


@pytest.mark.parametrize("verdict", [DayVerdict.WAITING, DayVerdict.COMPLETE])
@pytest.mark.parametrize(
    ("now", "at"),
    [
        (WITHIN_GRACE, WITHIN_GRACE + timedelta(hours=20)),
        (GRACE_ENDS - timedelta(hours=20), GRACE_ENDS),
        (GRACE_ENDS - timedelta(hours=19), GRACE_ENDS),
        (GRACE_ENDS - timedelta(seconds=1), GRACE_ENDS),
    ],
    ids=str,
)
def test_a_day_within_its_grace_days_rests_for_twenty_hours_and_not_beyond_their_end(
    now: datetime, at: datetime, verdict: DayVerdict
) -> None:
    assert plan(evidence(grace_is_over=False), verdict, now=now) == NextLook(at, is_for_second_answers=False)


def test_a_day_after_its_grace_days_is_looked_at_when_its_last_second_answer_is_due() -> None:
    first, last = AFTER_GRACE - timedelta(hours=9), AFTER_GRACE
    assert plan(evidence(last, first)) == NextLook(last + timedelta(hours=20), is_for_second_answers=True)


def test_a_day_of_which_nothing_is_missing_has_no_next_look() -> None:
    assert plan(evidence(), DayVerdict.COMPLETE) is None


def test_a_day_does_not_rest_into_its_last_chance() -> None:
    now = LAST_CHANCE_BEGINS - timedelta(hours=5)
    assert plan(evidence(now), now=now) == NextLook(LAST_CHANCE_BEGINS, is_for_second_answers=True)
    assert plan(evidence(now), now=now, retention_days=None) == NextLook(
        now + timedelta(hours=20), is_for_second_answers=True
    )
