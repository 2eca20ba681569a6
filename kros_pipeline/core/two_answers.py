"""Decide when "upstream has none" is final: after two answers, 20 hours apart.

One answer is not enough: a recording may appear hours after its call, and a deployment that is being changed answers
404 for a while. A row of the list without a URL, or without a text, is an answer, too, but not enough by itself: the
list hides recordings that a request for the call shows. So the second answer costs no request where either of the two
is a row of the list.
"""

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Self

from .days import parse_time, start_of
from .retention import upstream_expires_on

HOURS_APART = 20
_APART = timedelta(hours=HOURS_APART)
_LAST_CHANCE = timedelta(hours=48)
_LONGEST_CALL = timedelta(days=1)
_LISTED, _ASKED = "the list shows none", "asked, upstream has none"  # stored in tables: they must not change
_REASON = re.compile(rf"({_LISTED}|{_ASKED}) \(first answer: (\S+)\)")


@dataclass(frozen=True, slots=True)
class FirstAnswer:
    """When upstream first answered that a call has no recording, and whether the call was asked for since then.

    Without a request for the call, only the list's row has said it.
    """

    at: datetime
    is_asked: bool

    def __str__(self) -> str:
        what, next_step = (
            (_ASKED, f"a second answer, {HOURS_APART} hours later, settles it")
            if self.is_asked
            else (_LISTED, "upstream is asked after the grace days")
        )
        return f"{what} (first answer: {self.at.isoformat(timespec='seconds')}); {next_step}"

    @classmethod
    def parse(cls, reason: str | None) -> Self | None:
        """Read the answer from the text that `str` made of it; None where a row has another reason."""
        found = _REASON.match(reason or "")
        at = parse_time(found[2]) if found else None
        return cls(at, is_asked=found[1] == _ASKED) if found and at else None


def are_two(first: datetime | None, second: datetime | None) -> bool:
    """Return whether two answers are far enough apart."""
    return first is not None and second is not None and second - first >= _APART


def second_is_due(first: datetime) -> datetime:
    """Return the time from which on an answer is the second one."""
    return first + _APART


def is_after_call(at: datetime, created_at: datetime, completed_at: datetime | None) -> bool:
    """Return whether an answer came after the call's end. No call lasts longer than a day, whatever upstream says."""
    return at >= min(completed_at or created_at, created_at + _LONGEST_CALL)


def last_chance_begins(day: date, retention_days: int | None) -> datetime | None:
    """Return when less than 48 hours of retention remain: from then on one answer settles a call. None: never."""
    expires_on = upstream_expires_on(day, retention_days)
    return None if expires_on is None else start_of(expires_on) - _LAST_CHANCE


def is_last_chance(day: date, retention_days: int | None, now: datetime) -> bool:
    """Return whether one answer settles a call: less than 48 hours of retention remain, or it is over."""
    begins = last_chance_begins(day, retention_days)
    return begins is not None and now >= begins
