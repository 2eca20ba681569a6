"""Find which calls have reviews, and which of those were erased since: a review that was sent then may survive."""

from datetime import date

from ..core.object_keys import call_reviews_prefix, reviews_prefix
from .object_store import ObjectStore
from .tombstones import Tombstones


def reviewed_keys(store: ObjectStore, day: date) -> set[str]:
    """Return the keys of a day's calls that somebody reviewed."""
    prefix = reviews_prefix(day)
    return {folder.removeprefix(prefix).strip("/") for folder in store.folders(prefix)}


def reviews_of_erased_calls(
    store: ObjectStore, day: date, tombstones: Tombstones, pseudonyms: frozenset[str]
) -> list[str]:
    """Return the folders of a day's reviews whose call is among these pseudonyms.

    The page looks at the tombstones before it writes a review, and may not delete. So a write that takes longer than
    the erasure waits survives it: no condition can refuse it, because its key has the time.
    """
    keys = sorted(reviewed_keys(store, day)) if pseudonyms else []
    return [call_reviews_prefix(day, key) for key in keys if tombstones.matches(key, pseudonyms)]
