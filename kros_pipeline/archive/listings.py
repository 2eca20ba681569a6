"""Read and save the listing of a day: what the last enumeration saw, and whether it was proved."""

from dataclasses import asdict
from datetime import date

from ..core.listing import Listing
from ..core.object_keys import listing_key
from .json_objects import read_json, replace_json
from .object_store import ObjectStore


def read_listing(store: ObjectStore, day: date) -> Listing | None:
    """Return what the last enumeration of the day saved; None where there was none."""
    stored = read_json(store, listing_key(day))
    return Listing.from_json(stored) if stored is not None else None


def save_listing(store: ObjectStore, day: date, listing: Listing) -> None:
    """Save the listing of a day in place of the last one. Two runs at once may both save: the later one stays."""
    replace_json(store, listing_key(day), asdict(listing))
