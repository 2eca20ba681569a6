"""Read and update the listing of a day: what the last enumeration saw, and whether it was proved."""

from collections.abc import Callable
from dataclasses import asdict
from datetime import date
from typing import Any

from ..core.listing import Listing
from ..core.object_keys import listing_key
from .json_objects import read_json, update_json
from .object_store import ObjectStore


def read_listing(store: ObjectStore, day: date) -> Listing | None:
    """Return what the last enumeration of the day saved; None where there was none."""
    stored = read_json(store, listing_key(day))
    return Listing.from_json(stored) if stored is not None else None


def update_listing(store: ObjectStore, day: date, change: Callable[[Listing | None], Listing]) -> Listing:
    """Save what `change` makes of the day's last listing, and return it.

    Two runs at once may both save: the later one stays, and is made from the earlier one.
    """

    def write(stored: dict[str, Any] | None) -> dict[str, Any]:
        return asdict(change(Listing.from_json(stored) if stored is not None else None))

    return Listing.from_json(update_json(store, listing_key(day), write))
