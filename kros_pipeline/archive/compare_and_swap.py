"""The retry loop of every conditional write: read, change, write if nobody else wrote, otherwise start again."""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from ..core.errors import ArchiveUnavailable, ObjectChanged, ObjectExists
from .object_store import ObjectStore, PutMode

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


def put_unique(store: ObjectStore, key: str, body: bytes, mode: PutMode) -> None:
    """Put bytes that no other writer has. Where they are at the key, a conflict is an own write whose answer was lost.

    Raises what `ObjectStore.put` raises.
    """
    try:
        store.put(key, body, sha256=hashlib.sha256(body).hexdigest(), mode=mode)
    except (ObjectExists, ObjectChanged):
        if store.read(key) != body:
            raise
