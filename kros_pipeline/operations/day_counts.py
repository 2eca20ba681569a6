"""Count the calls of many days with at most one request a day: a window is halved until one page holds it.

The total of a window is the sum of its halves: the second half of a window needs no request for its total. So n days
take n requests at most, and one where a single page holds them all.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from ..core.backlog_plan import DayCount
from ..core.calls import Call
from ..core.days import end_of, start_of
from ..core.errors import TooManyRequests, WrongArchive
from ..core.transcript_cuts import is_shortened
from ..source.call_source import CallSource, Page, Window
from ..steps.list_limits import may_be_a_limit
from ..steps.listed_rows import describe_foreign_rows
from .first_page import ask_first_page


@dataclass
class CallCounts:
    """The count of each day, and what is to be known of them all."""

    days: dict[date, DayCount] = field(default_factory=dict)
    requests: int = 0
    note: str = ""


def count_calls(days: Iterable[date], source: CallSource) -> CallCounts:
    """Count the calls of days. A day for which no request is left has no count.

    Raises `TooManyRequests` where none was left for the first one.
    """
    wanted = sorted(days)
    counter = _Counter(source, budget=len(wanted))
    for group in _consecutive(wanted):
        counter.count(group)
        if not counter.has_date_filter:
            return counter.spread(wanted)
    return counter.counts()


def _consecutive(days: Sequence[date]) -> list[list[date]]:
    groups: list[list[date]] = []
    for day in days:
        if groups and day - groups[-1][-1] == timedelta(days=1):
            groups[-1].append(day)
        else:
            groups.append([day])
    return groups


class _Counter:
    def __init__(self, source: CallSource, *, budget: int):
        self._source, self._budget = source, budget
        self._before = source.requests_made
        self._days: dict[date, DayCount] = {}
        self._unfiltered: Page | None = None
        self._note = ""

    @property
    def has_date_filter(self) -> bool:
        return self._unfiltered is None

    def counts(self, note: str = "") -> CallCounts:
        notes = " ".join(filter(None, (self._note, note)))
        return CallCounts(self._days, self._source.requests_made - self._before, notes)

    def count(self, days: list[date], total: int | None = None) -> int | None:
        """Count the calls of consecutive days, whose `total` may be known. Return it; None where it is not known."""
        if total == 0 or (total is not None and len(days) == 1):
            self._days |= {day: DayCount(total if len(days) == 1 else 0) for day in days}
            return total
        if total is None or total <= self._source.page_limit:
            page = self._ask(days)
            if page is None:
                return None
            by_day = _by_day(page, days)
            if _is_whole(page, self._source.page_limit):
                self._days |= {day: _count(by_day[day], len(by_day[day])) for day in days}
                return page.row_count
            has_limit = page.total is None or may_be_a_limit(page.total)
            if len(days) == 1:
                count = page.total if page.total is not None else page.row_count
                self._days[days[0]] = _count(by_day[days[0]], count, is_at_least=has_limit)
                return None if has_limit else count
            total = None if has_limit else page.total
        middle = (len(days) + 1) // 2
        left = self.count(days[:middle])
        if self._unfiltered is not None:
            return None
        right = self.count(days[middle:], max(0, total - left) if total is not None and left is not None else None)
        return left + right if left is not None and right is not None else None

    def _ask(self, days: list[date]) -> Page | None:
        """Return the first page of a window of days; None where no request is left, or dates have no effect."""
        if self._source.requests_made - self._before >= self._budget:
            return None
        try:
            page, has_date_filter = ask_first_page(self._source, days[0], Window(start_of(days[0]), end_of(days[-1])))
        except TooManyRequests as error:
            if not self._days:
                raise
            self._budget, self._note = 0, f"Not every day was asked about: {error}."
            return None
        if page.foreign_ids:
            raise WrongArchive(describe_foreign_rows(len(page.foreign_ids)))
        if not has_date_filter:
            self._unfiltered = page
            return None
        return page

    def spread(self, days: list[date]) -> CallCounts:
        """Spread the calls of a list without a date filter evenly over its days, which its last page shows."""
        page = self._unfiltered
        total = (page.total if page is not None else None) or 0
        if page is None or not total:
            return self.counts("The list has no date filter and names no total: the calls of a day are not known.")
        limit = page.limit or self._source.page_limit
        last = -(-total // limit)
        pages = [page, self._source.list_page(None, (last - 1) * limit, last)] if last > 1 else [page]
        calls = [listed.call for one in pages for listed in one.calls]
        dates = [call.created_at.date() for call in calls]
        span = (max(dates) - min(dates)).days + 1 if dates else 1
        share = _count(calls, round(total / span), is_at_least=True)
        within = range(min(dates).toordinal(), max(dates).toordinal() + 1) if dates else range(0)
        self._days = {day: share if day.toordinal() in within else DayCount(0) for day in days}
        return self.counts(
            f"The list has no date filter: its {total:,} calls are spread evenly over the {span} days from "
            f"{min(dates)} to {max(dates)}."
        )


def _is_whole(page: Page, page_limit: int) -> bool:
    """Return whether a first page has all rows of its window."""
    return page.row_count == page.total if page.total is not None else page.row_count < (page.limit or page_limit)


def _by_day(page: Page, days: list[date]) -> dict[date, list[Call]]:
    """Sort the rows by their days; a row of a day beside the window counts for the nearest one."""
    by_day: dict[date, list[Call]] = {day: [] for day in days}
    for listed in page.calls:
        by_day[min(max(listed.call.created_at.date(), days[0]), days[-1])].append(listed.call)
    return by_day


def _count(calls: Sequence[Call], total: int, *, is_at_least: bool = False) -> DayCount:
    recorded = [call for call in calls if call.has_recording]
    timed = [call.duration_seconds for call in recorded if call.duration_seconds is not None]
    texts = [call.listed_transcript for call in calls]
    return DayCount(
        calls=total,
        rows=len(calls),
        recorded=len(recorded),
        seconds=sum(timed),
        timed=len(timed),
        without_text=sum(text is None or is_shortened(text) for text in texts),
        is_at_least=is_at_least,
    )
