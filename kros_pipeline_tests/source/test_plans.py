"""What the plans allow, and until when upstream keeps a recording."""

from datetime import date

import pytest

from kros_pipeline.core.retention import upstream_expires_on
from kros_pipeline.source.plans import PLANS, allowed_extension_days


@pytest.mark.parametrize(
    ("name", "requests_per_second", "requests_per_day", "default_days", "maximum_days"),
    [
        ("free", 10, 1_000, 7, 7),
        ("pro", 50, 50_000, 30, 90),
        ("business", 200, 500_000, 90, 365),
        ("enterprise", None, None, None, None),
    ],
)
def test_the_plans_are_the_documented_ones(
    name: str, requests_per_second: int, requests_per_day: int, default_days: int, maximum_days: int
) -> None:
    plan = PLANS[name]
    assert (plan.name, plan.requests_per_second, plan.requests_per_day) == (name, requests_per_second, requests_per_day)
    assert (plan.default_retention_days, plan.maximum_retention_days) == (default_days, maximum_days)


def test_there_are_no_other_plans() -> None:
    assert list(PLANS) == ["free", "pro", "business", "enterprise"]


@pytest.mark.parametrize(
    ("call_date", "retention_days", "expires_on"),
    [
        # counted from the call's day, over months, years and leap days
        (date(2025, 1, 10), 7, date(2025, 1, 17)),
        (date(2024, 2, 27), 3, date(2024, 3, 1)),
        (date(2025, 12, 31), 1, date(2026, 1, 1)),
        # a plan without an end has none
        (date(2025, 1, 10), None, None),
    ],
)
def test_upstream_may_delete_from_the_earliest_day_that_the_documentation_allows(
    call_date: date, retention_days: int | None, expires_on: date | None
) -> None:
    assert upstream_expires_on(call_date, retention_days) == expires_on


@pytest.mark.parametrize(
    ("requested", "plan", "retention_days", "sent"),
    [
        # within the plan
        (60, "pro", 30, 60),
        (90, "pro", 30, 90),
        # cut to its maximum
        (365, "pro", 30, 90),
        (36_500, "business", 90, 365),
        (365, "business", 90, 365),
        # nothing to ask for: upstream keeps the maximum already
        (365, "free", 7, None),
        (365, "pro", 90, None),
        (1, "business", 365, None),
        # an unlimited plan takes anything
        (365, "enterprise", None, 365),
        (36_500, "enterprise", 30, 36_500),
        # retention unknown
        (365, "pro", None, 90),
    ],
)
def test_an_extension_asks_for_no_more_than_the_plan_allows(
    requested: int, plan: str, retention_days: int | None, sent: int | None
) -> None:
    assert allowed_extension_days(requested, PLANS[plan], retention_days) == sent
