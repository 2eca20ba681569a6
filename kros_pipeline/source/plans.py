"""What each plan of KrosAI allows.

Source: the Recordings and Rate limits pages of KrosAI's documentation. Enterprise's figures are by contract, so that
the settings name its rate and retention.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """One plan. None stands for "custom" or "unlimited"."""

    name: str
    requests_per_second: int | None
    requests_per_day: int | None
    default_retention_days: int | None
    maximum_retention_days: int | None


PLANS = {
    plan.name: plan
    for plan in (
        Plan("free", 10, 1_000, 7, 7),
        Plan("pro", 50, 50_000, 30, 90),
        Plan("business", 200, 500_000, 90, 365),
        Plan("enterprise", None, None, None, None),
    )
}


def allowed_extension_days(requested_days: int, plan: Plan, retention_days: int | None) -> int | None:
    """Return the days of an extension, at most the plan's maximum; None where upstream keeps that long already."""
    if plan.maximum_retention_days is None:
        return requested_days
    if retention_days is not None and retention_days >= plan.maximum_retention_days:
        return None
    return min(requested_days, plan.maximum_retention_days)
