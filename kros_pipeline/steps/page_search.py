"""Finds a day in a list that has no date filter: by bisection over its pages, and by two passes over the day.

The proof is that the list is in the order of time, that rows on each side of the day were seen, or the end of the list,
and that two passes agree in the ids. It takes `2·ceil(N/100) + 2·log2(pages)` requests and a few more, for N calls of
the day. A list that is in no order has to be read whole.

No number of the answers is believed by itself: a full page is followed by another, whatever `total` says, and where the
end of the list is evidence, the rows that came have to be exactly as many as the total.
"""

from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from itertools import count

from ..core.days import LISTED_BEYOND, end_of, start_of
from ..core.digest_set import DigestSet
from ..core.errors import RequestRefused
from ..core.listing import PageSpan
from ..source.call_source import CallSource, Page
from .list_limits import may_be_a_limit
from .searched_pages import SearchedPage, are_in_order

_MAX_PASSES = 4
_MAX_READINGS = 2  # of the whole list
# A list in the order of another time (`completed_at`) shows single rows out of their place: one row proves no border.
_FEW_ROWS, _MANY_ROWS = 20, 100


class PageSearch:
    """Searches one list for one day. `ask(number)` asks for a page; the first one has number 1.

    `page_limit` is how many rows a page really has. `span` says where the day was found. `problem` says why the day is
    not proved; empty where it is. `is_moving` is True where the only problem is that the passes never agreed.
    `is_ordered` is False where the rows are in no order: nothing is proved then, and the list has to be read whole.
    """

    def __init__(self, day: date, ask: Callable[[int], Page], *, page_limit: int, is_newest_first: bool = True):
        self._begin, self._end = start_of(day), end_of(day)
        self._ask_for, self._page_limit, self._is_newest_first = ask, page_limit, is_newest_first
        self._pages: dict[int, SearchedPage] = {}  # the last answer for each page
        self.span: PageSpan | None = None
        self.problem = ""
        self.is_moving = False
        self.is_ordered = True

    def prove(self, first: Page) -> None:
        """Find the day, and read it until two passes agree. `first` is page 1."""
        self._pages[1] = SearchedPage.of(first)
        try:
            start = self._find_start(first.total)
            before: DigestSet | None = None
            for number in range(_MAX_PASSES):
                self.problem = ""
                ids = DigestSet()
                totals: list[int] = []
                for page in self.read(start):
                    ids.update(self._ids_of_day(page))
                    totals += [page.total] if page.total is not None else []
                self._check_order()
                if self.problem and number == 0:
                    continue  # one bad answer is no property of the list
                if not self.is_ordered or self.problem:
                    return
                is_shrinking = totals != sorted(totals)  # a call that is gone moves another one past the reader
                if ids == before and not is_shrinking:
                    return
                before, start = None if is_shrinking else ids, self.span.first_page if self.span else start
            self.is_moving = True
            self.problem = f"its calls changed in each of {_MAX_PASSES} passes"
        except RequestRefused as error:
            self.problem = f"a page was refused ({error})"

    def prove_whole(self) -> None:
        """Read a list that is in no order, all of it, until it is as long as its total says and has not changed."""
        self.problem = ""
        try:
            for _ in range(_MAX_READINGS):
                ids = DigestSet()
                totals = set()
                for number, page in enumerate(_read_whole(self._ask, self._page_limit), 1):
                    ids.update(page.identities)
                    totals.add(page.total)
                    self.span = PageSpan(1, number, self._page_limit, is_newest_first=None)
                again = self._ask(1)
                self.is_moving = totals != {again.total} or not ids.has_all(again.identities)
                if not self.is_moving:
                    self.problem = _describe_whole(again.total, len(ids))
                    return
                self.problem = f"it changed in each of {_MAX_READINGS} readings"
        except RequestRefused as error:
            self.problem = f"a page was refused ({error})"

    def read(self, start: int) -> Iterator[Page]:
        """Yield the pages that hold the day, from about page `start` on; from earlier ones, where calls are gone."""
        number, pages = start, [self._ask(start)]
        while number > 1 and not self._is_far_before(pages):
            number -= 1
            pages.append(self._ask(number))
        begin, behind = number, list[datetime]()
        first_of_day: int | None = None
        row_count, seen = (number - 1) * self._page_limit, DigestSet()
        while True:
            page = pages.pop() if pages else self._ask(number)
            is_new = seen.update(page.identities)
            row_count += page.row_count
            if first_of_day is None and self._ids_of_day(page):
                first_of_day = number
            self.span = PageSpan(first_of_day or begin, number, self._page_limit, self._is_newest_first)
            yield page
            behind += [at for at in _times_of(page) if self._place(at) > 0]
            if _are_enough(behind, self._distance):
                return
            if not is_new or page.row_count < self._page_limit:
                self._check_end(page, row_count, is_repeated=page.row_count > 0 and not is_new)
                return
            number += 1

    def _ask(self, number: int) -> Page:
        """Ask for a page. Behind the end some servers refuse one, where others answer an empty one."""
        total = self._pages[1].total if 1 in self._pages else None
        try:
            page = self._ask_for(number)
        except RequestRefused:
            if total is None or (number - 1) * self._page_limit < total:
                raise
            page = Page([], [], total, None)
        self._pages[number] = SearchedPage.of(page)
        return page

    def _find_start(self, total: int | None) -> int:
        """Return the first page whose last row is not before the day, in the list's order.

        Whether that is so of a page is looked for at ever greater numbers first, where the total names too few pages.
        """
        high = max(1, -(-(total or 0) // self._page_limit))
        if high > 1:
            self._ask(high)
        first_at, last_at = self._pages[1].first_at, self._pages[high].last_at
        if first_at is not None and last_at is not None:
            self._is_newest_first = first_at >= last_at
        while self._is_before_day(high) and self._pages[high].row_count >= self._page_limit:
            known, high = self._pages[high], high * 2
            self._ask(high)
            if self._pages[high].has_rows_of(known):
                break  # the server answers each later page with the last one that it has
        low = 1
        while low < high:
            middle = (low + high) // 2
            if self._is_before_day(middle):
                low = middle + 1
            else:
                high = middle
        self._check_order()
        return low

    def _is_before_day(self, number: int) -> bool:
        if number not in self._pages:
            self._ask(number)
        last_at = self._pages[number].last_at
        return last_at is not None and self._place(last_at) < 0

    def _is_far_before(self, pages: list[Page]) -> bool:
        """Return whether enough rows before the day come on these pages, of which the last one is the earliest."""
        before: list[datetime] = []
        for page in reversed(pages):
            for at in _times_of(page):
                if self._place(at) >= 0:
                    return _are_enough(before, self._distance)
                before.append(at)
        return True

    def _check_order(self) -> None:
        """Compare the rows of all pages that came; those that moved count once."""
        self.is_ordered = self.is_ordered and are_in_order(self._pages, is_newest_first=self._is_newest_first)

    def _ids_of_day(self, page: Page) -> set[str]:
        ids = {listed.call.call_id for listed in page.calls if self._place(listed.call.created_at) == 0}
        return ids | ({row.call_id or row.raw_json for row in page.unparsed} if ids else set())

    def _place(self, at: datetime) -> int:
        """Return -1 for a time before the day in the list's order, 0 for one of the day, 1 for one behind it."""
        if self._begin <= at < self._end:
            return 0
        return -1 if (at >= self._end) is self._is_newest_first else 1

    def _distance(self, at: datetime) -> timedelta:
        return max(self._begin - at, at - self._end)

    def _check_end(self, page: Page, row_count: int, *, is_repeated: bool) -> None:
        """Note a problem where the end of the list may be none: a part of the day may lie behind it."""
        total = page.total
        if is_repeated:
            self.problem = f"a page repeated an earlier one, as if the offset were ignored; `total` says {total}"
        elif total is None:
            self.problem = f"the list gave no total; it ended after {row_count} rows, which may be a limit"
        elif row_count != total:
            self.problem = f"`total` says {total}, and it ended after {row_count} rows"
        elif may_be_a_limit(total):
            self.problem = f"it ends after {total} rows, which may be a limit, and shows no call behind the day"


def pages_of_span(day: date, span: PageSpan, source: CallSource) -> Iterator[Page]:
    """Yield the pages of a list without a date filter that hold a day, as they are now."""

    def ask(number: int) -> Page:
        return source.list_page(None, (number - 1) * span.page_limit, number)

    if span.is_newest_first is None:
        return _read_whole(ask, span.page_limit)
    search = PageSearch(day, ask, page_limit=span.page_limit, is_newest_first=span.is_newest_first)
    return search.read(span.first_page)


def _read_whole(ask: Callable[[int], Page], page_limit: int) -> Iterator[Page]:
    """Yield all pages of a list: until one has nothing new, or fewer rows than a page."""
    seen = DigestSet()
    for number in count(1):
        page = ask(number)
        is_new = seen.update(page.identities)
        yield page
        if not is_new or page.row_count < page_limit:
            return


def _times_of(page: Page) -> list[datetime]:
    return [listed.call.created_at for listed in page.calls]


def _are_enough(times: list[datetime], distance: Callable[[datetime], timedelta]) -> bool:
    """Return whether rows beside the day show that no more of the day lie behind them."""
    if len(times) >= _MANY_ROWS:
        return True
    return len(times) >= _FEW_ROWS and max(map(distance, times)) >= LISTED_BEYOND


def _describe_whole(total: int | None, row_count: int) -> str:
    """Return why a list that was read whole is not proved; an empty text where it is."""
    if total is None:
        return f"it is in no order, and gave no total; {row_count} rows came"
    if total != row_count:
        return f"`total` says {total}, and {row_count} distinct rows came"
    if may_be_a_limit(total):
        return f"`total` says {total}, which may be a limit, and the list is in no order"
    return ""
