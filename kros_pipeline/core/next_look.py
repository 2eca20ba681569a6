"""When a day is worth another look: late data and second answers do not come sooner for hourly requests."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from .days import grace_ends_at
from .evidence import Evidence
from .statuses import DayVerdict
from .two_answers import last_chance_begins

_BETWEEN_LOOKS = timedelta(hours=20)  # of a day within its grace days


@dataclass(frozen=True, slots=True)
class NextLook:
    """The time of the next look. `is_for_second_answers` is True where nothing else is missing of the day."""

    at: datetime
    is_for_second_answers: bool


def plan_next_look(
    day: date,
    evidence: Evidence,
    verdict: DayVerdict,
    *,
    now: datetime,
    lookback_days: int,
    retention_days: int | None,
) -> NextLook | None:
    """Return when the day is to be looked at again; None where it is due at once, or settled.

    It is due at once where something failed, was not tried, or may be proved by the next run.
    """
    listing = evidence.listing
    is_settled_by_next_run = listing is None or listing.problems or listing.pending or evidence.listed_before_late_data
    if verdict == DayVerdict.INCOMPLETE or is_settled_by_next_run or evidence.pending_by_error:
        return None
    if not evidence.grace_is_over:
        return NextLook(min(grace_ends_at(day, lookback_days), now + _BETWEEN_LOOKS), is_for_second_answers=False)
    due_at = evidence.second_answers_due_at
    if due_at is None:
        return None
    last_chance = last_chance_begins(day, retention_days)
    return NextLook(min(due_at, last_chance) if last_chance else due_at, is_for_second_answers=True)
