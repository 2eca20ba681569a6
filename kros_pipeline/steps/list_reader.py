"""Reads the list of a day's calls, and proves by additivity that it was read whole.

One number that agrees is no proof: a `total` can be a limit, and one call can vanish while another appears. So the
totals of a window and of its two halves are asked for, the halves are read, and their distinct calls have to be exactly
as many as the whole's total. Then the first pages are asked for again: nothing may have changed meanwhile.

Whatever could not be proved is returned all the same; only the verdict waits for a proof.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta

from ..core.days import LISTED_BEYOND, end_of, start_of
from ..core.errors import RequestRefused
from ..source.call_source import CallSource, Page, Window
from ..source.time_format import format_time
from .list_limits import ListLimits, may_be_a_limit
from .listed_rows import ListedRows

_MARGIN = timedelta(minutes=1)  # of the day's window, at both ends
_OVERLAP = timedelta(seconds=2)  # at each side of a border: no bound may be exclusive, and times may be rounded
_WEST, _EAST = timedelta(hours=12), timedelta(hours=14)  # UTC-12 and UTC+14: no account's times are further from UTC
_MAX_LOOKS = 3
_MAX_ROWS_PER_WINDOW = 10_000  # many services serve deeper offsets slowly, or refuse them
_SHORTEST_WINDOW = timedelta(seconds=10)
_USUAL_OVERLAP = 1.2  # the most that totals of two halves usually are, in totals of the whole
_USUAL_LIMITS = 1_000  # and its multiples
_PROGRESS_EVERY_PAGES = 50
_MAX_REQUESTS_PER_PAGE, _MORE_REQUESTS = 5, 60


@dataclass
class _Reading:
    """What one reading of a window saw."""

    total: int | None
    rows: set[str] = field(default_factory=set)
    is_consistent: bool = True  # every page reported the same total
    is_repeating: bool = False  # the last page held nothing new
    refusal: str | None = None  # why a later page was refused

    @property
    def is_whole(self) -> bool:
        return self.is_consistent and self.refusal is None and self.total == len(self.rows)


class ListReader:
    """Reads one day's list, window by window. The attributes hold what came so far, also after an error.

    `windows` are those to list again for fresh URLs. `on_first_page` is called once the source has accepted the key,
    before anything is kept.
    """

    def __init__(
        self,
        source: CallSource,
        day: date,
        *,
        prefetch_pages: int,
        on_first_page: Callable[[], None],
        log: logging.Logger,
    ):
        self._source, self._day, self._log = source, day, log
        self._prefetch_pages, self._on_first_page = prefetch_pages, on_first_page
        self.rows = ListedRows(day)
        self.limits = ListLimits()
        self.windows: list[Window] = []
        self.problems: list[str] = []
        self.is_moving = False  # the only problem is that the list changed while it was read
        self.pages = 0
        self._seen: set[str] = set()
        self._page_limit = source.page_limit  # or less, where the answers say so
        self._has_divided = True  # False where the filter reads days only, or nothing

    def read(self) -> None:
        """Read the day. Raises `ApiError`.

        Three more hours are listed, and more where the rows show that the filter understands other times than ours: up
        to what an account at UTC-12 or UTC+14 needs.
        """
        begin, end = start_of(self._day), end_of(self._day)
        self._prove(Window(begin - _MARGIN, end + _MARGIN))
        if self._has_divided and not self.rows.is_unfiltered:
            late_end = end + LISTED_BEYOND
            self._read_beyond(Window(end + _MARGIN - _OVERLAP, late_end))
            if self.rows.is_shown_earlier:
                self._prove_beyond(Window(late_end - _OVERLAP, end + _EAST + _MARGIN))
            if self.rows.is_shown_later:
                self._prove_beyond(Window(begin - _WEST - _MARGIN, begin - _MARGIN + _OVERLAP))
        if zone_problems := self.rows.problems():
            self.problems += zone_problems
            self.is_moving = False

    def _prove(self, window: Window, first: Page | None = None) -> set[str]:
        """Read a window in halves, and compare what came with its total. Return what identifies its rows."""
        halves = _halve(window)
        rows: set[str] = set()
        if halves is None or self._has_asked_enough():
            rows = self._read_alone(window, first)
            if halves is not None:
                self._report(window, f"after {self.pages} requests its totals still disagree")
            return rows
        for _ in range(_MAX_LOOKS):
            whole, first = first or self._first_page(window), None
            parts = [self._first_page(half) for half in halves]
            is_too_long = any(self.limits.is_beyond(page.total, _MAX_ROWS_PER_WINDOW) for page in parts)
            is_paged = (whole.total or 0) > self._page_limit
            if (is_too_long or is_paged) and self._is_undivided(window, whole, parts):
                return self._read_undivided(window, whole)
            if is_too_long or self._is_in_one_half(whole, parts):
                return self._split(window, whole, halves, parts)
            readings = [self._read(half, page) for half, page in zip(halves, parts, strict=True)]
            rows = whole.identities.union(*(reading.rows for reading in readings))
            if self._has_changed((*halves, window), (*parts, whole), rows):
                continue
            if all(reading.is_whole for reading in readings) and len(rows) == whole.total:
                self.windows += halves if is_paged else [window]
                return rows
            return self._doubt(window, whole, halves, parts, readings)
        self.windows.append(window)
        self._report_moving(window)
        return rows

    def _doubt(
        self, window: Window, whole: Page, halves: list[Window], parts: list[Page], readings: list[_Reading]
    ) -> set[str]:
        """Split the halves further where a limit of the list explains why the numbers disagree; else report it."""
        rows = whole.identities.union(*(reading.rows for reading in readings))
        totals = [whole.total, *(reading.total for reading in readings)]
        are_whole = all(reading.is_whole for reading in readings)
        for reading in readings:
            self.limits.compare(reading.total, len(reading.rows), page_limit=self._page_limit)
        if are_whole:
            self.limits.compare(whole.total, len(rows), page_limit=self._page_limit)
        says_too_much = are_whole and (whole.total or 0) > len(rows)
        if None in totals or says_too_much or self.limits.are_refuted or self._has_asked_enough():
            self.windows.append(window)
            self._report(window, _describe(whole.total, len(rows), readings))
            return rows
        return self._split(window, whole, halves, parts)

    def _split(self, window: Window, whole: Page, halves: list[Window], parts: list[Page]) -> set[str]:
        """Prove each half by itself, and compare both with the whole's total, which may be a limit."""
        problem_count = len(self.problems)
        rows = whole.identities.union(*(self._prove(half, page) for half, page in zip(halves, parts, strict=True)))
        if len(self.problems) > problem_count or whole.total == len(rows):
            return rows
        again = self._first_page(window)
        if again.total is not None and (
            again.total == len(rows) or again.total < len(rows) == len(rows | again.identities)
        ):
            return rows  # where the total is smaller, it is a limit: both halves were proved without it
        if again.total != whole.total:
            self._report_moving(window)
        else:
            self._report(window, f"`total` says {again.total}, and its parts have {len(rows)} distinct rows")
        return rows

    def _is_undivided(self, window: Window, whole: Page, parts: list[Page]) -> bool:
        """Return whether the filter does not divide a window, as one that reads days only: two seconds show it."""
        sum_of_parts = sum(page.total or 0 for page in parts)
        if whole.total is None or sum_of_parts <= _USUAL_OVERLAP * whole.total:
            return False
        middle = window.start + (window.end - window.start) / 2
        moment = self._first_page(Window(middle, middle + _OVERLAP))
        return (moment.total or 0) > whole.total / 10

    def _read_undivided(self, window: Window, first: Page) -> set[str]:
        """Read a window that the filter does not divide: its total has to agree, and not to be a limit."""
        self._has_divided = False
        self.windows.append(window)
        rows: set[str] = set()
        for look in range(_MAX_LOOKS):
            page = first if look == 0 else self._first_page(window)
            reading = self._read(window, page)
            rows |= reading.rows
            is_last = look == _MAX_LOOKS - 1
            if self._has_changed((window,), (page,), reading.rows) or not (reading.is_whole or is_last):
                continue
            if not reading.is_whole:
                self._report(window, _describe(reading.total, len(reading.rows), [reading]))
            elif may_be_a_limit(reading.total, step=_USUAL_LIMITS) and not self._is_sum_of_days(window, reading):
                self._report(
                    window, f"`total` says {reading.total}, which may be a limit, and no smaller window proves it"
                )
            return rows
        self._report_moving(window)
        return rows

    def _is_in_one_half(self, whole: Page, parts: list[Page]) -> bool:
        """Return whether one half has all rows, so that its total proves nothing that the whole's does not."""
        return may_be_a_limit(whole.total, step=self._page_limit) and whole.total in [page.total for page in parts]

    def _is_sum_of_days(self, window: Window, reading: _Reading) -> bool:
        """Return whether the days of a window, of which more than one has rows, have as many as the window has."""
        first, last = window.start.date(), window.end.date()
        days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
        totals = [self._first_page(Window(start_of(day), end_of(day) - _OVERLAP)).total or 0 for day in days]
        return sum(totals) == reading.total and max(totals) < sum(totals)

    def _read_alone(self, window: Window, first: Page | None) -> set[str]:
        """Read a window that is too short to be halved."""
        reading = self._read(window, first or self._first_page(window))
        self.windows.append(window)
        if not reading.is_whole:
            self._report(window, _describe(reading.total, len(reading.rows), [reading]))
        return reading.rows

    def _read_beyond(self, window: Window) -> None:
        """Read hours of which the day needs no proof: a filter by another time may list its calls there."""
        count = len(self.rows.calls)
        self._read(window, self._first_page(window))
        if len(self.rows.calls) > count:
            self.windows.append(window)

    def _prove_beyond(self, window: Window) -> None:
        """Prove hours in which calls of the day may be listed; one page that has all its rows needs no halves."""
        first = self._first_page(window)
        if first.total == len(first.identities) < self._page_limit:
            self.windows.append(window)
        else:
            self._prove(window, first)

    def _read(self, window: Window, first: Page) -> _Reading:
        """Read every page of a window, the first of which came already."""
        reading = _Reading(first.total)
        try:
            for page in self._source.pages(window, prefetch=self._prefetch_pages, first=first):
                if page is not first:
                    self._keep(page, window)
                reading.is_consistent = reading.is_consistent and page.total == reading.total
                reading.is_repeating = page.row_count > 0 and page.identities <= reading.rows
                reading.rows |= page.identities
        except RequestRefused as error:
            reading.refusal = str(error)
        return reading

    def _has_changed(self, windows: tuple[Window, ...], pages: tuple[Page, ...], rows: set[str]) -> bool:
        """Ask for first pages again, one right after the other: return whether a total changed, or a row is new."""
        again = [self._first_page(window) for window in windows]
        return any(new.total != old.total or not new.identities <= rows for new, old in zip(again, pages, strict=True))

    def _first_page(self, window: Window) -> Page:
        page = self._source.list_page(window, 0, 1)
        self._keep(page, window)
        return page

    def _keep(self, page: Page, window: Window) -> None:
        self.pages += 1
        if self.pages == 1:
            self._on_first_page()
        self.rows.add(page, window)
        self._seen |= page.identities
        if page.limit:
            self._page_limit = min(self._page_limit, page.limit)
        if self.pages % _PROGRESS_EVERY_PAGES == 0:
            self._log.info("%s: %d pages listed, %d calls of the day", self._day, self.pages, len(self.rows.calls))

    def _has_asked_enough(self) -> bool:
        """Return whether more requests would be out of proportion: then the totals are wrong, and prove nothing."""
        return self.pages > _MAX_REQUESTS_PER_PAGE * -(-len(self._seen) // self._page_limit) + _MORE_REQUESTS

    def _report_moving(self, window: Window) -> None:
        self.is_moving = self.is_moving or not self.problems
        self._add_problem(window, f"it changed in each of {_MAX_LOOKS} looks: calls complete or vanish meanwhile")

    def _report(self, window: Window, what: str) -> None:
        self.is_moving = False
        self._add_problem(window, what)

    def _add_problem(self, window: Window, what: str) -> None:
        where = f"{format_time(window.start)} to {format_time(window.end)}"
        self.problems.append(f"The list is not proved ({where}): {what}.")


def _halve(window: Window) -> list[Window] | None:
    """Return two halves that overlap; None for a window that is too short."""
    if window.end - window.start < 2 * _SHORTEST_WINDOW:
        return None
    middle = (window.start + (window.end - window.start) / 2).replace(microsecond=0)
    return [Window(window.start, middle + _OVERLAP), Window(middle - _OVERLAP, window.end)]


def _describe(total: int | None, row_count: int, readings: list[_Reading]) -> str:
    refusal = next((reading.refusal for reading in readings if reading.refusal), None)
    if total is None or any(reading.total is None for reading in readings):
        return f"the list gave no total; {row_count} rows came"
    if refusal is not None:
        return f"a later page was refused ({refusal}); {row_count} of {total} rows came"
    if any(reading.is_repeating and not reading.is_whole for reading in readings):
        return f"a page repeated an earlier one, as if the offset were ignored; {row_count} of {total} rows came"
    return f"`total` says {total}, and {row_count} distinct rows came"
