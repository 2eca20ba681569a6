"""The residue search: looks in every version of objects for what is left of erased calls."""

import json
import re
import tempfile
from collections.abc import Collection, Iterable, Iterator
from functools import partial
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from ..archive.decision_claims import decision_in
from ..archive.governance import Governance, ObjectVersion
from ..archive.ranged_file import RangedFile
from ..archive.unparsed_rows import parse_row
from ..core.call_records import parse_manifest_line, parse_record
from ..core.errors import ObjectChanged
from ..core.id_digests import digest_id
from ..core.listed_digests import find_listed
from ..core.listing import DIGEST_FIELDS
from ..core.object_keys import (
    ERASURES_UNDER_WAY,
    LISTINGS,
    UNPARSED,
    call_key,
    call_key_in,
)
from ..core.row_identity import id_of_row
from ..core.seal_keys import SEAL_CHAIN, SEALS, call_key_in_path
from ..core.wanted_number import NUMBER_FIELDS, WantedNumber
from ..core.worker_threads import worker_threads
from .number_search import has_number

_MIN_CHARACTERS = 4  # a shorter id, such as 7, is only found as a whole text
_ID_LIKE = re.compile(r"[A-Za-z0-9_-]{4,}")
_ENCODED_KEY = re.compile(r"sha256\.[a-z2-7]{52}")
_WORD = re.compile(r"[^\s,;\"'()<>]{4,}")  # an id that is not plain, in a sentence
_OF_NUMBER = {*NUMBER_FIELDS, "extra"}
_READ_PREFIXES = ("tables/", "state/", "audit/", "reviews/", SEALS)


class ResidueSearch:
    """Searches for what identifies calls: ids, keys, digests, and the number of a person who asked for erasure.

    A number is residue where it is one of a call's two numbers. A near match, or a number in a free field of another
    call, is none: the erasure names those as candidates.
    """

    def __init__(self, call_ids: Collection[str], number: WantedNumber | None):
        self._names = frozenset(call_ids) | {call_key(call_id) for call_id in call_ids}
        self._has_unusual = not all(map(_ID_LIKE.fullmatch, self._names))
        self._digests = {digest_id(call_id) for call_id in call_ids}
        self._number = number
        self.of_others: Collection[str] = ()
        """Decisions of other calls, whose journals are not read: the id of a decision is a hash of its call."""
        self._may_be_number = re.compile(number.pattern).search if number is not None else None

    @property
    def has_number(self) -> bool:
        """Whether a phone number is searched for."""
        return self._number is not None

    def find(self, governance: Governance, prefixes: Iterable[str] = ("",), *, threads: int) -> list[str]:
        """Return the keys, with their versions, in which something is left; by default in the whole archive.

        Prefixes are listed and read in parallel. Tables, state and audit log are read, of tables only the columns that
        matter; of audio and quarantined bodies only the keys are. The plans of erasures under way are left out: they
        have to name what they erase, and are deleted last.
        """
        with worker_threads(threads, "residue") as pool:
            parts = pool.map(lambda prefix: self.find_in(governance, governance.versions(prefix)), prefixes)
            return [found for part in parts for found in part]

    def find_in(self, governance: Governance, versions: Iterable[ObjectVersion]) -> list[str]:
        """Return the keys of versions in which something is left."""
        return [f"{version.key} ({version.version_id})" for version in versions if self._is_in(governance, version)]

    def _is_in(self, governance: Governance, version: ObjectVersion) -> bool:
        if version.key.startswith(ERASURES_UNDER_WAY):
            return False
        if self._is_in_key(version.key):
            return True
        if version.is_marker or not version.key.startswith(_READ_PREFIXES):
            return False
        if version.key.startswith(SEAL_CHAIN):
            return False  # hashes of salted lines: they name nobody, and nobody can test a guess against them
        if decision_in(version.key) in self.of_others:
            return False
        if version.key.endswith(".parquet"):
            return self._is_in_table_version(governance, version)
        with tempfile.TemporaryFile(prefix="kros-") as file:
            if not governance.copy_version_into(version, file):
                return False
            file.seek(0)
            if version.key.startswith(SEALS):
                return any(map(self._is_in_sealed_line, file))
            body = file.read()
            if version.key.startswith(UNPARSED):
                return self._is_in_unparsed_row(parse_row(body))
            return self.is_in_listing(body) if version.key.startswith(LISTINGS) else self.is_in_text(body)

    def _is_in_key(self, key: str) -> bool:
        owner = call_key_in(key)
        if owner is not None or key.startswith(_READ_PREFIXES):
            return owner in self._names
        return self.is_named_in(key)  # not our key: somebody may have copied an object aside

    def _is_in_table_version(self, governance: Governance, version: ObjectVersion) -> bool:
        """Return whether a version of a table has something left, or cannot be read: nobody can tell whom it names."""
        try:
            try:
                ranged = RangedFile(partial(governance.read_version_range, version), version.size_bytes)
                return self.is_in_table(cast(IO[bytes], ranged))
            except ObjectChanged:
                with tempfile.TemporaryFile(prefix="kros-") as file:
                    return governance.copy_version_into(version, file) and self.is_in_table(file)
        except (pa.ArrowException, OSError):
            return True

    def is_in_table(self, file: IO[bytes]) -> bool:
        """Return whether a row of a Parquet file belongs to a call or the number, or one of its texts names a call."""
        parquet = pq.ParquetFile(file)
        columns = ["call_id", "problems", *(sorted(_OF_NUMBER) if self._number else ())]
        return self.is_in_batches(
            parquet.iter_batches(columns=[name for name in columns if name in parquet.schema_arrow.names])
        )

    def is_in_batches(self, batches: Iterable[pa.RecordBatch]) -> bool:
        """Return whether a row of a table, of which these are some columns, has something left."""
        for batch in batches:
            names = batch.schema.names
            for name in {"call_id", "problems"}.intersection(names):
                column = batch.column(name)
                values = column.to_pylist() if name == "problems" else column.unique().to_pylist()
                if any(self.is_named_in(text) for value in values for text in _texts_in(value)):
                    return True
            if self._number and not _OF_NUMBER.isdisjoint(names) and has_number(self._number, batch):
                return True
        return False

    def is_in_listing(self, body: bytes) -> bool:
        """Return whether a listing has a text or a digest that names one of the calls, or digests that are cut."""
        try:
            listing = json.loads(body)
            digests = find_listed(listing, self._digests)
        except (json.JSONDecodeError, UnicodeDecodeError):
            return self.is_in_text(body)
        except ValueError:
            return True  # nobody can tell whom its digests name
        if isinstance(listing, dict):  # megabytes of digests hold no text
            listing = {
                name: value for name, value in listing.items() if not (name in DIGEST_FIELDS and isinstance(value, str))
            }
        return bool(digests) or self.is_in_value(listing)

    def _is_in_unparsed_row(self, row: object) -> bool:
        if self._number is not None and isinstance(row, dict):
            found = self._number.find_in_row(row)
            if found is not None and found.is_same:
                return True
        return id_of_row(row) in self._names or any(self._has_name(text) for text in _texts_in(row))

    def _is_in_sealed_line(self, line: bytes) -> bool:
        """Return whether a line of records or of a manifest is that of one of the calls, or of the number's."""
        record = parse_record(line)
        if record is None:
            manifest_line = parse_manifest_line(line)
            return manifest_line is not None and call_key_in_path(manifest_line[1]) in self._names
        if record["call_id"] in self._names:
            return True
        rows = record.get("tables", {}).get("calls", [])
        found = (self._number.find_in_row(row) for row in rows) if self._number is not None else ()
        return any(one is not None and one.is_same for one in found)

    def is_in_text(self, body: bytes) -> bool:
        """Return whether a JSON object, or one of several lines of them, has a text that names one of the calls."""
        for line in [body] if body.startswith(b"{\n") else body.splitlines():
            try:
                value = json.loads(line)
            except ValueError:
                value = line.decode(errors="replace")
            if self.is_in_value(value):
                return True
        return False

    def is_in_value(self, value: object) -> bool:
        """Return whether a text of a JSON value names one of the calls, or is the number."""
        if self._number is not None and any(map(self._number.is_same, _integers_in(value))):
            return True
        return any(self.is_named_in(text) for text in _texts_in(value))

    def is_named_in(self, text: str) -> bool:
        """Return whether a text is, or contains, an id or a key, or is the number."""
        if self._number is not None and self._may_be_number is not None and self._may_be_number(text):
            return self._number.is_same(text) or self._has_name(text)
        return self._has_name(text)

    def _has_name(self, text: str) -> bool:
        if text in self._names or not self._names.isdisjoint(_ID_LIKE.findall(text)):
            return True
        return self._has_unusual and not self._names.isdisjoint(_unusual_names_in(text))


def _unusual_names_in(text: str) -> Iterator[str]:
    """Yield what may be an encoded key, or an id that is not plain, in a sentence or a path."""
    yield from _ENCODED_KEY.findall(text)
    for word in _WORD.findall(text):
        yield word
        if len(bare := word.rstrip(".:!?")) >= _MIN_CHARACTERS:
            yield bare


def _integers_in(value: Any) -> Iterator[int]:
    """Yield every integer in a JSON value: a phone number may be one. An id is none: a count would pass for it."""
    if isinstance(value, int):
        yield value
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _integers_in(item)


def _texts_in(value: Any) -> Iterator[str]:
    """Yield every text in a JSON value, names of fields included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield name
            yield from _texts_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts_in(item)
