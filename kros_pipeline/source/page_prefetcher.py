"""Pages asked for ahead of their turn, so that a list comes as fast as the plan allows and not an answer at a time.

A guess at where the next pages begin, and no more: pages are handed over in their order, each from the very position
that was asked for. The first guess that turns out wrong ends the guessing.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, TypeVar

_Page = TypeVar("_Page")


class PagePrefetcher(Generic[_Page]):
    """`fetch(offset, page_number)` in threads, at most `most` pages ahead; with none, when asked and not before."""

    def __init__(self, fetch: Callable[[int, int], _Page], most: int):
        self._fetch, self._most = fetch, most
        self._pool = ThreadPoolExecutor(most, thread_name_prefix="pages") if most else None
        self._coming: deque[tuple[int, int, Future[_Page]]] = deque()

    def __enter__(self) -> "PagePrefetcher[_Page]":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def page(self, offset: int, number: int) -> _Page:
        """The page at a position, or what asking for it raised."""
        if self._coming:
            *guessed, coming = self._coming.popleft()
            if guessed == [offset, number]:
                return coming.result()
            self._stop_guessing()
        return self._fetch(offset, number)

    def go_on(self, offset: int, number: int, rows_a_page: int, total: int) -> None:
        """Asks for the pages from a position on, as far as `total` rows reach, that are not on their way yet."""
        for ahead in range(len(self._coming), self._most):
            at = offset + ahead * rows_a_page
            if self._pool is None or at >= total:
                break
            self._coming.append((at, number + ahead, self._pool.submit(self._fetch, at, number + ahead)))

    def _stop_guessing(self) -> None:
        for _, _, coming in self._coming:
            coming.cancel()
        self._coming.clear()
        self._most = 0
