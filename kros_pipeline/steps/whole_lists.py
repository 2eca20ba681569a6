"""A list in no order has no place for a day: it is read whole, once for all days that are to be listed."""

from dataclasses import replace
from datetime import date, timedelta

from ..archive.listings import read_usable_listing, update_listing
from ..archive.object_store import ObjectStore
from ..core.clock import Clock
from ..core.days import days_from, grace_is_over, parse_time
from ..core.listing import Listing

_MAX_AGE = timedelta(hours=20)


def find_unlisted_days(
    day: date,
    first_day: date,
    *,
    store: ObjectStore,
    clock: Clock,
    lookback_days: int,
    retention_days: int | None,
) -> list[date]:
    """Return the other days that are to be listed: never listed, not proved, or listed before late calls could come.

    They are those of which upstream may still have recordings, from `first_day` on, the archive's first partition.
    """
    today = clock.now().date()
    first = first_day if retention_days is None else max(first_day, today - timedelta(days=retention_days))
    return [
        other
        for other in days_from(first, today - timedelta(days=1))
        if other != day and not _is_listed(other, read_usable_listing(store, other), lookback_days)
    ]


def take_over_listing(day: date, *, store: ObjectStore, clock: Clock, lookback_days: int) -> Listing | None:
    """Return the listing that another day's run has made of this day, if it is fresh, and mark it as taken over.

    It may be one that was not proved: reading the whole list again for each day would prove no more.
    """
    listing = read_usable_listing(store, day)
    listed_at = parse_time(listing.listed_at) if listing is not None else None
    if listing is None or listed_at is None or not listing.listed_for:
        return None
    now = clock.now()
    is_late = grace_is_over(day, now, lookback_days) and not grace_is_over(day, listed_at, lookback_days)
    if is_late or now - listed_at > _MAX_AGE:
        return None
    return update_listing(store, day, lambda last: replace(last or listing, listed_for=""))


def _is_listed(day: date, listing: Listing | None, lookback_days: int) -> bool:
    listed_at = parse_time(listing.listed_at) if listing is not None and listing.proved else None
    return listed_at is not None and grace_is_over(day, listed_at, lookback_days)
