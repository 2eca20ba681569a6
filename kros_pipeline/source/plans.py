"""What each plan of KrosAI allows, and until when upstream keeps a recording.

Source: the Recordings and Rate limits pages of KrosAI's documentation. Enterprise's figures are by contract, so that
its rate and retention are the settings' to name.
"""

from dataclasses import dataclass
from datetime import date, timedelta


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


def upstream_expires_on(call_date: date, retention_days: int | None) -> date | None:
    """The first day on which upstream may have deleted the recording, extensions aside; None without an end."""
    return None if retention_days is None else call_date + timedelta(days=retention_days)


def days_to_send(requested_days: int, plan: Plan, retention_days: int | None) -> int | None:
    """The days of an extension, at most the plan's maximum; None where upstream keeps that long already."""
    if plan.maximum_retention_days is None:
        return requested_days
    if retention_days is not None and retention_days >= plan.maximum_retention_days:
        return None
    return min(requested_days, plan.maximum_retention_days)


def warning_days(retention_days: int) -> tuple[int, int]:
    """With how many days left an unarchived recording is a warning, and with how many an error: 7 and 3 of 30."""
    return max(3, min(7, retention_days // 4)), max(1, min(3, retention_days // 7))
