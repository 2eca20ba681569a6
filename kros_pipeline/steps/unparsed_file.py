"""Keeps the rows of a list that are no calls: their JSON in a local file, and where each is in memory."""

import hashlib
import pickle
from collections.abc import Iterator

from ..source.call_source import UnparsedRow
from .local_file import LocalFile

_NAME_BYTES = 16


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


def _digest_of(name: str) -> bytes:
    return hashlib.sha256(name.encode(errors="surrogatepass")).digest()[:_NAME_BYTES]
