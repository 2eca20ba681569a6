"""Read and write the archive's small JSON objects."""

import hashlib
import json
from collections.abc import Callable
from functools import partial
from io import BytesIO
from typing import Any, TypeAlias, TypeVar

from ..core.errors import ArchiveError, ObjectExists
from .compare_and_swap import compare_and_swap
from .object_store import CREATE, ObjectStore, PutMode, Replace, VersionToken

Content: TypeAlias = dict[str, Any]
_Value = TypeVar("_Value")


def read_json(store: ObjectStore, key: str) -> Content | None:
    """Return a JSON object; None where there is none at the key. Raises `ArchiveError` for any other content."""
    body = store.read(key)
    return _parse(store, key, body) if body is not None else None


def read_expendable_json(store: ObjectStore, key: str) -> Content:
    """Return a JSON object that can be made again; an empty one where there is none, or any other content."""
    body = store.read(key)
    return (_parse_expendable(body) if body is not None else None) or {}


def list_names(store: ObjectStore, prefix: str) -> frozenset[str]:
    """Return the names of the JSON objects below a prefix: their keys without the prefix and `.json`."""
    return frozenset(entry.key.removeprefix(prefix).removesuffix(".json") for entry in store.list(prefix))


def create_json(store: ObjectStore, key: str, value: object) -> bool:
    """Create a JSON object. Return False, and write nothing, where an object is at the key already."""
    try:
        put_json(store, key, value, CREATE)
    except ObjectExists:
        return False
    return True


def replace_json(store: ObjectStore, key: str, value: object) -> None:
    """Write a JSON object in place of whatever is at the key; of two writers at once, the later one stays.

    Nothing is put where the key has the same bytes: an earlier try, whose answer was lost, wrote them.
    """
    body = _to_bytes(value)

    def write() -> None:
        file = BytesIO()
        version = store.copy_into(key, file)
        if version is None or file.getvalue() != body:
            _put_bytes(store, key, body, Replace(version) if version is not None else CREATE)

    compare_and_swap(key, write)


def update_json(store: ObjectStore, key: str, change: Callable[[Content | None], Content]) -> Content:
    """Write what `change` makes of the present JSON object, or of None, and return it; see `update_parsed`."""
    return update_parsed(store, key, change, parse=partial(_parse, store, key), dump=dict)


def update_expendable_json(store: ObjectStore, key: str, change: Callable[[Content], Content]) -> Content:
    """Write what `change` makes of a JSON object that can be made again; any other content is replaced."""
    return update_parsed(store, key, lambda present: change(present or {}), parse=_parse_expendable, dump=dict)


def update_parsed(
    store: ObjectStore,
    key: str,
    change: Callable[[_Value | None], _Value],
    *,
    parse: Callable[[bytes], _Value | None],
    dump: Callable[[_Value], Content],
) -> _Value:
    """Write what `change` makes of the present value, or of None, and return it; nothing is put if it is equal.

    `change` is called again where another writer was first, so that neither loses what the other wrote; it is not
    where the bytes at the key are those of an earlier try, whose answer was lost. `parse` reads an object's bytes;
    where it returns None, the object is replaced as if it were absent.
    """
    tried: list[tuple[bytes, _Value]] = []

    def write() -> _Value:
        file = BytesIO()
        version = store.copy_into(key, file)
        if version is not None and tried and file.getvalue() == tried[-1][0]:
            return tried[-1][1]
        present = parse(file.getvalue()) if version is not None else None
        value = change(present)
        if value != present:
            body = _to_bytes(dump(value))
            tried.append((body, value))
            _put_bytes(store, key, body, Replace(version) if version is not None else CREATE)
        return value

    return compare_and_swap(key, write)


def put_json(store: ObjectStore, key: str, value: object, mode: PutMode) -> VersionToken:
    """Write a JSON object under the condition of `mode`; return its version. Raises what `ObjectStore.put` raises."""
    return _put_bytes(store, key, _to_bytes(value), mode)


def _to_bytes(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, indent=1).encode()


def _put_bytes(store: ObjectStore, key: str, body: bytes, mode: PutMode) -> VersionToken:
    return store.put(key, body, sha256=hashlib.sha256(body).hexdigest(), mode=mode, content_type="application/json")


def _parse_expendable(body: bytes) -> Content | None:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _parse(store: ObjectStore, key: str, body: bytes) -> Content:
    value = _parse_expendable(body)
    if value is None:
        raise ArchiveError(f"{store.url(key)} does not hold the JSON object that was written there")
    return value
