"""The pager: reads all pages of a list whose order, ends and totals are not documented."""

from collections.abc import Callable, Iterator

from ..core.clock import Clock
from ..core.digest_set import DigestSet
from ..core.errors import RequestRefused
from .call_source import Page
from .page_prefetcher import PagePrefetcher


def read_pages(
    fetch: Callable[[int, int], Page],
    *,
    page_limit: int,
    prefetch: int = 0,
    first: Page | None = None,
    clock: Clock | None = None,
) -> Iterator[Page]:
    """Yield all pages, in the server's order; up to `prefetch` are asked for ahead of their turn.

    `fetch(offset, page_number)` asks for one page. `page_limit` is the limit of a page whose answer names none. `first`
    is the first page, where it was asked for already. Prefetching ends when the run on `clock` is interrupted.

    It ends whatever the server does: with a page that has nothing new, or with one shorter than its limit when `total`
    rows have come. A `total` that is too small does not end it: a full page is followed by another. Nothing is
    prefetched before the second page is wanted, nor beyond `total`. Raises what `fetch` raises.
    """
    seen = DigestSet()
    offset, number = 0, 1
    page: Page | None = None
    with PagePrefetcher(fetch, prefetch, clock) as prefetcher:
        if first is not None:
            prefetcher.note(first)
        while True:
            try:
                page = first if first is not None else prefetcher.page(offset, number)
                first = None
            except RequestRefused:
                if page is not None and page.total is not None and offset >= page.total:
                    return  # some servers refuse a page behind the end, where others answer an empty one
                raise
            yield page
            offset, number = offset + page.row_count, number + 1
            has_new = seen.update(page.identities)
            all_came = page.total is None or offset >= page.total
            if not has_new or (all_came and page.row_count < (page.limit or page_limit)):
                return
            prefetcher.prefetch(offset, number, page.row_count, page.total or 0)
