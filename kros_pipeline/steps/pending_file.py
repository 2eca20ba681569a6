"""Keeps what a run still has to do in a local file: 33 bytes of each call are in memory, where an object takes 400."""

import pickle
from array import array
from collections.abc import Iterator
from types import TracebackType
from typing import Generic, Self, TypeVar

import numpy as np

from ..core.digest_set import Digests
from ..core.id_digests import digest_id
from .local_file import LocalFile

_Item = TypeVar("_Item")


class PendingFile(Generic[_Item]):
    """Items by the ids of their calls: each is taken out once. Only one thread may use it.

    Raises `LocalFault` where no temporary file can be written.
    """

    def __init__(self) -> None:
        self._file = LocalFile()
        self._digests, self._ends = array("Q"), array("Q")
        self._is_taken = bytearray()
        self._order: Digests | None = None  # the digests, sorted
        self._numbers = np.empty(0, np.intp)  # of the items, in the order of their digests
        self._left = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Delete the file."""
        self._file.close()

    def __len__(self) -> int:
        """Return how many items are left."""
        return self._left

    def add(self, call_id: str, item: _Item) -> None:
        """Add the item of a call."""
        packed = pickle.dumps((call_id, item), pickle.HIGHEST_PROTOCOL)
        self._ends.append(self._file.append(packed) + len(packed))
        self._digests.append(int.from_bytes(digest_id(call_id)))
        self._is_taken.append(False)
        self._left += 1
        self._order = None

    def __contains__(self, call_id: str) -> bool:
        return self._find(call_id) is not None

    def find(self, call_id: str) -> _Item | None:
        """Return the item of a call, and leave it there; None where there is none, or none any more."""
        found = self._find(call_id)
        return found[1] if found is not None else None

    def take(self, call_id: str) -> _Item | None:
        """Take out the item of a call; None where there is none, or none any more."""
        found = self._find(call_id)
        if found is None:
            return None
        self._mark(found[0])
        return found[1]

    def take_all(self) -> Iterator[_Item]:
        """Take out the items that are left, in the order in which they were added."""
        for number in range(len(self._ends)):
            if not self._is_taken[number]:
                self._mark(number)
                yield self._read(number)[1]

    def _find(self, call_id: str) -> tuple[int, _Item] | None:
        if self._order is None:
            digests = np.frombuffer(self._digests, np.uint64)
            self._numbers = np.argsort(digests)
            self._order = digests[self._numbers]
        digest = int.from_bytes(digest_id(call_id))
        place = int(self._order.searchsorted(np.uint64(digest)))
        while place < len(self._order) and int(self._order[place]) == digest:
            number = int(self._numbers[place])
            if not self._is_taken[number]:
                found_id, item = self._read(number)
                if found_id == call_id:
                    return number, item
            place += 1
        return None

    def _mark(self, number: int) -> None:
        self._is_taken[number] = True
        self._left -= 1

    def _read(self, number: int) -> tuple[str, _Item]:
        begin = self._ends[number - 1] if number else 0
        packed = self._file.read(begin, self._ends[number] - begin)
        found: tuple[str, _Item] = pickle.loads(packed)  # noqa: S301  # our own
        return found
