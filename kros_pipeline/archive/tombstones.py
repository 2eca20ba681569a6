"""Tombstones of erased calls: one object per call and day, named by the call's pseudonym.

A call is erased whatever day its tombstone is kept under: upstream may move a call to another day, and it must not come
back there. The day only serves to count the erased calls of a day.

A run that is under way when a call is erased still has the call in memory, and would write it again. So every write
looks for new tombstones first, or did so at most `MAX_AGE_SECONDS` before. That costs one HEAD: the marker
`state/erased.json` is replaced after each tombstone, and all tombstones are listed once a run and after each change of
the marker. The first listing always happens: version 0.1.0 wrote no marker.

Where the operator asks for it, a phone number has a tombstone, too: a call of it that is listed later gets a call's
tombstone, and is not archived. The marker's metadata says which key the tombstones were made with, so that a run with
another one notices it at its next look.
"""

import json
import uuid
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from hashlib import sha256
from threading import Lock

from ..core.clock import Clock
from ..core.errors import ArchiveDenied, ObjectChanged, ObjectExists
from ..core.object_keys import (
    ERASURE_IDENTITY,
    NUMBER_TOMBSTONES,
    TOMBSTONES,
    TOMBSTONES_MARKER,
    call_key,
    day_in,
    erased_row_key,
    number_tombstone_key,
    tombstone_key,
)
from ..core.pseudonyms import key_check, pseudonym
from .json_objects import create_json, list_names, read_json
from .object_store import CREATE, ObjectStore, Replace, VersionToken

_KEY_CHECK = "key-check"
_OTHER_KEY = (
    "KROS_ERASURE_KEY is not the key with which calls of this archive were erased: this machine could not recognize "
    "them, and would archive them again. Give every machine the same key."
)
MAX_AGE_SECONDS = 2.0  # of the look that a write relies on: one look per write would double the requests


@dataclass(frozen=True, slots=True)
class _Known:
    """All pseudonyms, and by day, as listed once the marker had this version; and when the marker was last asked for.

    `asked_at` is in seconds of the monotonic clock.
    """

    asked_at: float
    marker: VersionToken | None
    pseudonyms: frozenset[str]
    by_day: dict[date, frozenset[str]]


class Tombstones:
    """The erased calls of the archive. Threads may share it."""

    def __init__(self, store: ObjectStore, key: str | None, clock: Clock):
        self._store, self._key, self._clock = store, key, clock
        self._known: _Known | None = None
        self._numbers: tuple[VersionToken | None, frozenset[str]] = (None, frozenset())  # as of this marker
        self._lock = Lock()

    def check_key(self) -> None:
        """Raise `ArchiveDenied` where calls were erased with another key than the setting's."""
        stored = read_json(self._store, ERASURE_IDENTITY)
        if stored is None:
            return
        if self._key is None:
            raise ArchiveDenied(
                "KROS_ERASURE_KEY is missing: calls of this archive were erased, and without the key nobody could tell "
                "which must not come back."
            )
        if stored.get("key_check") != key_check(self._key):
            raise ArchiveDenied(_OTHER_KEY)

    def claim_key(self) -> None:
        """Make the key the archive's, if nothing was erased yet. Raises `ArchiveDenied` where it has another one."""
        if self._key is None:
            raise ArchiveDenied("KROS_ERASURE_KEY is missing: without it nothing can be erased.")
        create_json(self._store, ERASURE_IDENTITY, {"key_check": key_check(self._key)})
        self.check_key()

    def pseudonyms(self, *, max_age_seconds: float = 0.0) -> frozenset[str]:
        """Return the pseudonyms of all erased calls, by a look at the archive that is at most `max_age_seconds` old.

        With 0 the archive is asked again.
        """
        return self._look(max_age_seconds).pseudonyms

    def pseudonyms_of(self, day: date, *, max_age_seconds: float = 0.0) -> frozenset[str]:
        """Return the pseudonyms of the calls that were erased from a day: to count them, and not to recognize one."""
        return self._look(max_age_seconds).by_day.get(day, frozenset())

    def is_erased(self, call_id: str, *, max_age_seconds: float = MAX_AGE_SECONDS) -> bool:
        """Return whether a call was erased from any day, by a look that is at most `max_age_seconds` old."""
        return self.matches(call_key(call_id), self.pseudonyms(max_age_seconds=max_age_seconds))

    def _look(self, max_age_seconds: float) -> _Known:
        begun_at, known = self._clock.monotonic(), self._recent(max_age_seconds)
        if known is None:
            with self._lock:
                known = self._recent(max_age_seconds)  # another thread may have looked meanwhile
                if known is None and self._known is not None and self._known.asked_at > begun_at:
                    known = self._known
                if known is None:
                    known = self._known = self._ask()
        return known

    def _recent(self, max_age_seconds: float) -> _Known | None:
        known = self._known
        if known is None or not max_age_seconds or self._clock.monotonic() - known.asked_at > max_age_seconds:
            return None
        return known

    def _ask(self) -> _Known:
        """Ask for the marker before the list: a tombstone that comes in between is listed once more at the worst."""
        asked_at, head = self._clock.monotonic(), self._store.head(TOMBSTONES_MARKER)
        marker = head.version if head is not None else None
        made_with = head.metadata.get(_KEY_CHECK) if head is not None else None
        if made_with is not None and self._key is not None and made_with != key_check(self._key):
            raise ArchiveDenied(_OTHER_KEY)  # another machine has erased since this run began
        if self._known is not None and self._known.marker == marker:
            return replace(self._known, asked_at=asked_at)
        found: dict[date, set[str]] = {}
        for entry in self._store.list(TOMBSTONES):
            day = day_in(entry.key)
            if day is not None:
                found.setdefault(day, set()).add(entry.key.rsplit("/", 1)[1].removesuffix(".json"))
        by_day = {day: frozenset(pseudonyms) for day, pseudonyms in found.items()}
        return _Known(asked_at, marker, frozenset().union(*by_day.values()), by_day)

    def matches(self, key: str, pseudonyms: frozenset[str]) -> bool:
        """Return whether one of the pseudonyms is that of a call key."""
        return bool(pseudonyms) and self.pseudonym(key) in pseudonyms

    def pseudonym(self, key: str) -> str:
        """Return the pseudonym of a call key. Raises `ArchiveDenied` where the setting of the key is missing."""
        if self._key is None:
            raise ArchiveDenied("KROS_ERASURE_KEY is missing: calls of this archive were erased, or are to be.")
        return pseudonym(self._key, key)

    def add_call(self, day: date, call_id: str) -> None:
        """Write a call's tombstone, then replace the marker. The call is erased from now on, from any day, for good."""
        content = self._content() | {"day": day.isoformat()}  # moved to another folder, it counts for no other day
        create_json(self._store, tombstone_key(day, self.pseudonym(call_key(call_id))), content)
        self._replace_marker()  # even if the tombstone existed: a run that was killed may have left the marker out
        with self._lock:
            self._known = None

    def _replace_marker(self) -> None:
        """Give the marker another version. Where another writer is faster, the marker has another version, too."""
        head = self._store.head(TOMBSTONES_MARKER)
        body = json.dumps(self._content() | {"token": uuid.uuid4().hex}, sort_keys=True, indent=1).encode()
        with suppress(ObjectExists, ObjectChanged):
            self._store.put(
                TOMBSTONES_MARKER,
                body,
                sha256=sha256(body).hexdigest(),
                mode=Replace(head.version) if head is not None else CREATE,
                metadata={_KEY_CHECK: key_check(self._key)} if self._key is not None else None,
                content_type="application/json",
            )

    def is_row_erased(self, name: str) -> bool:
        """Return whether an unparsed row of the list was erased; `name` is one of its names in `UnparsedRows`."""
        return self._key is not None and self._store.head(erased_row_key(self.pseudonym(name))) is not None

    def add_unparsed_row(self, name: str) -> None:
        """Write the tombstone of the unparsed rows that have this name."""
        self.add_row_pseudonym(self.pseudonym(name))

    def add_row_pseudonym(self, pseudonym: str) -> None:
        """Write the tombstone of unparsed rows by the pseudonym of their name."""
        create_json(self._store, erased_row_key(pseudonym), self._content())

    def stop_number(self, pseudonym: str) -> None:
        """Write the tombstone of a phone number, by the pseudonym of its name: calls of it are not archived."""
        create_json(self._store, number_tombstone_key(pseudonym), self._content())
        self._replace_marker()
        with self._lock:
            self._known = None

    def has_stopped_numbers(self) -> bool:
        """Return whether any number has a tombstone."""
        return bool(self._stopped_numbers())

    def is_number_stopped(self, names: Iterable[str]) -> bool:
        """Return whether a number has a tombstone. `names` are its forms, in E.164 and in digits."""
        stopped = self._stopped_numbers()
        return bool(stopped) and any(self.pseudonym(name) in stopped for name in names)

    def _stopped_numbers(self) -> frozenset[str]:
        marker = self._look(MAX_AGE_SECONDS).marker
        if marker is None or self._key is None:
            return frozenset()
        with self._lock:
            if self._numbers[0] != marker:
                self._numbers = marker, list_names(self._store, NUMBER_TOMBSTONES)
            return self._numbers[1]

    def _content(self) -> dict[str, str]:
        return {"erased_at": self._clock.now().isoformat(timespec="seconds")}
