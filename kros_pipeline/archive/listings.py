"""Read and update the listing of a day: what the last enumeration saw, and whether it was proved."""

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import date
from functools import partial

from ..core.errors import UnreadableListing
from ..core.listing import Listing
from ..core.object_keys import listing_key
from .json_objects import update_parsed
from .object_store import ObjectStore


def read_listing(store: ObjectStore, day: date) -> Listing | None:
    """Return what the last enumeration of the day saved; None where there was none. Raises `UnreadableListing`."""
    body = store.read(listing_key(day))
    return _parse(day, body) if body is not None else None


def read_usable_listing(store: ObjectStore, day: date) -> Listing | None:
    """Return the last listing of the day; None also where it cannot be read."""
    body = store.read(listing_key(day))
    return _parse_usable(day, body) if body is not None else None


def update_listing(store: ObjectStore, day: date, change: Callable[[Listing | None], Listing]) -> Listing:
    """Save what `change` makes of the day's last listing, and return it. A listing that cannot be read is replaced.

    Two runs at once may both save: the later one stays, and is made from the earlier one.
    """
    return update_parsed(store, listing_key(day), change, parse=partial(_parse_usable, day), dump=asdict)


def _parse_usable(day: date, body: bytes) -> Listing | None:
    try:
        return _parse(day, body)
    except UnreadableListing:
        return None


def _parse(day: date, body: bytes) -> Listing:
    try:
        stored = json.loads(body)
        if not isinstance(stored, dict):
            raise ValueError("it is no object")
        return Listing.from_json(stored)
    except (ValueError, RecursionError):
        raise UnreadableListing(
            f"{listing_key(day)} cannot be read as a listing of the day: somebody else wrote or cut it. The next run "
            "of `calls` replaces it"
        ) from None
