"""The page prefetcher: asks for pages of the list ahead of their turn, so that a list is read at the plan's rate.

Where the next pages begin is a guess. Pages are handed over in their order, each from the exact position that was
asked for. The first guess that turns out wrong ends the prefetching.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from ..core.clock import Clock
from ..core.worker_threads import worker_threads
from .call_source import Page

# Bodies of pages in flight. An ordinary page has less than 1 MB; one with long transcripts has many, and twelve of them
# took 680 MB of memory.
MAX_BYTES_IN_FLIGHT = 16_000_000


class PagePrefetcher:
    """Calls `fetch(offset, page_number)` in threads, at most `max_pages` ahead; with 0, only when a page is wanted.

    Fewer pages are in flight where they are large: as many of the largest size seen so far as have
    `MAX_BYTES_IN_FLIGHT` together. A page is in flight from its request until the next page is wanted.
    """

    def __init__(self, fetch: Callable[[int, int], Page], max_pages: int, clock: Clock | None = None):
        self._fetch_page, self._max_pages = fetch, max_pages
        self._threads = worker_threads(max_pages, "pages", clock) if max_pages else None
        self._pool: ThreadPoolExecutor | None = None
        self._prefetched: deque[tuple[int, int, Future[Page]]] = deque()
        self._largest_bytes = 0

    def __enter__(self) -> "PagePrefetcher":
        self._pool = self._threads.__enter__() if self._threads is not None else None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        if self._threads is not None:
            self._threads.__exit__(kind, error, trace)

    def page(self, offset: int, number: int) -> Page:
        """Return the page at a position, or raise what asking for it raised."""
        if self._prefetched:
            *position, future = self._prefetched.popleft()
            if position == [offset, number]:
                return future.result()
            self._stop()
        return self._fetch(offset, number)

    def note(self, page: Page) -> None:
        """Note the size of a page that was asked for elsewhere."""
        self._largest_bytes = max(self._largest_bytes, page.size_bytes)

    def prefetch(self, offset: int, number: int, rows_per_page: int, total: int) -> None:
        """Ask for the pages from a position on, as far as `total` rows reach, that were not asked for yet."""
        for ahead in range(len(self._prefetched), self._pages_allowed()):
            at = offset + ahead * rows_per_page
            if self._pool is None or at >= total:
                break
            self._prefetched.append((at, number + ahead, self._pool.submit(self._fetch, at, number + ahead)))

    def _fetch(self, offset: int, number: int) -> Page:
        page = self._fetch_page(offset, number)
        self.note(page)  # an update that another thread loses is made good by the next page
        return page

    def _pages_allowed(self) -> int:
        """Return how many pages may be ahead now. Where a single page exceeds the limit, none is."""
        if not self._largest_bytes:
            return self._max_pages
        return min(self._max_pages, MAX_BYTES_IN_FLIGHT // self._largest_bytes)

    def _stop(self) -> None:
        for _, _, future in self._prefetched:
            future.cancel()
        self._prefetched.clear()
        self._max_pages = 0
