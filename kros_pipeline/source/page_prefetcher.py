"""The page prefetcher: asks for pages of the list ahead of their turn, so that a list is read at the plan's rate.

Where the next pages begin is a guess. Pages are handed over in their order, each from the exact position that was
asked for. The first guess that turns out wrong ends the prefetching.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, TypeVar

_Page = TypeVar("_Page")


class PagePrefetcher(Generic[_Page]):
    """Calls `fetch(offset, page_number)` in threads, at most `max_pages` ahead; with 0, only when a page is wanted."""

    def __init__(self, fetch: Callable[[int, int], _Page], max_pages: int):
        self._fetch, self._max_pages = fetch, max_pages
        self._pool = ThreadPoolExecutor(max_pages, thread_name_prefix="pages") if max_pages else None
        self._prefetched: deque[tuple[int, int, Future[_Page]]] = deque()

    def __enter__(self) -> "PagePrefetcher[_Page]":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def page(self, offset: int, number: int) -> _Page:
        """Return the page at a position, or raise what asking for it raised."""
        if self._prefetched:
            *position, future = self._prefetched.popleft()
            if position == [offset, number]:
                return future.result()
            self._stop()
        return self._fetch(offset, number)

    def prefetch(self, offset: int, number: int, rows_per_page: int, total: int) -> None:
        """Ask for the pages from a position on, as far as `total` rows reach, that were not asked for yet."""
        for ahead in range(len(self._prefetched), self._max_pages):
            at = offset + ahead * rows_per_page
            if self._pool is None or at >= total:
                break
            self._prefetched.append((at, number + ahead, self._pool.submit(self._fetch, at, number + ahead)))

    def _stop(self) -> None:
        for _, _, future in self._prefetched:
            future.cancel()
        self._prefetched.clear()
        self._max_pages = 0
