"""The compare-and-swap loop: read, write under a condition, and start again where another writer came between."""

from collections.abc import Callable
from typing import TypeVar

from ..core.errors import ArchiveUnavailable, ObjectChanged, ObjectExists

MAX_ATTEMPTS = 5

_Result = TypeVar("_Result")


class Conflict(Exception):
    """Raised by an attempt that has to be made again for another reason than the store's condition."""


def retry_on_conflict(key: str, attempt: Callable[[int], _Result]) -> _Result:
    """Call `attempt` (with its number, from 0) until no other writer came between reading and writing.

    Raises `ArchiveUnavailable` after five conflicts in a row.
    """
    for number in range(MAX_ATTEMPTS):
        try:
            return attempt(number)
        except (ObjectExists, ObjectChanged, Conflict):
            continue
    raise ArchiveUnavailable(f"{key} was replaced by others {MAX_ATTEMPTS} times in a row")
