"""Fresh URLs for recordings, minted a page at a time by listing the day again, right before they are used.

They live in this step's memory only: each is a bearer secret, valid for an hour.
"""

import logging
from collections.abc import Iterator
from datetime import date

from ..core.call_statuses import is_completed
from ..core.days import parse_time
from ..core.digest_set import DigestSet
from ..core.errors import ApiError, ApiUnauthorized, TooManyRequests
from ..core.listing import Listing
from ..source.call_source import CallSource, ListedCall, Page, Window
from .circuit_breaker import CircuitBreaker
from .page_search import pages_of_span
from .pending_file import PendingFile
from .recording_rows import PendingRecording

_UNADDRESSABLE_IDS = {".", ".."}  # URL libraries take them for folders, so that such a call cannot be asked for


def mint_urls(
    day: date,
    left: PendingFile[PendingRecording],
    listing: Listing | None,
    *,
    known: DigestSet,
    late: set[str],
    source: CallSource,
    breaker: CircuitBreaker,
    log: logging.Logger,
) -> Iterator[tuple[PendingRecording, str | None]]:
    """Yield each call that is left once, with a URL where listing the day again gave one.

    The ids of completed calls of the day that the list shows meanwhile, and that are not `known`, are added to `late`.

    The next page is asked for when the consumer has used the last one. Listing costs one request a page, asking call
    by call one request a call, so that few calls are left without a URL and asked for later.
    """
    if listing is not None and _is_listing_cheaper(left, listing, source.page_limit):
        try:
            for listed in _list_again(day, listing, source):
                call_id, url = listed.call.call_id, listed.recording_url
                is_of_day = listed.call.call_date == day and is_completed(listed.call.status) is not False
                if is_of_day and call_id not in known:
                    late.add(call_id)
                if url is not None and (call := left.take(call_id)) is not None:
                    yield call, url
                if not left:
                    return
        except (TooManyRequests, ApiUnauthorized) as error:
            breaker.trip(error)
        except ApiError as error:
            log.warning("%s: listing again for URLs failed (%s); asking call by call", day, error)
    for call in left.take_all():
        yield call, None


def _is_listing_cheaper(left: PendingFile[PendingRecording], listing: Listing, page_limit: int) -> bool:
    pages = -(-listing.listed_total // page_limit)
    if listing.pages is not None:
        pages = listing.pages.last_page - listing.pages.first_page + 1
    return bool(left) and (len(left) > pages or any(call_id in left for call_id in _UNADDRESSABLE_IDS))


def _list_again(day: date, listing: Listing, source: CallSource) -> Iterator[ListedCall]:
    for page in _pages_again(day, listing, source):
        yield from page.calls


def _pages_again(day: date, listing: Listing, source: CallSource) -> Iterator[Page]:
    if listing.pages is not None:
        yield from pages_of_span(day, listing.pages, source)
        return
    for start, end in listing.windows:
        begins, ends = parse_time(start), parse_time(end)
        if begins is not None and ends is not None:
            yield from source.pages(Window(begins, ends))
