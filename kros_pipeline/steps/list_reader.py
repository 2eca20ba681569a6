"""Reads the list of a day's calls: which windows are asked for, and what their rows show of the filter.

Whatever could not be proved is returned all the same; only the verdict waits for a proof.
"""

import logging
from collections.abc import Callable
from datetime import date, timedelta

from ..core.days import LISTED_BEYOND, end_of, start_of
from ..source.call_source import CallSource, Page, Window
from .list_proof import OVERLAP, ListProof
from .listed_rows import ListedRows

_MARGIN = timedelta(minutes=1)  # of the day's window, at both ends
_WEST, _EAST = timedelta(hours=12), timedelta(hours=14)  # UTC-12 and UTC+14: no account's times are further from UTC
_WHOLE_DAYS = timedelta(days=2)  # what a filter that reads days only needs, of any zone and with any bound
_PROGRESS_EVERY_PAGES = 50


class ListReader:
    """Reads one day's list. The attributes hold what came so far, also after an error.

    `has_shown_earlier` and `has_shown_later` say what the lists of the neighbouring days showed of the filter: a day
    without calls near its ends shows nothing itself. `on_first_page` is called once the source has accepted the key,
    before anything is saved.
    """

    def __init__(
        self,
        source: CallSource,
        day: date,
        *,
        prefetch_pages: int,
        on_first_page: Callable[[], None],
        log: logging.Logger,
        has_shown_earlier: bool = False,
        has_shown_later: bool = False,
    ):
        self._day, self._log, self._on_first_page = day, log, on_first_page
        self._has_shown_earlier, self._has_shown_later = has_shown_earlier, has_shown_later
        self.rows = ListedRows(day)
        self.proof = ListProof(source, self._keep, prefetch_pages=prefetch_pages)

    @property
    def problems(self) -> list[str]:
        """Return why the list is not proved; empty where it is."""
        return [*self.proof.problems, *self.rows.problems()]

    @property
    def is_moving(self) -> bool:
        """Return whether the list changed while it was read, and nothing else is wrong."""
        return self.proof.is_moving and not self.rows.problems()

    def read(self) -> None:
        """Read the day. Raises `ApiError`.

        Three more hours are listed, and more where the rows show that the filter understands other times than ours: up
        to what an account at UTC-12 or UTC+14 needs.
        """
        begin, end = start_of(self._day), end_of(self._day)
        self.proof.prove(Window(begin - _MARGIN, end + _MARGIN))
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

    def _read_beyond(self, window: Window) -> None:
        """Read the first hours of the next day, in which a filter by another time lists calls of this day."""
        count, first = len(self.rows.calls), self.proof.first_page(window)
        is_one_page = self.proof.is_one_page(first)
        if not is_one_page:
            self.proof.read(window, first)
        if len(self.rows.calls) == count:
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

    def _keep(self, page: Page, window: Window) -> None:
        self.rows.add(page, window)
        if self.proof.pages == 1:
            self._on_first_page()
        if self.proof.pages % _PROGRESS_EVERY_PAGES == 0:
            count = len(self.rows.calls)
            self._log.info("%s: %d pages listed, %d calls of the day", self._day, self.proof.pages, count)
