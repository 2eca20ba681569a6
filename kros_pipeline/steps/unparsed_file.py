"""Keeps the rows of a list that are no calls: their JSON in a local file, and where each is in memory."""

import hashlib
import pickle
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from itertools import islice

from ..archive.unparsed_rows import UnparsedRows
from ..core.clock import Clock
from ..core.worker_threads import worker_threads
from ..source.call_source import UnparsedRow
from .local_file import LocalFile
from .report import Report

_NAME_BYTES = 16
_AT_ONCE = 1_000
_NAMES_ERASED_CALL = "(this row is not kept: it names an erased call)"


class UnparsedFile:
    """Rows by the id of their call, or by their JSON where they have none; the last one counts.

    A list may consist of such rows: a million of them take 1 GB as objects. Only one thread may use it. Raises
    `LocalFault` where no temporary file can be written.
    """

    def __init__(self, file: LocalFile):
        self._file = file
        self._places: dict[bytes, tuple[int, int]] = {}  # begin and size in bytes

    def __len__(self) -> int:
        return len(self._places)

    def add(self, row: UnparsedRow) -> None:
        """Add a row."""
        packed = pickle.dumps((row.call_id, row.created_at, row.raw_json, row.problem), pickle.HIGHEST_PROTOCOL)
        self._places[_digest_of(row.call_id or row.raw_json)] = self._file.append(packed), len(packed)

    def discard_call(self, call_id: str) -> None:
        """Forget the row of a call, if there is one."""
        if self._places:
            self._places.pop(_digest_of(call_id), None)

    def discard(self, row: UnparsedRow) -> None:
        """Forget a row."""
        self._places.pop(_digest_of(row.call_id or row.raw_json), None)

    def values(self) -> Iterator[UnparsedRow]:
        """Yield the rows. They may be discarded meanwhile."""
        for begin, size_bytes in list(self._places.values()):
            yield UnparsedRow(*pickle.loads(self._file.read(begin, size_bytes)))  # noqa: S301 - our own


def keep_unparsed(
    day: date, rows: UnparsedFile, unparsed_rows: UnparsedRows, report: Report, threads: int, clock: Clock
) -> None:
    """Keep the rows that are no calls, in threads, and report each. Rows of erased calls are forgotten.

    A row of another call that names an erased one is not kept. It counts all the same: its call is missing.
    """

    def keep(row: UnparsedRow) -> UnparsedRow | None:
        if unparsed_rows.is_of_erased_call(day, row.raw_json):
            return None
        if unparsed_rows.is_erased(day, row.raw_json):
            return replace(row, problem=f"{row.problem} {_NAMES_ERASED_CALL}")
        unparsed_rows.keep(day, row.raw_json)
        return row

    left = rows.values()
    with worker_threads(threads, "unparsed", clock) as pool:
        while some := list(islice(left, _AT_ONCE)):
            for row, counted in zip(some, pool.map(keep, some), strict=True):
                if counted is None:
                    rows.discard(row)
                    continue
                if counted is not row:
                    rows.add(counted)
                report.add_problem(counted.call_id or "(no id)", counted.problem)


def _digest_of(name: str) -> bytes:
    return hashlib.sha256(name.encode(errors="surrogatepass")).digest()[:_NAME_BYTES]
