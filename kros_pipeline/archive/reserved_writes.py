"""Writes that lose against an erasure, however long they take, at keys where no empty object can stand for them.

Such an object is written in two steps: reserve the key by a unique content, look for tombstones, replace the
reservation by the object. An erasure writes its tombstones and then deletes the reservations: a write whose reservation
is gone fails, and its writer looks again.
"""

import hashlib
import uuid
from collections.abc import Callable
from io import BytesIO

from .compare_and_swap import compare_and_swap
from .object_store import CREATE, ObjectStore, PutMode, Replace, VersionToken

_RESERVED = b"reserved "  # no JSON begins like that
RESERVATION_BYTES = len(_RESERVED) + 32
_CONTENT_TYPE = "application/json"


def keep_unless_erased(store: ObjectStore, key: str, body: bytes, is_erased: Callable[[], bool]) -> None:
    """Write JSON, unless an object is at the key already, or what it is about was erased.

    `is_erased` looks for tombstones afresh. It is asked before the key is reserved, too: the key may name a call.
    """

    def write() -> None:
        version, is_kept = _read(store, key)
        if is_kept or is_erased():
            return
        if version is None:
            version = _put(store, key, _RESERVED + uuid.uuid4().hex.encode())
            if is_erased():
                return
        _put(store, key, body, version)

    compare_and_swap(key, write)


def is_reservation(body: bytes) -> bool:
    """Return whether an object only reserves its key: it is being written, or its writer was killed."""
    return body.startswith(_RESERVED)


def _put(store: ObjectStore, key: str, body: bytes, replaced: VersionToken | None = None) -> VersionToken:
    mode: PutMode = Replace(replaced) if replaced is not None else CREATE
    return store.put(key, body, sha256=hashlib.sha256(body).hexdigest(), mode=mode, content_type=_CONTENT_TYPE)


def _read(store: ObjectStore, key: str) -> tuple[VersionToken | None, bool]:
    """Return the version of what is at a key, and whether it is kept; another writer's reservation is taken over."""
    file = BytesIO()
    version = store.copy_into(key, file)
    return version, version is not None and not is_reservation(file.getvalue())
