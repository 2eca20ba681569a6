"""The retry loop of every conditional write: read, change, write if nobody else wrote, otherwise start again."""

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from ..core.errors import ArchiveUnavailable, ObjectChanged, ObjectExists

ATTEMPTS = 5

_T = TypeVar("_T")


def compare_and_swap(key: str, write: Callable[[], _T], *, read_again: Callable[[], object] | None = None) -> _T:
    """Call `write` until its condition holds, and return what it returns.

    `write` raises `ObjectExists` or `ObjectChanged` where another writer was first; then `read_again` is called, if it
    is given, and `write` once more. `key` is the object that the message names.

    Raises `ArchiveUnavailable` after `ATTEMPTS` conflicts in a row.
    """
    for attempt in range(ATTEMPTS):
        if attempt and read_again is not None:
            read_again()
        with suppress(ObjectExists, ObjectChanged):
            return write()
    raise ArchiveUnavailable(f"{key} was replaced by others {ATTEMPTS} times in a row")
