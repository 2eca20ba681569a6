"""Settled days that are looked at again: a proof is only as good as what upstream showed on its day.

A call may complete, or appear, after the grace days. Each night a 28th of the days is listed and reconciled anew, while
upstream still has them.
"""

from collections.abc import Callable, Collection, Mapping
from datetime import date
from functools import partial

from ..archive.listings import read_usable_listing
from ..archive.object_store import ObjectStore
from ..archive.parquet import Row
from ..archive.tables import Tables
from ..core.clock import Clock
from ..core.listing import PageSpan
from ..core.retention import upstream_expires_on
from .day_states import DayState, days_within_retention, look_at_day_states

_NIGHTS = 28
_SHARE_OF_QUOTA_PERCENT = 5
_CALLS_PER_REQUEST = 100
_OTHER_REQUESTS = 10  # totals, the first pages again, two counters
_MOST_UNFIT = 28  # listings that are read in vain, a night


def find_days_to_repeat(
    first: date,
    last: date,
    *,
    store: ObjectStore,
    tables: Tables,
    clock: Clock,
    retention_days: int | None,
    lookback_days: int,
    requests_per_day: int | None,
    under_way: Collection[date],
) -> list[date]:
    """Return the settled days from `first` to `last` that are to be archived anew tonight.

    `requests_per_day` is the plan's quota. Days of `under_way` have a run already.
    """
    days = days_within_retention(first, last, clock, retention_days)
    return select_days_to_repeat(
        look_at_day_states(days, store=store, tables=tables),
        today=clock.now().date(),
        retention_days=retention_days,
        lookback_days=lookback_days,
        requests_per_day=requests_per_day,
        under_way=under_way,
        find_pages=partial(_find_pages, store),
    )


def select_days_to_repeat(
    states: Mapping[date, DayState],
    *,
    today: date,
    retention_days: int | None,
    lookback_days: int,
    requests_per_day: int | None,
    under_way: Collection[date] = (),
    find_pages: Callable[[date], PageSpan | None] = lambda _: None,
) -> list[date]:
    """Select settled days, the one that upstream deletes first at the front; `states` are of all days within retention.

    `find_pages` says where a day lies in a list without a date filter. It reads the day's listing, which may have
    10 MB: it is asked about days only that fit by their row, and about 28 at most that do not fit then.

    They are a 28th of the days, and need at most 5 % of the plan's daily requests: a day that does not fit is left out,
    and so is one whose recordings may be deleted today. A day pauses after each check, so that it is not repeated every
    night: for 28 nights, and for a quarter of a shorter retention, so that each day has a turn before it is deleted.
    """
    pause_days = _NIGHTS if retention_days is None else min(_NIGHTS, max(1, retention_days // 4))
    count = -(-len(states) // _NIGHTS)
    requests_left = None if requests_per_day is None else requests_per_day * _SHARE_OF_QUOTA_PERCENT // 100
    chosen: list[date] = []
    unfit = 0
    for day, state in sorted(states.items()):
        expires_on = upstream_expires_on(day, retention_days)
        if day in under_way or (expires_on is not None and expires_on <= today):
            continue
        row = state.row
        if row is None or not state.is_settled(day, lookback_days):
            continue
        if (today - row["checked_at"].date()).days < pause_days:
            continue
        if requests_left is not None:
            if requests_left < _OTHER_REQUESTS or unfit == _MOST_UNFIT:
                break
            if _estimate_requests(row) > requests_left:
                continue
            cost = _estimate_requests(row, find_pages(day))
            if cost > requests_left:
                unfit += 1
                continue
            requests_left -= cost
        chosen.append(day)
        if len(chosen) == count:
            break
    return chosen


def _estimate_requests(row: Row, pages: PageSpan | None = None) -> int:
    """Return about how many API requests a settled day needs: its list, and a few more. Nothing else of it is pending.

    A list without a date filter is read twice, after a bisection of its pages. That is never less than the row says.
    """
    calls: int = max(row["calls"], row["listed_total"])
    page_count = -(-calls // _CALLS_PER_REQUEST)
    if pages is not None:
        page_count = 2 * (pages.last_page - pages.first_page + 1) + pages.last_page.bit_length()
    return page_count + _OTHER_REQUESTS


def _find_pages(store: ObjectStore, day: date) -> PageSpan | None:
    listing = read_usable_listing(store, day)
    return listing.pages if listing is not None else None
