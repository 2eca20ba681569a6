"""Small JSON objects in the archive: read, create if absent, replace."""

import hashlib
import json
from typing import Any

from ..core.errors import ArchiveError, ObjectExists
from .compare_and_swap import retry_on_conflict
from .object_store import CREATE, ObjectStore, PutMode, Replace


def read_json(store: ObjectStore, key: str) -> dict[str, Any] | None:
    """Return a JSON object; None where there is none. Raises `ArchiveError` where something else stands there."""
    body = store.read(key)
    if body is None:
        return None
    try:
        value = json.loads(body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ArchiveError(f"{store.url(key)} does not hold the JSON that was written there")
    return value


def create_json(store: ObjectStore, key: str, value: object) -> bool:
    """Create a JSON object; return False, and write nothing, where the key has one already."""
    try:
        _put(store, key, value, CREATE)
    except ObjectExists:
        return False
    return True


def replace_json(store: ObjectStore, key: str, value: object) -> None:
    """Write a JSON object whatever stands there. Of two writers at once, both write, and the later one stays."""

    def attempt(_: int) -> None:
        head = store.head(key)
        _put(store, key, value, Replace(head.version) if head else CREATE)

    retry_on_conflict(key, attempt)


def _put(store: ObjectStore, key: str, value: object, mode: PutMode) -> None:
    body = json.dumps(value, ensure_ascii=False, sort_keys=True, indent=1).encode()
    digest = hashlib.sha256(body).hexdigest()
    store.put(key, body, sha256=digest, mode=mode, content_type="application/json")
