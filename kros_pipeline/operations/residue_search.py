"""The residue search: looks in every version of objects for what is left of erased calls."""

import json
import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..archive.decision_claims import decision_in
from ..archive.governance import Governance, ObjectVersion
from ..archive.parquet import ROWS_PER_BATCH
from ..archive.unparsed_rows import parse_row
from ..core.call_records import parse_manifest_line, parse_record
from ..core.errors import ObjectChanged
from ..core.id_digests import digest_id
from ..core.listed_digests import find_listed
from ..core.listing import DIGEST_FIELDS
from ..core.object_keys import (
    AUDIO,
    ERASURES_UNDER_WAY,
    LISTINGS,
    QUARANTINE,
    REVIEWS,
    TABLES,
    UNPARSED,
    call_key,
    call_key_in,
)
from ..core.row_identity import id_of_row
from ..core.seal_keys import SEAL_CHAIN, SEALS, call_key_in_path, is_records_or_manifest
from ..core.wanted_number import NUMBER_FIELDS, WantedNumber
from ..core.worker_threads import worker_threads
from .number_search import has_number
from .residue_files import copy_of, ranges_of
from .residue_texts import (
    MIN_CHARACTERS,
    fields_of,
    find_encoded_keys_and_words,
    integers_in,
    is_time,
    lines_of,
    texts_in,
    values_in_column,
)

_ID_LIKE = re.compile(rf"[A-Za-z0-9_-]{{{MIN_CHARACTERS},}}")
_OF_NUMBER = {*NUMBER_FIELDS, "extra"}
_READ_PREFIXES = (TABLES, "state/", "audit/", REVIEWS, SEALS)
_BODIES = (AUDIO, QUARANTINE)
OWN_FOLDERS = frozenset((*_READ_PREFIXES, *_BODIES))
"""The folders that this pipeline writes to. Of any other object the full search reads the content, too."""
_PARQUET = b"PAR1"  # how a Parquet file begins, whatever its name is
_MAX_WHOLE_BYTES = 16 << 20  # of a text that is parsed as one JSON value


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
        self.reads_everything = False
        """Whether the contents of objects are read that are in no folder of this pipeline."""
        self._may_be_number = re.compile(number.pattern).search if number is not None else None

    @property
    def has_number(self) -> bool:
        """Whether a phone number is searched for."""
        return self._number is not None

    def find(self, governance: Governance, prefixes: Iterable[str] = ("",), *, threads: int) -> list[str]:
        """Return the keys, with their versions, in which something is left; by default in the whole archive.

        Prefixes are listed and read in parallel. Tables, state and audit log are read, of tables only the columns that
        matter; of audio and quarantined bodies only the keys are, and so, unless `reads_everything`, of what is in no
        folder of this pipeline. The plans of erasures under way are left out: they have to name what they erase, and
        are deleted last.
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
        is_own = version.key.startswith(_READ_PREFIXES)
        if version.is_marker or not (is_own or (self.reads_everything and not version.key.startswith(_BODIES))):
            return False
        if version.key.startswith(SEAL_CHAIN):
            return False  # hashes of salted lines: they name nobody, and nobody can test a guess against them
        if decision_in(version.key) in self.of_others:
            return False
        if version.key.endswith(".parquet") or (not is_own and version.size_bytes > _MAX_WHOLE_BYTES):
            with suppress(ObjectChanged):
                return self._is_in_file(version, ranges_of(governance, version))
        with copy_of(governance, version) as file:
            return file is not None and self._is_in_file(version, file)

    def _is_in_file(self, version: ObjectVersion, file: IO[bytes]) -> bool:
        is_parquet = version.key.endswith(".parquet") or file.read(len(_PARQUET)) == _PARQUET
        file.seek(0)
        if is_parquet:
            return self._is_in_table_or_unreadable(version.key, file)
        if is_records_or_manifest(version.key):
            return any(map(self._is_in_sealed_line, file))
        if version.size_bytes > _MAX_WHOLE_BYTES and not version.key.startswith(_READ_PREFIXES):
            return any(map(self._is_in_line, lines_of(file)))
        body = file.read()
        if version.key.startswith(UNPARSED):
            return self._is_in_unparsed_row(parse_row(body))
        return self.is_in_listing(body) if version.key.startswith(LISTINGS) else self.is_in_text(body)

    def _is_in_key(self, key: str) -> bool:
        owner = call_key_in(key)
        if owner is not None or key.startswith(_READ_PREFIXES):
            return owner in self._names
        return self.is_named_in(key)  # not our key: somebody may have copied an object aside

    def _is_in_table_or_unreadable(self, key: str, file: IO[bytes]) -> bool:
        """Return whether a Parquet file has something left, or cannot be read: nobody can tell whom it names."""
        try:
            return self.is_in_table(file) if key.startswith(TABLES) else self._is_in_foreign_table(file)
        except (pa.ArrowException, OSError, ValueError, ArithmeticError, LookupError):  # the last: a column twice
            return True

    def is_in_table(self, file: IO[bytes]) -> bool:
        """Return whether a row of a Parquet file belongs to a call or the number, or one of its texts names a call.

        A `call_id` that is not text cannot be compared: the file counts as residue.
        """
        parquet = pq.ParquetFile(file)
        if not all(_is_text(field.type) for field in parquet.schema_arrow if field.name == "call_id"):
            return True
        columns = ["call_id", "problems", *(sorted(_OF_NUMBER) if self._number else ())]
        present = [name for name in columns if name in parquet.schema_arrow.names]
        return self.is_in_batches(_validated(parquet.iter_batches(columns=present)))

    def _is_in_foreign_table(self, file: IO[bytes]) -> bool:
        """Return whether a value of any column names a call or is the number: the columns may have any names."""
        for batch in _validated(pq.ParquetFile(file).iter_batches(batch_size=ROWS_PER_BATCH)):
            if any(self.is_in_value(value) for column in batch.columns for value in values_in_column(column)):
                return True
            of_number = [field.name for field in batch.schema if field.name in _OF_NUMBER and not is_time(field.type)]
            if self._number is not None and self._is_number_in(batch.select(of_number).to_pylist()):
                return True
        return False

    def _is_number_in(self, rows: Iterable[dict[str, Any]]) -> bool:
        found = (self._number.find_in_row(row) for row in rows) if self._number is not None else ()
        return any(one is not None and one.is_same for one in found)

    def is_in_batches(self, batches: Iterable[pa.RecordBatch]) -> bool:
        """Return whether a row of a table, of which these are some columns, has something left."""
        for batch in batches:
            names = batch.schema.names
            for name in {"call_id", "problems"}.intersection(names):
                column = batch.column(name)
                values = column.to_pylist() if name == "problems" else column.unique().to_pylist()
                if any(self.is_named_in(text) for value in values for text in texts_in(value)):
                    return True
            if self._number and not _OF_NUMBER.isdisjoint(names) and has_number(self._number, batch):
                return True
        return False

    def is_in_listing(self, body: bytes) -> bool:
        """Return whether a listing has a text or a digest that names one of the calls, or digests that are cut."""
        try:
            listing = json.loads(body)
            digests = find_listed(listing, self._digests)
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
            return self.is_in_text(body)
        except ValueError:
            return True  # nobody can tell whom its digests name
        if isinstance(listing, dict):  # megabytes of digests hold no text
            listing = {
                name: value for name, value in listing.items() if not (name in DIGEST_FIELDS and isinstance(value, str))
            }
        return bool(digests) or self.is_in_value(listing)

    def _is_in_unparsed_row(self, row: object) -> bool:
        if isinstance(row, dict) and self._is_number_in([row]):
            return True
        return id_of_row(row) in self._names or any(self._has_name(text) for text in texts_in(row))

    def _is_in_sealed_line(self, line: bytes) -> bool:
        """Return whether a line of records or of a manifest is that of one of the calls, or of the number's."""
        record = parse_record(line)
        if record is None:
            manifest_line = parse_manifest_line(line)
            return manifest_line is not None and call_key_in_path(manifest_line[1]) in self._names
        if record["call_id"] in self._names:
            return True
        return self._is_number_in(record.get("tables", {}).get("calls", []))

    def is_in_text(self, body: bytes) -> bool:
        """Return whether a JSON value, or one of several lines of them or of text, names one of the calls."""
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            return any(map(self._is_in_line, body.splitlines()))
        return self.is_in_value(value)

    def _is_in_line(self, line: bytes) -> bool:
        """Return whether a line names one of the calls: as JSON, in a sentence, or as one of several fields."""
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            text = line.decode(errors="replace")
            return self.is_named_in(text) or any(map(self._is_name_or_number, fields_of(text)))
        return self.is_in_value(value)

    def _is_name_or_number(self, field: str) -> bool:
        if self._number is not None and self._may_be_number is not None and self._may_be_number(field):
            return self._number.is_same(field) or field in self._names
        return len(field) >= MIN_CHARACTERS and field in self._names

    def is_in_value(self, value: object) -> bool:
        """Return whether a text of a JSON value names one of the calls, or is the number."""
        if self._number is not None and any(map(self._number.is_same, integers_in(value))):
            return True
        return any(self.is_named_in(text) for text in texts_in(value))

    def is_named_in(self, text: str) -> bool:
        """Return whether a text is, or contains, an id or a key, or is the number."""
        if self._number is not None and self._may_be_number is not None and self._may_be_number(text):
            return self._number.is_same(text) or self._has_name(text)
        return self._has_name(text)

    def _has_name(self, text: str) -> bool:
        if text in self._names or not self._names.isdisjoint(_ID_LIKE.findall(text)):
            return True
        return self._has_unusual and not self._names.isdisjoint(find_encoded_keys_and_words(text))


def _validated(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        batch.validate(full=True)  # a damaged page may unpack to bytes that are no text, and match nothing
        yield batch


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    return bool(is_text or pa.types.is_null(kind))  # null: a table without rows that pandas wrote
