"""Rows of the list that could not be read as calls: kept below `state/unparsed/`, unless they were erased.

Nobody knows whose row a reservation is for, so an erasure deletes all reservations of rows.
"""

import hashlib
import json
from collections.abc import Iterator
from datetime import date
from functools import partial

from ..core.object_keys import UNPARSED, unparsed_key
from ..core.row_identity import id_of_row, numbers_of_row
from .object_store import ObjectStore
from .reserved_writes import RESERVATION_BYTES, is_reservation, keep_unless_erased
from .tombstones import MAX_AGE_SECONDS, Tombstones


class UnparsedRows:
    """The unparsed rows of one archive. `country` is that of national phone numbers."""

    def __init__(self, store: ObjectStore, tombstones: Tombstones, country: str | None):
        self._store, self._tombstones, self._country = store, tombstones, country

    def keep(self, day: date, raw_json: str) -> None:
        """Keep a row, unless it is kept already or was erased."""
        is_erased = partial(self.is_erased, day, raw_json, max_age_seconds=0.0)
        keep_unless_erased(self._store, _key_of(day, raw_json), raw_json.encode(), is_erased)

    def is_of_erased_call(self, day: date, raw_json: str, *, max_age_seconds: float = MAX_AGE_SECONDS) -> bool:
        """Return whether a row is an erased call's, or is of a number whose calls are not archived any more."""
        row = json.loads(raw_json)
        call_id, numbers = id_of_row(row), numbers_of_row(row, self._country)
        pseudonyms = self._tombstones.pseudonyms(max_age_seconds=max_age_seconds)
        if numbers and self._tombstones.is_number_stopped(numbers):
            return True
        if call_id is not None:
            return bool(pseudonyms) and self._tombstones.is_erased(call_id)
        return any(map(self._tombstones.is_row_erased, self.names_of(_key_of(day, raw_json), row)))

    def is_erased(self, day: date, raw_json: str, *, max_age_seconds: float = MAX_AGE_SECONDS) -> bool:
        """Return whether a row was erased: it is an erased call's, or it is another call's and named an erased one."""
        if self.is_of_erased_call(day, raw_json, max_age_seconds=max_age_seconds):
            return True
        return self._tombstones.is_row_erased(_key_of(day, raw_json))

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
            if body is not None and not is_reservation(body):
                yield entry.key, parse_row(body)

    def reservations(self) -> Iterator[str]:
        """Yield the key of every row that is being written, or whose writer was killed."""
        for entry in self._store.list(UNPARSED):
            body = self._store.read(entry.key) if entry.size_bytes == RESERVATION_BYTES else None
            if body is not None and is_reservation(body):
                yield entry.key


def _key_of(day: date, raw_json: str) -> str:
    return unparsed_key(day, hashlib.sha256(raw_json.encode()).hexdigest())


def parse_row(body: bytes) -> object:
    """Return the JSON of a kept row; its text where somebody else wrote another thing there."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body.decode(errors="replace")
