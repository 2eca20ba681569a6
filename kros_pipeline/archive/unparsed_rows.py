"""Rows of the list that could not be read as calls: kept below `state/unparsed/`, unless they were erased.

A row is written in two steps, so that none arrives after its erasure however long a write takes: reserve the key by a
unique content, look for tombstones, replace the reservation by the row. An erasure writes its tombstones and then
deletes all reservations: a row whose reservation is gone is not written, and its writer looks again.
"""

import hashlib
import json
import uuid
from collections.abc import Iterator
from datetime import date

from ..core.errors import ObjectChanged
from ..core.object_keys import UNPARSED, unparsed_key
from ..core.row_identity import id_of_row, numbers_of_row
from .compare_and_swap import compare_and_swap
from .object_store import CREATE, ObjectStore, Replace, VersionToken
from .tombstones import MAX_AGE_SECONDS, Tombstones

_RESERVED = b"reserved "  # no JSON begins like that
_CONTENT_TYPE = "application/json"


class UnparsedRows:
    """The unparsed rows of one archive. `country` is that of national phone numbers."""

    def __init__(self, store: ObjectStore, tombstones: Tombstones, country: str | None):
        self._store, self._tombstones, self._country = store, tombstones, country

    def keep(self, day: date, raw_json: str) -> None:
        """Keep a row, unless it is kept already or was erased."""
        body = raw_json.encode()
        digest = hashlib.sha256(body).hexdigest()
        key = unparsed_key(day, digest)

        def write() -> None:
            version, is_kept = self._read(key)
            if is_kept:
                return
            if version is None:
                reservation = _RESERVED + uuid.uuid4().hex.encode()
                reserved_digest = hashlib.sha256(reservation).hexdigest()
                version = self._store.put(
                    key, reservation, sha256=reserved_digest, mode=CREATE, content_type=_CONTENT_TYPE
                )
            if self.is_erased(day, raw_json, max_age_seconds=0.0):
                return
            self._store.put(key, body, sha256=digest, mode=Replace(version), content_type=_CONTENT_TYPE)

        if not self.is_erased(day, raw_json):
            compare_and_swap(key, write)

    def is_erased(self, day: date, raw_json: str, *, max_age_seconds: float = MAX_AGE_SECONDS) -> bool:
        """Return whether a row was erased, or is of a number whose calls are not archived any more."""
        row = json.loads(raw_json)
        call_id, numbers = id_of_row(row), numbers_of_row(row, self._country)
        pseudonyms = self._tombstones.pseudonyms(max_age_seconds=max_age_seconds)
        if numbers and self._tombstones.is_number_stopped(numbers):
            return True
        if call_id is not None and pseudonyms and self._tombstones.is_erased(call_id):
            return True
        names = self.names_of(unparsed_key(day, hashlib.sha256(raw_json.encode()).hexdigest()), row)
        return any(self._tombstones.is_row_erased(name) for name in names)

    def names_of(self, key: str, row: object, number: str | None = None) -> list[str]:
        """Return the names of a row's tombstones: without an id it is known by its numbers.

        `number` is the one whose erasure takes the row; without it, the names are those that may have a tombstone. The
        first name, the row's key, is a hash of the whole row: version 0.1.0 knew no other.
        """
        if id_of_row(row) is not None:
            return [key]
        numbers = numbers_of_row(row, self._country)
        if number is not None:
            return [key, f"number {number}"]
        both = [f"numbers {' '.join(numbers)}"] if numbers else []
        return [key, *both, *(f"number {one}" for one in numbers)]

    def rows(self) -> Iterator[tuple[str, object]]:
        """Yield the key and the JSON of every kept row; the text of one that is no JSON."""
        for entry in self._store.list(UNPARSED):
            body = self._store.read(entry.key)
            if body is not None and not body.startswith(_RESERVED):
                yield entry.key, parse_row(body)

    def reservations(self) -> Iterator[str]:
        """Yield the key of every row that is being written, or whose writer was killed."""
        for entry in self._store.list(UNPARSED):
            body = self._store.read(entry.key) if entry.size_bytes == len(_RESERVED) + 32 else None
            if body is not None and body.startswith(_RESERVED):
                yield entry.key

    def _read(self, key: str) -> tuple[VersionToken | None, bool]:
        """Return the version of what is at a key, and whether it is a row; another writer's reservation is taken."""
        head = self._store.head(key)
        if head is None:
            return None, False
        body = self._store.read(key)
        if body is None:
            raise ObjectChanged(f"{key} was deleted meanwhile")
        return head.version, not body.startswith(_RESERVED)


def parse_row(body: bytes) -> object:
    """Return the JSON of a kept row; its text where somebody else wrote another thing there."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body.decode(errors="replace")
