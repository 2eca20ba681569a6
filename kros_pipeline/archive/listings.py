"""The listing of each day: what the last reading of its list came to (`state/listings/`)."""

from dataclasses import asdict
from datetime import date

from ..core.listing import Listing
from ..core.object_keys import listing_key
from .json_objects import read_json, replace_json
from .object_store import ObjectStore


def read_listing(store: ObjectStore, day: date) -> Listing | None:
    """Return the listing of a day; None where it was never listed."""
    stored = read_json(store, listing_key(day))
    return Listing.from_json(stored) if stored is not None else None


def save_listing(store: ObjectStore, day: date, listing: Listing) -> None:
    """Replace the listing of a day. Two runs at once may both write: each is true, and the later one stays."""
    replace_json(store, listing_key(day), asdict(listing))
