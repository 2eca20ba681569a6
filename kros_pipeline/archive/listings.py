"""Read and update the listing of a day: what the last enumeration saw, and whether it was proved."""

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import date
from io import BytesIO

from ..core.errors import UnreadableListing
from ..core.listing import Listing
from ..core.object_keys import listing_key
from .compare_and_swap import compare_and_swap
from .json_objects import put_json
from .object_store import CREATE, ObjectStore, Replace


def read_listing(store: ObjectStore, day: date) -> Listing | None:
    """Return what the last enumeration of the day saved; None where there was none. Raises `UnreadableListing`."""
    body = store.read(listing_key(day))
    return _parse(day, body) if body is not None else None


def read_usable_listing(store: ObjectStore, day: date) -> Listing | None:
    """Return the last listing of the day; None also where it cannot be read."""
    try:
        return read_listing(store, day)
    except UnreadableListing:
        return None


def update_listing(store: ObjectStore, day: date, change: Callable[[Listing | None], Listing]) -> Listing:
    """Save what `change` makes of the day's last listing, and return it. A listing that cannot be read is replaced.

    Two runs at once may both save: the later one stays, and is made from the earlier one.
    """
    key = listing_key(day)

    def write() -> Listing:
        file = BytesIO()
        version = store.copy_into(key, file)
        last: Listing | None = None
        if version is not None:
            try:
                last = _parse(day, file.getvalue())
            except UnreadableListing:
                last = None
        listing = change(last)
        if listing != last:
            put_json(store, key, asdict(listing), Replace(version) if version is not None else CREATE)
        return listing

    return compare_and_swap(key, write)


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
