"""Finds a day in a list that has no date filter: by bisection over its pages, and by two passes over the day.

The proof is that the list is in the order of time, that a row on each side of the day was seen, or the end of the list,
and that two passes agree in the ids. It takes `2·ceil(N/100) + log2(pages)` requests and a few more, for N calls of the
day. A list that is in no order has to be read whole.
"""

from collections.abc import Callable, Iterator
from datetime import date, datetime
from itertools import count

from ..core.days import end_of, start_of
from ..core.errors import RequestRefused
from ..core.listing import PageSpan
from ..source.call_source import CallSource, Page
from .list_limits import may_be_a_limit

_MAX_PASSES = 4
_MAX_READINGS = 2  # of the whole list


class PageSearch:
    """Searches one list for one day. `ask(number)` asks for a page; the first one has number 1.

    `span` says where the day was found. `problem` says why the day is not proved; empty where it is. `is_moving` is
    True where the only problem is that the passes never agreed. `is_ordered` is False where the rows are in no order:
    nothing is proved then, and the list has to be read whole.
    """

    def __init__(self, day: date, ask: Callable[[int], Page], *, page_limit: int, is_newest_first: bool = True):
        self._begin, self._end, self._ask = start_of(day), end_of(day), ask
        self._page_limit, self._is_newest_first = page_limit, is_newest_first
        self.span: PageSpan | None = None
        self.problem = ""
        self.is_moving = False
        self.is_ordered = True

    def prove(self, first: Page) -> None:
        """Find the day, and read it until two passes agree. `first` is page 1."""
        try:
            start = self._find_start(first, -(-max(first.total or 0, 1) // self._page_limit))
            before: set[str] | None = None
            for _ in range(_MAX_PASSES):
                ids: set[str] = set()
                for page in self.read(start):
                    ids |= self._ids_of_day(page)
                if not self.is_ordered or self.problem or ids == before:
                    return
                before, start = ids, self.span.first_page if self.span else start
            self.is_moving = True
            self.problem = f"its calls changed in each of {_MAX_PASSES} passes"
        except RequestRefused as error:
            self.problem = f"a page was refused ({error})"

    def prove_whole(self) -> None:
        """Read a list that is in no order, all of it, until it is as long as its total says and has not changed."""
        try:
            self._prove_whole()
        except RequestRefused as error:
            self.problem = f"a page was refused ({error})"

    def _prove_whole(self) -> None:
        for _ in range(_MAX_READINGS):
            ids: set[str] = set()
            totals = set()
            for number, page in enumerate(_read_whole(self._ask), 1):
                ids |= page.identities
                totals.add(page.total)
                self.span = PageSpan(1, number, self._page_limit, is_newest_first=None)
            again = self._ask(1)
            self.is_moving = totals != {again.total} or not again.identities <= ids
            if not self.is_moving:
                self.problem = _describe_whole(again.total, len(ids))
                return
            self.problem = f"it changed in each of {_MAX_READINGS} readings"

    def read(self, start: int) -> Iterator[Page]:
        """Yield the pages that hold the day, from about page `start` on; from earlier ones, where calls are gone."""
        number, pages = start, [self._ask(start)]
        while number > 1 and not self._begins_before_day(pages[-1]):
            number -= 1
            pages.append(self._ask(number))
        first_page, row_count = number, (number - 1) * self._page_limit
        last: datetime | None = None
        seen: set[str] = set()
        while True:
            page = pages.pop() if pages else self._ask(number)
            is_new = not page.identities <= seen
            row_count += page.row_count
            for listed in page.calls:
                if listed.call.call_id not in seen:  # calls that came meanwhile push others to the next page
                    last = self._check_order(last, listed.call.created_at)
            seen |= page.identities
            self.span = PageSpan(first_page, number, self._page_limit, self._is_newest_first)
            yield page
            if last is not None and self._place(last) > 0:
                return
            if not is_new or (page.total is not None and row_count >= page.total):
                self._check_end(page, row_count, has_new=is_new, only_page=number if number == first_page else 1)
                return
            number += 1

    def _check_order(self, last: datetime | None, at: datetime) -> datetime:
        if last is not None and at != last and (at > last) is self._is_newest_first:
            self.is_ordered = False
        return at

    def _find_start(self, first: Page, page_count: int) -> int:
        """Return the first page whose last row is not before the day, in the list's order."""
        pages = {1: first}

        def last_of(number: int) -> datetime | None:
            if number not in pages:
                pages[number] = self._ask(number)
            times = [listed.call.created_at for listed in pages[number].calls]
            return times[-1] if times else None

        first_time = first.calls[0].call.created_at if first.calls else None
        last_time = last_of(page_count)
        if first_time is not None and last_time is not None:
            self._is_newest_first = first_time >= last_time
        low, high = 1, page_count
        while low < high:
            middle = (low + high) // 2
            at = last_of(middle)
            if at is not None and self._place(at) < 0:
                low = middle + 1
            else:
                high = middle
        return low

    def _ids_of_day(self, page: Page) -> set[str]:
        ids = {listed.call.call_id for listed in page.calls if self._place(listed.call.created_at) == 0}
        return ids | {row.call_id or row.raw_json for row in page.unparsed}

    def _begins_before_day(self, page: Page) -> bool:
        return bool(page.calls) and self._place(page.calls[0].call.created_at) < 0

    def _place(self, at: datetime) -> int:
        """Return -1 for a time before the day in the list's order, 0 for one of the day, 1 for one behind it."""
        if self._begin <= at < self._end:
            return 0
        return -1 if (at >= self._end) is self._is_newest_first else 1

    def _check_end(self, page: Page, row_count: int, *, has_new: bool, only_page: int) -> None:
        """Note a problem where the end of the list may be none: a part of the day may lie behind it.

        `only_page` is the page that was read where it was one only, else 1.
        """
        is_repeated = page.row_count > 0 and not has_new
        if is_repeated or (only_page > 1 and page.identities <= self._ask(only_page - 1).identities):
            self.problem = f"a page repeated an earlier one, as if the offset were ignored; `total` says {page.total}"
        elif page.total is not None and row_count < page.total:
            self.problem = f"`total` says {page.total}, and it ended after {row_count} rows"
        elif may_be_a_limit(page.total):
            self.problem = f"it ends after {page.total} rows, which may be a limit, and shows no call behind the day"


def pages_of_span(day: date, span: PageSpan, source: CallSource) -> Iterator[Page]:
    """Yield the pages of a list without a date filter that hold a day, as they are now."""

    def ask(number: int) -> Page:
        return source.list_page(None, (number - 1) * span.page_limit, number)

    if span.is_newest_first is None:
        return _read_whole(ask)
    search = PageSearch(day, ask, page_limit=span.page_limit, is_newest_first=span.is_newest_first)
    return search.read(span.first_page)


def _read_whole(ask: Callable[[int], Page]) -> Iterator[Page]:
    """Yield all pages of a list: until one has nothing new, or all rows came."""
    seen: set[str] = set()
    for number in count(1):
        page = ask(number)
        is_new = not page.identities <= seen
        seen |= page.identities
        yield page
        if not is_new or (page.total is not None and len(seen) >= page.total):
            return


def _describe_whole(total: int | None, row_count: int) -> str:
    """Return why a list that was read whole is not proved; an empty text where it is."""
    if total is None:
        return f"it is in no order, and gave no total; {row_count} rows came"
    if total != row_count:
        return f"`total` says {total}, and {row_count} distinct rows came"
    if may_be_a_limit(total):
        return f"`total` says {total}, which may be a limit, and the list is in no order"
    return ""
