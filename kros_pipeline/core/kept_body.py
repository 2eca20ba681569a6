"""When a recording whose body was rejected, and is kept in quarantine, is downloaded again.

The same bytes come again in most cases. So the waits double; the last try is a day before retention ends.
"""

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Self

from .days import parse_time, start_of

_RUNS_WITHOUT_WAIT = 2
_LAST_TRY_BEFORE = timedelta(days=1)
_FIRST_WAIT, _LONGEST_WAIT = timedelta(hours=20), timedelta(days=8)
_REASON = re.compile(
    r"kept in quarantine, rejected in (\d+) runs?: it is (?:not downloaded again|tried again from (\S+) on)"
)


def without_kept_body(reason: str) -> str:
    """Return a row's reason without what it says of the kept body."""
    return _REASON.sub("", reason).rstrip("; ")


@dataclass(frozen=True, slots=True)
class KeptBody:
    """In how many runs in a row the same body came and was rejected, and from when on it is downloaded again.

    `next_at` None: not again, unless something changes or an operator names the call.
    """

    runs: int
    next_at: datetime | None

    def __str__(self) -> str:
        when = (
            f"tried again from {self.next_at.isoformat(timespec='seconds')} on"
            if self.next_at
            else "not downloaded again"
        )
        return f"kept in quarantine, rejected in {self.runs} run{'s' * (self.runs != 1)}: it is {when}"

    @classmethod
    def parse(cls, reason: str | None) -> Self | None:
        """Read it from the reason of a row; None where that says nothing of a kept body."""
        found = _REASON.search(reason or "")
        return cls(int(found[1]), parse_time(found[2]) if found[2] else None) if found else None

    @classmethod
    def after(
        cls, runs: int, now: datetime, expires_on: date | None, *, is_page: bool = False, may_change: bool = True
    ) -> Self:
        """Make it after one more run. `may_change` is False where upstream itself has no other bytes.

        `is_page`: a page of text came, as of a service that is down. The next two runs try again without a wait.
        """
        waits = runs - _RUNS_WITHOUT_WAIT * is_page
        wait = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(waits - 1, 8)) if waits > 0 else timedelta()
        next_at = now + wait
        if expires_on is not None and next_at >= start_of(expires_on):  # once more before upstream may delete it
            next_at = start_of(expires_on) - _LAST_TRY_BEFORE
        return cls(runs, next_at if may_change and next_at >= now else None)

    def is_due(self, now: datetime) -> bool:
        """Return whether the recording is to be downloaded again."""
        return self.next_at is not None and now >= self.next_at
