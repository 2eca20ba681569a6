"""Accounts for every row that the list showed.

A row is of this day, of another day, of a status that is documented as not completed, of another organization, or no
call. A row that lies outside the window that was asked for is evidence: the filter does not understand our times as we
mean them. Of another organization's rows nothing but their number is used.
"""

from collections.abc import Iterator
from datetime import date, datetime, timedelta

from ..core.call_statuses import is_completed
from ..core.calls import Call
from ..core.days import end_of, start_of
from ..core.digest_set import DigestSet
from ..core.redaction import redact
from ..source.call_source import ListedCall, Page, Window
from .call_runs import CallRuns
from .local_file import LocalFile
from .unparsed_file import UnparsedFile

OTHER_DAYS = 2  # a widened window shows rows of at most two days before and after
_TOLERANCE = timedelta(minutes=1)
_FAR = timedelta(days=3)  # no shift, and no filter that reads days only, explains such a row
_MAX_NAMED_STATUSES = 3


class ListedRows:
    """The rows of one day's list. Its calls go to `runs`, those of other days, too. `ids` are those of the day.

    Rows that are no calls are kept in `file`. Other days' rows share it.
    """

    def __init__(self, day: date, runs: CallRuns, file: LocalFile | None = None):
        self._day, self._runs, self._since = day, runs, 0
        self._is_another_days = False
        self.ids = DigestSet()
        self._file = file or LocalFile()
        self.unparsed = UnparsedFile(self._file)
        self.longest_beyond = timedelta(0)  # of calls that began before the window asked for and ended within it
        self._earliest = self._latest = timedelta(0)  # how far rows lie before and behind the window asked for
        self._has_naive_times = False  # of rows that lie outside
        self._unknown_statuses: set[str] = set()
        self._first: datetime | None = None
        self._last: datetime | None = None
        self._has_near = False  # rows outside the window asked for
        self._far: set[str] = set()  # those days away from it: two are enough
        self._not_completed = 0
        self._has_no_windows = False
        self._foreign = DigestSet()

    def add(self, page: Page, window: Window | None) -> None:
        """Account for the rows of one page of a window; of a page without one, where the list has no date filter."""
        is_near = window is not None or self._is_beside_day(page)
        if is_near:
            self._foreign.update(page.foreign_ids)
        ids: list[str] = []
        for listed in page.calls:
            call = listed.call
            completed = is_completed(call.status)
            is_explained = self._compare_with_window(listed, window) if window is not None else False
            if completed is False:
                self._not_completed += 1
                continue
            if completed is None:
                self._unknown_statuses.add(call.status or "")
            if call.call_date == self._day:
                ids.append(call.call_id)
                self.unparsed.discard_call(call.call_id)
            if not self._is_another_days and self._is_kept(call, is_explained=is_explained):
                self._runs.add(call.call_date, call)
        self.ids.update(ids)
        for row in page.unparsed:
            is_of_day = is_near if row.created_at is None else row.created_at.date() == self._day
            if is_of_day and (row.call_id is None or row.call_id not in self.ids):
                self.unparsed.add(row)

    def close(self) -> None:
        """Delete the file of the rows that are no calls."""
        self._file.close()

    @property
    def other_days(self) -> list[date]:
        """The days of the other calls; of another day's rows, those near to it: the others are seen to already."""
        return [
            other
            for other in self._runs.days
            if other != self._day and (not self._is_another_days or self._is_near(other))
        ]

    def batches_of(self, day: date) -> Iterator[list[Call]]:
        """Yield the calls of any day in ascending order of their ids, some at a time."""
        return self._runs.batches_of(day, self._since)

    def of_another_day(self, day: date) -> "ListedRows":
        """Return an account of the rows that come from now on, for another day, where the list has no windows.

        The calls of both days are kept here.
        """
        rows = ListedRows(day, self._runs, self._file)
        rows.forget_windows()
        rows._is_another_days, rows._since = True, self._runs.cut()
        return rows

    @property
    def are_all_foreign(self) -> bool:
        """Whether rows came, and all of them were another organization's."""
        return len(self._foreign) > 0 and self._first is None and not self.unparsed

    @property
    def is_shown_earlier(self) -> bool:
        """Whether rows lie before the window asked for: then the end of the day may be missing."""
        return bool(self._earliest)

    @property
    def is_shown_later(self) -> bool:
        """Whether rows lie behind the window asked for: then the beginning of the day may be missing."""
        return bool(self._latest)

    @property
    def is_on_both_sides(self) -> bool:
        """Whether rows came from before the day and from behind it."""
        first, last = self._first, self._last
        return first is not None and last is not None and first < start_of(self._day) and last >= end_of(self._day)

    @property
    def is_unfiltered(self) -> bool:
        """Whether the date filter has no effect: more than a single row is days away from the window asked for."""
        return self._has_no_windows or len(self._far) > 1

    @property
    def has_rows_outside(self) -> bool:
        """Whether a row lies outside the window asked for, and its end does not explain why."""
        return self._has_near or bool(self._far)

    def forget_windows(self) -> None:
        """Forget what the rows showed of the date filter: it has no effect."""
        self._has_no_windows = True
        self._has_near, self._far = False, set()
        self._foreign, self.unparsed = DigestSet(), UnparsedFile(self._file)
        self._earliest = self._latest = self.longest_beyond = timedelta(0)

    def oddities(self) -> list[str]:
        """Return a sentence for each thing that is odd about the rows. The day may be complete all the same."""
        sentences = []
        if self._not_completed:
            sentences.append("the status filter is ignored upstream: calls that are not completed were left out")
        if self.is_unfiltered:
            sentences.append("the date filter is ignored upstream: calls of other days were listed and left out")
        elif self._far:
            sentences.append(
                f"{len(self._far)} rows lie more than 3 days outside the hours asked for, and were left out"
            )
        if self._has_near and not self.is_unfiltered:
            sentences.append(
                "the date filter does not understand our times: rows came that lie up to "
                f"{_in_hours(max(self._earliest, self._latest))} outside the hours asked for, so more hours were listed"
            )
        if self._unknown_statuses:
            names = ", ".join(sorted(redact(status) for status in self._unknown_statuses)[:_MAX_NAMED_STATUSES])
            sentences.append(f"calls with a status that is not documented were kept: {names}")
        return sentences

    def problems(self) -> list[str]:
        """Return a sentence where rows were another organization's, or show that their times are not UTC."""
        sentences = [describe_foreign_rows(len(self._foreign))] if len(self._foreign) else []
        is_one_sided = bool(self._earliest) != bool(self._latest)  # a filter that reads days only shows both
        if self._has_naive_times and is_one_sided and not self.is_unfiltered:
            sentences.append(
                "The list's times have no zone, and they are not UTC: rows lie up to "
                f"{_in_hours(max(self._earliest, self._latest))} outside the hours asked for. Set KROSAI_TIMEZONE to "
                "the zone of the account (UTC, if the times are UTC after all)."
            )
        return sentences

    def _compare_with_window(self, listed: ListedCall, window: Window) -> bool:
        """Compare a row with the window that was asked for. Return whether its end explains why it came."""
        call = listed.call
        self._first = min(self._first or call.created_at, call.created_at)
        self._last = max(self._last or call.created_at, call.created_at)
        before, behind = window.start - call.created_at, call.created_at - window.end
        if max(before, behind) <= _TOLERANCE:
            return False
        later_times = [time for time in (call.answered_at, call.completed_at) if time is not None]
        if any(window.start - _TOLERANCE <= time <= window.end + _TOLERANCE for time in later_times):
            self.longest_beyond = max(self.longest_beyond, max(later_times) - call.created_at)
            return True
        if max(before, behind) > _FAR:
            if len(self._far) < 2:
                self._far.add(call.call_id)
            return False
        self._has_near = True
        self._earliest, self._latest = max(self._earliest, before), max(self._latest, behind)
        self._has_naive_times = self._has_naive_times or not listed.has_zone
        return False

    def _is_beside_day(self, page: Page) -> bool:
        """Return whether a row without a time, on a page of a list without a date filter, may be of the day."""
        times = [listed.call.created_at for listed in page.calls]
        return not times or (min(times) < end_of(self._day) and max(times) >= start_of(self._day))

    def _is_kept(self, call: Call, *, is_explained: bool) -> bool:
        return is_explained or self._has_no_windows or self._is_near(call.call_date)

    def _is_near(self, other: date) -> bool:
        return abs((other - self._day).days) <= OTHER_DAYS


def describe_foreign_rows(count: int) -> str:
    """Return the sentence for rows of another organization. It names none of them."""
    return (
        f"The list shows rows of another organization ({count:,}): they were refused, and nothing of them is kept. "
        "Compare KROSAI_ORGANIZATION_ID with the organization in the KrosAI dashboard; if they are equal, ask KrosAI "
        "why its list shows others."
    )


def _in_hours(time: timedelta) -> str:
    return f"{time.total_seconds() / 3600:.1f} hours"
