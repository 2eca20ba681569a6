"""Keeps the calls of a list: in memory while they are few, and in sorted runs in a temporary file once they are many.

A day of a million calls takes 1 GB as objects, and 400 MB in that file.
"""

import heapq
import pickle
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import reduce
from itertools import groupby, islice
from operator import attrgetter

import pyarrow as pa

from ..core import schemas
from ..core.calls import Call
from .local_file import LocalFile

MAX_HELD_BYTES = 32 << 20
_BYTES_OF_CALL = 1_000  # in memory, without its long texts
BYTES_PER_BLOCK = 128 << 10  # a block of each run is in memory while the runs are merged
CALLS_PER_BATCH = 1_000
_CODEC = "lz4"

_by_id = attrgetter("call_id")
_values_of = attrgetter(*schemas.CALLS.column_names)


@dataclass(frozen=True, slots=True)
class _Block:
    """Where some calls of one day and one run are in the file, and their size before they were packed."""

    begin: int
    packed_bytes: int
    size_bytes: int


class CallRuns:
    """Calls by day, each as often as it was added. Each comes back once, merged in the order in which it was added.

    `merge(old, new)` merges what is known of a call with what was added later. About `MAX_HELD_BYTES` of calls are in
    memory at most. Only one thread may use it. Raises `LocalFault` where no temporary file can be written.
    """

    def __init__(self, merge: Callable[[Call, Call], Call]):
        self._merge = merge
        self._held: dict[date, list[Call]] = {}
        self._held_bytes = 0
        self._runs: list[dict[date, list[_Block]]] = []
        self._days: dict[date, None] = {}
        self._file = LocalFile()

    def close(self) -> None:
        """Delete the file."""
        self._file.close()

    @property
    def days(self) -> list[date]:
        """The days that have calls, in the order in which their first ones were added."""
        return list(self._days)

    def add(self, day: date, call: Call) -> None:
        """Add a call to a day."""
        self._days.setdefault(day)
        self._held.setdefault(day, []).append(call)
        self._held_bytes += _size_of(call)
        if self._held_bytes > MAX_HELD_BYTES:
            self._write_run()

    def cut(self) -> int:
        """End the present run. Return the `since` for which `of_day` yields only what is added later."""
        if self._held:
            self._write_run()
        return len(self._runs)

    def of_day(self, day: date, since: int = 0) -> Iterator[Call]:
        """Yield the calls of a day in ascending order of their ids: all, or those that were added since a cut."""
        parts = [self._read(run[day]) for run in self._runs[since:] if day in run]
        parts.append(iter(sorted(self._held.get(day, ()), key=_by_id)))
        for _, same in groupby(heapq.merge(*parts, key=_by_id), key=_by_id):
            yield reduce(self._merge, same)

    def batches_of(self, day: date, since: int = 0) -> Iterator[list[Call]]:
        """Yield the calls of a day as `of_day` does, a thousand at a time."""
        calls = self.of_day(day, since)
        while batch := list(islice(calls, CALLS_PER_BATCH)):
            yield batch

    def _write_run(self) -> None:
        self._runs.append(
            {
                day: [_write_block(self._file, block) for block in _blocks_of(sorted(calls, key=_by_id))]
                for day, calls in self._held.items()
            }
        )
        self._held, self._held_bytes = {}, 0

    def _read(self, blocks: list[_Block]) -> Iterator[Call]:
        for block in blocks:
            packed = self._file.read(block.begin, block.packed_bytes)
            joined = pa.decompress(packed, block.size_bytes, _CODEC, asbytes=True)
            for values in pickle.loads(joined):  # noqa: S301 - no other process can open the file
                yield Call(*values)


def _size_of(call: Call) -> int:
    return _BYTES_OF_CALL + len(call.listed_transcript or "") + len(call.extra or "")


def _blocks_of(calls: Iterable[Call]) -> Iterator[list[Call]]:
    block: list[Call] = []
    size_bytes = 0
    for call in calls:
        block.append(call)
        size_bytes += _size_of(call)
        if size_bytes >= BYTES_PER_BLOCK:
            yield block
            block, size_bytes = [], 0
    if block:
        yield block


def _write_block(file: LocalFile, calls: list[Call]) -> _Block:
    joined = pickle.dumps([_values_of(call) for call in calls], pickle.HIGHEST_PROTOCOL)
    packed = pa.compress(joined, _CODEC, asbytes=True)
    return _Block(file.append(packed), len(packed), len(joined))
