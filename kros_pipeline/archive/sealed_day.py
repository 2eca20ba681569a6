"""The files of a sealed day: its records, its manifest and the page of commands. Read, replaced, and rid of calls.

Records and manifest are replaced under the condition that nobody else has, like a table. An erasure gives both another
version, with a random mark that writers carry on: a run that has read them before, however late it writes, loses.
"""

import hashlib
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import date
from typing import BinaryIO

from ..core.call_records import (
    ERASURE_MARK,
    parse_manifest_line,
    parse_record,
    remarks_in,
    write_erasure_mark,
    write_remark,
)
from ..core.object_keys import call_key
from ..core.seal_keys import call_key_in_path, manifest_key, records_key, verify_key
from .compare_and_swap import compare_and_swap
from .object_store import CREATE, ObjectStore, PutMode, Replace, VersionToken
from .parquet import sha256_of

_TEXT, _LINES = "text/plain; charset=utf-8", "application/x-ndjson"


class DayFile:
    """One version of a day's records or manifest, in a local file; `version` is None where there is none."""

    def __init__(self, store: ObjectStore, key: str, file: BinaryIO):
        self._store, self._key, self._file = store, key, file
        self.version: VersionToken | None = store.copy_into(key, file)

    def lines(self) -> Iterator[bytes]:
        """Yield the lines, with their line ends, without the remarks in front of them."""
        for line in self._all():
            if not _is_remark(line):
                yield line

    def remarks(self) -> list[bytes]:
        """Return the remarks: marks of erasures, and hashes that the next seal takes out."""
        return [line for line in self._all() if _is_remark(line)]

    def _all(self) -> Iterator[bytes]:
        self._file.seek(0)
        while line := self._file.readline():  # `yield from` would close the file with the generator
            yield line

    def replace(self, file: BinaryIO, content_type: str) -> bool:
        """Put another content in its place; nothing where it is equal. Return whether it was put.

        Raises `ObjectExists` or `ObjectChanged` where another writer was first.
        """
        digest = sha256_of(file)
        if self.version is not None and sha256_of(self._file) == digest:
            return False
        mode: PutMode = Replace(self.version) if self.version is not None else CREATE
        self._store.put(self._key, file, sha256=digest, mode=mode, content_type=content_type)
        return True


@contextmanager
def open_records(store: ObjectStore, day: date) -> Iterator[DayFile]:
    """Read the records of a day."""
    with tempfile.TemporaryFile(prefix="kros-") as file:
        yield DayFile(store, records_key(day), file)


@contextmanager
def open_manifest(store: ObjectStore, day: date) -> Iterator[DayFile]:
    """Read the manifest of a day."""
    with tempfile.TemporaryFile(prefix="kros-") as file:
        yield DayFile(store, manifest_key(day), file)


def replace_records(present: DayFile, file: BinaryIO) -> bool:
    """Put the records of a day. See `DayFile.replace`."""
    return present.replace(file, _LINES)


def replace_manifest(present: DayFile, file: BinaryIO) -> bool:
    """Put the manifest of a day. See `DayFile.replace`."""
    return present.replace(file, _TEXT)


def write_verify_page(store: ObjectStore, day: date, page: bytes) -> None:
    """Put the page of commands beside a day, unless it is there."""

    def write() -> None:
        with tempfile.TemporaryFile(prefix="kros-") as file, tempfile.TemporaryFile(prefix="kros-") as new:
            new.write(page)
            DayFile(store, verify_key(day), file).replace(new, _TEXT)

    compare_and_swap(verify_key(day), write)


def remove_calls(store: ObjectStore, day: date, call_ids: Collection[str], token: str) -> None:
    """Take the lines of erased calls out of a day's records and manifest, and give both another version.

    Where there are none, they are created with the mark only, so that a first sealing that is on its way loses.
    """
    keys = {call_key(call_id) for call_id in call_ids}

    def is_of_record(line: bytes) -> bool:
        record = parse_record(line)
        return record is not None and call_key(record["call_id"]) in keys

    def is_of_manifest(line: bytes) -> bool:
        parsed = parse_manifest_line(line)
        return parsed is not None and call_key_in_path(parsed[1]) in keys

    _rewrite(store, records_key(day), _LINES, write_erasure_mark(token), is_of_record)
    _rewrite(store, manifest_key(day), _TEXT, write_remark(ERASURE_MARK, token), is_of_manifest)


def _rewrite(store: ObjectStore, key: str, content_type: str, mark: bytes, is_erased: Callable[[bytes], bool]) -> None:
    def write() -> None:
        with tempfile.TemporaryFile(prefix="kros-") as file, tempfile.TemporaryFile(prefix="kros-") as new:
            present = DayFile(store, key, file)
            new.write(mark)
            new.writelines(line for line in present.remarks() if not is_erasure_mark(line))
            new.writelines(line for line in present.lines() if not is_erased(line))
            present.replace(new, content_type)

    compare_and_swap(key, write)


def is_erasure_mark(line: bytes) -> bool:
    """Return whether a remark is the mark of an erasure, of records or of a manifest."""
    return bool(remarks_in([line], ERASURE_MARK)) or line.startswith(f'{{"{ERASURE_MARK}":'.encode())


def _is_remark(line: bytes) -> bool:
    return line.startswith(b"#") or is_erasure_mark(line)


def digest_versions(versions: dict[str, str]) -> str:
    """Return a short text that changes with each version of a day's tables."""
    joined = "\n".join(f"{name} {version}" for name, version in sorted(versions.items()))
    return hashlib.sha256(joined.encode()).hexdigest()[:32]
