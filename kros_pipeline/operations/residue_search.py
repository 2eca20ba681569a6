"""Searching the whole archive, every version of every object, for what is left of calls that were erased."""

import json
import re
import tempfile
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import IO, Any

import pyarrow.parquet as pq

from ..archive.governance import ObjectVersion
from ..core.object_keys import ERASURES_UNDER_WAY, call_key, call_key_in
from ..steps.run_context import RunContext

_AT_ONCE = 1_000
_WORD = re.compile(r"[A-Za-z0-9_-]{4,}")  # shorter ids are looked for as whole texts alone
_READ = ("tables/", "state/", "audit/")


class ResidueSearch:
    """What gives a call away: its id, its key, the number of a person who asked for erasure."""

    def __init__(self, call_ids: Collection[str], number: str | None):
        self._names = frozenset(call_ids) | {call_key(call_id) for call_id in call_ids}
        self._number = digits_of(number) if number else None

    def find(self, ctx: RunContext, prefixes: Iterable[str] = ("",)) -> list[str]:
        """Where something is left: keys, with their versions; by default in the whole archive.

        Reads tables, state and audit; of audio and quarantined bodies the keys. The plans of erasures under way are
        left out: they have to name what they erase, and are deleted last.
        """
        found: list[str] = []
        with ThreadPoolExecutor(ctx.settings.download_workers, thread_name_prefix="traces") as pool:
            for prefix in prefixes:
                versions = ctx.governance.versions(prefix)
                while some := list(islice(versions, _AT_ONCE)):
                    some = [version for version in some if not version.key.startswith(ERASURES_UNDER_WAY)]
                    is_there = pool.map(lambda version: self._is_in(ctx, version), some)
                    found += [f"{v.key} ({v.version_id})" for v, is_it in zip(some, is_there, strict=True) if is_it]
        return found

    def _is_in(self, ctx: RunContext, version: ObjectVersion) -> bool:
        if self._is_in_key(version.key):
            return True
        if version.is_marker or not version.key.startswith(_READ):
            return False
        with tempfile.TemporaryFile(prefix="kros-") as file:
            if not ctx.governance.copy_version_into(version, file):
                return False
            file.seek(0)
            return self.is_in_table(file) if version.key.endswith(".parquet") else self.is_in_text(file.read())

    def _is_in_key(self, key: str) -> bool:
        owner = call_key_in(key)
        if owner is not None or key.startswith(_READ):
            return owner in self._names
        return self.is_named_in(key)  # somebody else's key: a copy that was set aside

    def is_in_table(self, file: IO[bytes]) -> bool:
        """Whether a row of a Parquet file is of one of the calls, or of the number, or a text of it names a call."""
        parquet = pq.ParquetFile(file)
        columns = [
            name
            for name in ("call_id", "problems", *(("from_number", "to_number") if self._number else ()))
            if name in parquet.schema_arrow.names
        ]
        for batch in parquet.iter_batches(columns=columns):
            for name in columns:
                values = (
                    batch.column(name).unique().to_pylist() if name != "problems" else batch.column(name).to_pylist()
                )
                if any(self.is_named_in(text) for value in values for text in _texts(value)):
                    return True
        return False

    def is_in_text(self, body: bytes) -> bool:
        """Whether a JSON object, or one of several lines of them, has a text that is or names one of the calls."""
        for line in [body] if body.startswith(b"{\n") else body.splitlines():
            try:
                value = json.loads(line)
            except ValueError:
                value = line.decode(errors="replace")
            if any(self.is_named_in(text) for text in _texts(value)):
                return True
        return False

    def is_named_in(self, text: str) -> bool:
        """Whether a text is, or holds as a word, what gives a call away."""
        if text in self._names or (self._number and digits_of(text) == self._number):
            return True
        return not self._names.isdisjoint(_WORD.findall(text))


def digits_of(number: str) -> str:
    """A phone number without what people put between its digits, or dial before them to leave the country."""
    return re.sub(r"\D", "", number).removeprefix("00")


def _texts(value: Any) -> Iterator[str]:
    """Every text in a JSON value, names of fields included; whole numbers as texts, for a phone number may be one."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, int) and not isinstance(value, bool):
        yield str(value)
    elif isinstance(value, dict):
        for name, item in value.items():
            yield name
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
