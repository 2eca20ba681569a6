"""Reads the list of a day's calls, and proves that it was read whole.

A pass over a window is proved when every page reported the same `total` and exactly that many distinct rows came.
Whatever no pass could prove is returned all the same; only the verdict waits for a proof.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta

from ..core.calls import Call, merge_calls
from ..source.call_source import CallSource, ListedCall, UnparsedRow, Window
from ..source.time_format import format_time

_MAX_PASSES = 3
_MAX_ROWS_PER_WINDOW = 10_000  # many services serve deeper offsets slowly, or refuse them
_SHORTEST_WINDOW = timedelta(seconds=2)
_MAX_SPLITS_OF_A_MOVING_LIST = 3
_PROGRESS_EVERY_PAGES = 50
_MAX_SHARED_ROWS = 1.5  # of the whole's total, in the sum of two halves
_FAR_FROM_WINDOW = timedelta(days=2)


@dataclass
class _Pass:
    """What one reading of a window saw."""

    rows: set[str] = field(default_factory=set)
    totals: set[int | None] = field(default_factory=set)
    is_repeating: bool = False  # the last page held nothing new
    is_too_large: bool = False  # and was left after its first page

    @property
    def total(self) -> int | None:
        return max((total for total in self.totals if total is not None), default=None)

    @property
    def is_proved(self) -> bool:
        return self.totals == {len(self.rows)}


class ListReader:
    """Reads one day's list, window by window. The attributes hold what came so far, also after an error.

    `on_first_page` is called once the source has accepted the key, before anything is kept.
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
        self.calls: dict[str, Call] = {}
        self.unparsed: dict[str, UnparsedRow] = {}
        self.windows: list[Window] = []
        self.problems: list[str] = []
        self.oddities: set[str] = set()
        self.pages = 0

    def read(self, window: Window, depth: int = 0) -> None:
        """List a window until a pass is proved; in halves where that helps. Raises `ApiError`."""
        first = self._read_pass(window, max_rows=_MAX_ROWS_PER_WINDOW)
        if first.is_too_large:
            if self._read_halves(window, first, depth):
                return
            first = self._read_pass(window)
        passes = [first]
        while not passes[-1].is_proved and len(passes) < _MAX_PASSES:
            passes.append(self._read_pass(window))
        last = passes[-1]
        if not last.is_proved:
            # Passes that agree on a wrong total would agree again. A list that changes while it is read is stable for
            # a shorter window, and a window of one page needs no offset.
            is_moving = len({frozenset(one.rows) for one in passes}) > 1 or len(last.totals) > 1
            may_split = last.is_repeating or (is_moving and depth < _MAX_SPLITS_OF_A_MOVING_LIST)
            if may_split and self._read_halves(window, last, depth):
                return
            self.problems.append(_describe_unproved(window, passes))
        self.windows.append(window)

    def _read_halves(self, window: Window, whole: _Pass, depth: int) -> bool:
        """List both halves; return False, and do nothing, where the filter does not divide the window's rows."""
        if window.end - window.start < 2 * _SHORTEST_WINDOW or (whole.total or 0) <= 1:
            return False
        middle = (window.start + (window.end - window.start) / 2).replace(microsecond=0)
        # The halves share their border: whether `to_date` is inclusive is not documented.
        halves = [Window(window.start, middle), Window(middle, window.end)]
        totals = [self._source.list_page(half, 0, 1).total for half in halves]
        known = [total for total in totals if total is not None]
        # Halves share their border and nothing else. A filter that reads days only, or nothing, counts most rows twice.
        if len(known) < len(halves) or sum(known) > _MAX_SHARED_ROWS * (whole.total or 0):
            return False
        for half in halves:
            self.read(half, depth + 1)
        return True

    def _read_pass(self, window: Window, max_rows: int | None = None) -> _Pass:
        """Read every page of a window; only the first one, if its total is above `max_rows`."""
        reading = _Pass()
        for page in self._source.pages(window, prefetch=self._prefetch_pages):
            self.pages += 1
            if self.pages == 1:
                self._on_first_page()
            reading.totals.add(page.total)
            reading.is_repeating = page.row_count > 0 and page.identities <= reading.rows
            reading.rows |= page.identities
            self._keep(page.calls, page.unparsed, window)
            if max_rows is not None and (page.total or 0) > max_rows:
                reading.is_too_large = True
                break
            if self.pages % _PROGRESS_EVERY_PAGES == 0:
                self._log.info("%s: %d pages listed, %d calls of the day", self._day, self.pages, len(self.calls))
        return reading

    def _keep(self, calls: list[ListedCall], unparsed: list[UnparsedRow], window: Window) -> None:
        for listed in calls:
            call = listed.call
            if call.status is not None and call.status.casefold() != "completed":
                self.oddities.add("the status filter is ignored upstream: calls that are not completed were left out")
            elif call.call_date == self._day:
                known = self.calls.get(call.call_id)
                self.calls[call.call_id] = merge_calls(known, call) if known else call
                self.unparsed.pop(call.call_id, None)
            elif not window.start - _FAR_FROM_WINDOW < call.created_at < window.end + _FAR_FROM_WINDOW:
                self.oddities.add("the date filter is ignored upstream: calls of other days were listed and left out")
        for row in unparsed:
            is_of_day = row.created_at is None or row.created_at.date() == self._day
            if is_of_day and row.call_id not in self.calls:
                self.unparsed[row.call_id or row.raw_json] = row


def _describe_unproved(window: Window, passes: list[_Pass]) -> str:
    last, seen = passes[-1], len(passes[-1].rows)
    totals = sorted({total for one in passes for total in one.totals if total is not None})
    where = f"{format_time(window.start)} to {format_time(window.end)}"
    if not totals:
        what = f"the list gave no total; {seen} rows came"
    elif last.is_repeating and seen < totals[-1]:
        what = f"a page repeated an earlier one, as if the offset were ignored; {seen} of {totals[-1]} rows came"
    elif len(totals) == 1:
        what = f"`total` says {totals[0]}, and {len(passes)} passes saw {seen} distinct rows"
    else:
        what = f"`total` changed between {totals[0]} and {totals[-1]} while {len(passes)} passes were read"
    return f"The list is not proved ({where}): {what}."
