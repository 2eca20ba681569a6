"""The retry loop of every conditional write: read, change, write if nobody else wrote, otherwise start again."""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from ..core.clock import Clock
from ..core.errors import ArchiveUnavailable, ObjectChanged, ObjectExists
from .object_store import ObjectStore, PutMode

ATTEMPTS = 5
# Beside S3's own retries: half a minute for one object, and half an hour for what exists nowhere else.
SHORT_PATIENCE, LONG_PATIENCE = 6, 35
_LONGEST_PAUSE_SECONDS = 60

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


def insist(write: Callable[[], _T], clock: Clock, *, attempts: int) -> _T:
    """Call `write` until the store takes it, with growing pauses where it throttles or does not answer.

    Raises `ArchiveUnavailable` after so many attempts, and any other error at once.
    """
    retrying = Retrying(
        retry=retry_if_exception_type(ArchiveUnavailable),
        stop=stop_after_attempt(attempts),
        wait=wait_exponential(max=_LONGEST_PAUSE_SECONDS),
        sleep=clock.sleep,
        reraise=True,
    )
    return retrying(write)
