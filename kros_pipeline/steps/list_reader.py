"""Reads the list of a day's calls: which windows are asked for, and what their rows show of the filter.

Whatever could not be proved is returned all the same; only the verdict waits for a proof.
"""

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial

from ..core.calls import merge_calls
from ..core.days import LISTED_BEYOND, end_of, start_of
from ..core.errors import RequestRefused
from ..core.listing import PageSpan
from ..source.call_source import CallSource, Page, Window
from .call_runs import CallRuns
from .list_proof import DatesIgnored, ListProof
from .list_windows import OVERLAP
from .listed_rows import ListedRows
from .page_search import PageSearch

_MARGIN = timedelta(minutes=1)  # of the day's window, at both ends
_WEST, _EAST = timedelta(hours=12), timedelta(hours=14)  # UTC-12 and UTC+14: no account's times are further from UTC
_WHOLE_DAYS = timedelta(days=2)  # what a filter that reads days only needs, of any zone and with any bound
_PROGRESS_EVERY_PAGES = 50


def describe_dialect(source: CallSource, *, has_date_filter: bool) -> str:
    """Return how the API's list is asked for, in words."""
    return source.dialect if has_date_filter else f"{source.dialect}, no date filter"


@dataclass(frozen=True)
class DayList:
    """What was read of a day's list: its rows, why it is not proved, and how to list the day again.

    `is_moving` says that the list changed while it was read, and nothing else is wrong.
    """

    rows: ListedRows
    problems: list[str]
    is_moving: bool
    windows: list[Window]
    pages: PageSpan | None


class ListReader:
    """Reads one day's list. The attributes hold what came so far, also after an error, until it is closed.

    `has_shown_earlier` and `has_shown_later` say what the lists of the neighbouring days showed of the filter: a day
    without calls near its ends shows nothing itself. `on_first_page` is called once the source has accepted the key,
    before anything is saved. `find_other_days` names the days that a list in no order is read for, too, because it has
    to be read whole.
    """

    def __init__(
        self,
        source: CallSource,
        day: date,
        *,
        prefetch_pages: int,
        on_first_page: Callable[[], None],
        log: logging.Logger,
        find_other_days: Callable[[], Collection[date]] = tuple,
        has_shown_earlier: bool = False,
        has_shown_later: bool = False,
    ):
        self._day, self._log, self._on_first_page = day, log, on_first_page
        self._has_shown_earlier, self._has_shown_later = has_shown_earlier, has_shown_later
        self._runs = CallRuns(merge_calls)
        self.rows = ListedRows(day, self._runs)
        self.proof = ListProof(source, self._keep, prefetch_pages=prefetch_pages)
        self._page_limit = source.page_limit
        self._search: PageSearch | None = None  # where the list has no date filter
        self._find_other_days, self._rows_of_other_days = find_other_days, dict[date, ListedRows]()

    def close(self) -> None:
        """Delete the temporary files. The rows have nothing afterwards."""
        self._runs.close()
        self.rows.close()

    @property
    def result(self) -> DayList:
        """What came of the day."""
        return self._result_of(self.rows)

    @property
    def results_of_other_days(self) -> dict[date, DayList]:
        """What came of the days that `find_other_days` named, where the list was read whole."""
        return {day: self._result_of(rows) for day, rows in self._rows_of_other_days.items()}

    def _result_of(self, rows: ListedRows) -> DayList:
        search, of_rows = self._search, rows.problems()
        problems = [*self.proof.problems, *of_rows]
        if search is not None and search.problem:
            problems.append(f"The list is not proved (it has no date filter): {search.problem}.")
        return DayList(
            rows,
            problems,
            is_moving=(search or self.proof).is_moving and not of_rows,
            windows=self.proof.windows,
            pages=search.span if search is not None else None,
        )

    def read(self) -> None:
        """Read the day. Raises `ApiError`.

        Three more hours are listed, and more where the rows show that the filter understands other times than ours: up
        to what an account at UTC-12 or UTC+14 needs.
        """
        begin, end = start_of(self._day), end_of(self._day)
        window = Window(begin - _MARGIN, end + _MARGIN)
        try:
            first = self.proof.first_page(window)
        except RequestRefused as error:
            self._search_pages(self._ask_without_dates(error))
            return
        try:
            if self.rows.has_rows_outside and self.proof.ignores_dates(first):
                raise DatesIgnored
            self.proof.prove(window, first)
        except DatesIgnored:
            self._search_pages(first)
            return
        behind = end + _MARGIN - OVERLAP
        if self.proof.has_divided:
            self._read_beyond(Window(behind, end + LISTED_BEYOND))
        elif self.rows.is_on_both_sides:
            return  # whole days came, the neighbours' among them
        reads_days = self.rows.is_shown_earlier and self.rows.is_shown_later
        if self.rows.is_shown_earlier or self._has_shown_earlier:
            reach = _WHOLE_DAYS if reads_days else _EAST + LISTED_BEYOND + _MARGIN
            self._prove_beyond(Window(behind, end + reach))
        elif self.rows.longest_beyond > LISTED_BEYOND:
            self._prove_beyond(Window(behind, end + self.rows.longest_beyond + _MARGIN))
        if self.rows.is_shown_later or self._has_shown_later:
            reach = _WHOLE_DAYS if reads_days else _WEST + _MARGIN
            self._prove_beyond(Window(begin - reach, begin - _MARGIN + OVERLAP))

    def _ask_without_dates(self, refusal: RequestRefused) -> Page:
        """Ask for the first page without dates, which may be what was refused. Raises `refusal` where it was not."""
        try:
            return self.proof.numbered_page(1, self._page_limit)
        except RequestRefused:
            raise refusal from None

    def _search_pages(self, first: Page) -> None:
        """Find the day in a list without a date filter. `first` is the list's first page."""
        self.rows.forget_windows()
        self.rows.add(first, None)
        limit = first.row_count or self._page_limit  # whatever the answer names: a page of 20 may say 100
        self._search = PageSearch(self._day, partial(self.proof.numbered_page, page_limit=limit), page_limit=limit)
        self._search.prove(first)
        if not self._search.is_ordered:
            self._rows_of_other_days = {day: self.rows.of_another_day(day) for day in self._find_other_days()}
            self._search.prove_whole()

    def _read_beyond(self, window: Window) -> None:
        """Read the first hours of the next day, in which a filter by another time lists calls of this day."""
        count, first = len(self.rows.ids), self.proof.first_page(window)
        is_one_page = self.proof.is_one_page(first)
        if not is_one_page:
            self.proof.read(window, first)
        if len(self.rows.ids) == count:
            return  # other days' calls may change while they are read
        if is_one_page:
            self.proof.windows.append(window)
        elif not self.rows.is_shown_earlier:  # otherwise these hours are proved with more
            self.proof.prove(window)

    def _prove_beyond(self, window: Window) -> None:
        """Prove hours in which calls of the day may be listed; one page that has all its rows needs no halves."""
        first = self.proof.first_page(window)
        if self.proof.is_one_page(first):
            self.proof.windows.append(window)
        else:
            self.proof.prove(window, first)

    def _keep(self, page: Page, window: Window | None) -> None:
        for rows in (self.rows, *self._rows_of_other_days.values()):
            rows.add(page, window)
        if self.proof.pages == 1:
            self._on_first_page()
        if self.proof.pages % _PROGRESS_EVERY_PAGES == 0:
            count = len(self.rows.ids)
            self._log.info("%s: %d pages listed, %d calls of the day", self._day, self.proof.pages, count)
