"""Proves by additivity that a window of the list was read whole.

One number that agrees is no proof: a `total` can be a limit, and one call can vanish while another appears. So the
totals of a window and of its two halves are asked for, the halves are read, and their distinct rows have to be exactly
as many as the whole's total. Then the first pages are asked for again: nothing may have changed meanwhile.

A half that has all rows proves nothing that the whole does not: then the window is divided where its rows lie. A window
that cannot be divided, because its filter reads days only or because its rows came within seconds, is proved by its
total, unless that looks like a limit.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ..core.days import days_from, end_of, start_of
from ..core.digest_set import Digests, DigestSet, digest_all
from ..core.errors import RequestRefused
from ..source.call_source import CallSource, Page, Window
from ..source.time_format import format_time
from .list_limits import ListLimits, may_be_a_limit
from .list_windows import OVERLAP, SHORTEST_WINDOW, divide, is_all_in_one, is_burst, middle_of_rows

_MAX_LOOKS = 3
_MAX_ROWS_PER_WINDOW = 10_000  # many services serve deeper offsets slowly, or refuse them
_LONG_AGO = Window(datetime(2000, 1, 1, tzinfo=UTC), datetime(2000, 1, 2, tzinfo=UTC))  # no account is that old
_USUAL_OVERLAP = 1.2  # the most that totals of two halves usually are, in totals of the whole
_MAX_REQUESTS_PER_PAGE, _MORE_REQUESTS = 5, 60


@dataclass
class _Reading:
    """What one reading of a window saw."""

    total: int | None
    rows: DigestSet = field(default_factory=DigestSet)
    is_consistent: bool = True  # every page that named a total named the same
    is_repeating: bool = False  # the last page held nothing new
    refusal: str | None = None  # why a later page was refused

    @property
    def is_whole(self) -> bool:
        return self.is_consistent and self.refusal is None and self.total == len(self.rows)


class DatesIgnored(Exception):
    """The list shows all calls, whatever dates it is asked for: no window of it can be proved."""


def ignores_dates(source: CallSource, first: Page) -> bool:
    """Ask for a day long ago: return whether it shows about as many calls as the window of `first`, not a few."""
    try:
        page = source.list_page(_LONG_AGO, 0, 1)
    except RequestRefused:
        return False
    return 2 * (page.total or page.row_count) > (first.total or first.row_count)


class ListProof:
    """Reads windows of one list and proves each. `keep(page, window)` is called with every page that comes.

    `windows` are those to list again for fresh URLs, `problems` says what could not be proved. `is_moving` is True
    where the only problem is that the list changed while it was read. `has_divided` is False where the filter reads
    days only, or nothing.
    """

    def __init__(self, source: CallSource, keep: Callable[[Page, Window | None], None], *, prefetch_pages: int):
        self._source, self._keep_page, self._prefetch_pages = source, keep, prefetch_pages
        self._limits = ListLimits()
        self._seen = DigestSet()
        self._page_limit = source.page_limit  # or less, where the answers say so
        self.windows: list[Window] = []
        self.problems: list[str] = []
        self.is_moving = False
        self.has_divided = True
        self.pages = 0

    def first_page(self, window: Window) -> Page:
        """Ask for the first page of a window."""
        page = self._source.list_page(window, 0, 1)
        self._keep(page, window)
        return page

    def numbered_page(self, number: int, page_limit: int) -> Page:
        """Ask for a page of the list without dates, of `page_limit` rows each; the first one has number 1."""
        page = self._source.list_page(None, (number - 1) * page_limit, number)
        self._keep(page, None)
        return page

    def ignores_dates(self, first: Page) -> bool:
        """Return whether the date filter has no effect, and count the request."""
        self.pages += 1
        return ignores_dates(self._source, first)

    def is_one_page(self, page: Page) -> bool:
        """Return whether a first page has all rows of its window: one answer needs no further proof."""
        return page.total == len(page.identities) < self._page_limit

    def prove(self, window: Window, first: Page | None = None) -> DigestSet:
        """Read a window in halves, and compare what came with its total. Return what identifies its rows.

        Raises `DatesIgnored` where the halves show that the date filter has no effect.
        """
        rows = DigestSet()
        for _ in range(_MAX_LOOKS):
            whole, first = first or self.first_page(window), None
            is_paged = (whole.total or 0) >= self._page_limit
            halves = divide(window, window.start + (window.end - window.start) / 2)
            if not halves or self._has_asked_enough():
                return self._read_alone(window, whole)
            parts = [self.first_page(half) for half in halves]
            if is_paged and self._is_undivided(window, whole, parts):
                return self._read_alone(window, whole)
            if is_paged and is_all_in_one(whole, parts):
                where_rows_lie = divide(window, middle_of_rows(whole))
                their_parts = [self.first_page(half) for half in where_rows_lie] if self._limits.total is None else []
                if their_parts and is_burst(their_parts):
                    return self._read_alone(window, whole)
                if not their_parts or is_all_in_one(whole, their_parts):
                    return self._split(window, whole, halves, parts)
                halves, parts = where_rows_lie, their_parts
            if any(self._limits.is_beyond(page.total, _MAX_ROWS_PER_WINDOW) for page in parts):
                return self._split(window, whole, halves, parts)
            readings = [self.read(half, page) for half, page in zip(halves, parts, strict=True)]
            rows = _union(whole, readings)
            if self._has_changed((*halves, window), (*parts, whole), rows):
                continue
            if all(reading.is_whole for reading in readings) and len(rows) == whole.total:
                if is_paged and any(len(reading.rows) == len(rows) for reading in readings):
                    self._report_limit(window, whole.total)
                self.windows += halves if is_paged else [window]
                return rows
            return self._split_or_report(window, whole, halves, parts, readings)
        self.windows.append(window)
        self._report_moving(window)
        return rows

    def _split_or_report(
        self, window: Window, whole: Page, halves: list[Window], parts: list[Page], readings: list[_Reading]
    ) -> DigestSet:
        """Split the halves further where a limit of the list explains why the numbers disagree; else report it."""
        rows = _union(whole, readings)
        totals = [whole.total, *(reading.total for reading in readings)]
        are_whole = all(reading.is_whole for reading in readings)
        for reading in readings:
            self._limits.compare(reading.total, len(reading.rows), page_limit=self._page_limit)
        if are_whole:
            self._limits.compare(whole.total, len(rows), page_limit=self._page_limit)
        says_too_much = are_whole and (whole.total or 0) > len(rows)
        if None in totals or says_too_much or self._limits.are_refuted or self._has_asked_enough():
            self.windows.append(window)
            self._report(window, _describe(whole.total, len(rows), readings))
            return rows
        return self._split(window, whole, halves, parts)

    def _split(self, window: Window, whole: Page, halves: list[Window], parts: list[Page]) -> DigestSet:
        """Prove each half by itself, and compare both with the whole's total, which may be a limit."""
        problem_count = len(self.problems)
        rows = DigestSet(whole.identities)
        for half, page in zip(halves, parts, strict=True):
            if self.is_one_page(page):
                self.windows.append(half)
                rows.update(page.identities)
            else:
                rows |= self.prove(half, page)
        if len(self.problems) > problem_count or whole.total == len(rows):
            return rows
        again = self.first_page(window)
        if again.total is not None and (
            again.total == len(rows) or (again.total < len(rows) and rows.has_all(again.identities))
        ):
            return rows  # where the total is smaller, it is a limit: both halves were proved without it
        if again.total != whole.total:
            self._report_moving(window)
        else:
            self._report(window, f"`total` says {again.total}, and its parts have {len(rows)} distinct rows")
        return rows

    def _is_undivided(self, window: Window, whole: Page, parts: list[Page]) -> bool:
        """Return whether the filter does not divide a window, as one that reads days only.

        Two seconds show it: rows that came for them lie further apart.
        """
        if sum(page.total or 0 for page in parts) <= _USUAL_OVERLAP * (whole.total or 0):
            return False
        third = window.start + (window.end - window.start) / 3
        moment = self.first_page(Window(third, third + OVERLAP))
        times = [listed.call.created_at for listed in moment.calls]
        is_undivided = bool(times) and max(times) - min(times) > SHORTEST_WINDOW
        if is_undivided and self.has_divided and self.ignores_dates(whole):
            raise DatesIgnored
        self.has_divided = self.has_divided and not is_undivided
        return is_undivided

    def _read_alone(self, window: Window, first: Page) -> DigestSet:
        """Read a window that cannot be divided: its total has to agree, and not to be a limit."""
        self.windows.append(window)
        rows = DigestSet()
        for look in range(_MAX_LOOKS):
            page = first if look == 0 else self.first_page(window)
            reading = self.read(window, page)
            rows |= reading.rows
            is_last = look == _MAX_LOOKS - 1
            if self._has_changed((window,), (page,), reading.rows) or not (reading.is_whole or is_last):
                continue
            if not reading.is_whole:
                self._report(window, _describe(reading.total, len(reading.rows), [reading]))
            elif self.has_divided or not self._is_sum_of_days(window, reading):
                self._report_limit(window, reading.total)
            return rows
        self._report_moving(window)
        return rows

    def _report_limit(self, window: Window, total: int | None) -> None:
        """Report a total that no smaller window proves, if it looks like a limit."""
        if may_be_a_limit(total) or total in (self._limits.total, self._limits.rows):
            self._report(window, f"`total` says {total}, which may be a limit, and no smaller window proves it")

    def _is_sum_of_days(self, window: Window, reading: _Reading) -> bool:
        """Return whether the days of a window, of which more than one has rows, have as many as the window has."""
        days = days_from(window.start.date(), window.end.date())
        totals = [self.first_page(Window(start_of(day), end_of(day) - OVERLAP)).total or 0 for day in days]
        return sum(totals) == reading.total and max(totals) < sum(totals)

    def read(self, window: Window, first: Page) -> _Reading:
        """Read every page of a window, the first of which came already."""
        reading = _Reading(first.total)
        try:
            for page in self._source.pages(window, prefetch=self._prefetch_pages, first=first):
                digests = digest_all(page.identities) if page is first else self._keep(page, window)
                reading.is_consistent = reading.is_consistent and page.total in (None, reading.total)
                reading.is_repeating = not reading.rows.update_digests(digests) and page.row_count > 0
        except RequestRefused as error:
            reading.refusal = str(error)
        return reading

    def _has_changed(self, windows: tuple[Window, ...], pages: tuple[Page, ...], rows: DigestSet) -> bool:
        """Ask for first pages again, one right after the other: return whether a total changed, or a row is new."""
        again = [self.first_page(window) for window in windows]
        return any(
            new.total != old.total or not rows.has_all(new.identities) for new, old in zip(again, pages, strict=True)
        )

    def _keep(self, page: Page, window: Window | None) -> Digests:
        self.pages += 1
        digests = digest_all(page.identities)
        self._seen.update_digests(digests)
        if page.limit:
            self._page_limit = min(self._page_limit, page.limit)
        self._keep_page(page, window)
        return digests

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


def _union(whole: Page, readings: list[_Reading]) -> DigestSet:
    rows = DigestSet(whole.identities)
    for reading in readings:
        rows |= reading.rows
    return rows


def _describe(total: int | None, row_count: int, readings: list[_Reading]) -> str:
    refusal = next((reading.refusal for reading in readings if reading.refusal), None)
    if total is None or any(reading.total is None for reading in readings):
        return f"the list gave no total; {row_count} rows came"
    if refusal is not None:
        return f"a later page was refused ({refusal}); {row_count} of {total} rows came"
    if any(reading.is_repeating and not reading.is_whole for reading in readings):
        return f"a page repeated an earlier one, as if the offset were ignored; {row_count} of {total} rows came"
    return f"`total` says {total}, and {row_count} distinct rows came"
