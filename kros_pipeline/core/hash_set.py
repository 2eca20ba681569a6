"""A set of SHA-256 hashes: 32 MB for a million of them, where a Python set of their texts takes 180 MB."""

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

_BYTES, _HASH = 32, "S32"  # numpy compares such texts byte by byte, and pads them with zeros
_LINE = 2 * _BYTES + 1
_AT_ONCE = 10_000


class HashSet:
    """Hashes, written in hexadecimal; it does not change. Iterating gives them in ascending order."""

    def __init__(self, hashes: Iterable[str] = ()):
        left, joined = iter(hashes), bytearray()
        while some := "".join(islice(left, _AT_ONCE)):
            joined += bytes.fromhex(some)
        self._sorted = _sort(joined)

    @classmethod
    def from_bytes(cls, joined: bytes | bytearray) -> "HashSet":
        """Make a set of joined hashes, 32 bytes each, in any order."""
        return cls._of(_sort(joined))

    @classmethod
    def from_lines(cls, lines: memoryview) -> "HashSet":
        """Make a set of lines of ASCII text, each a hash and a line end."""
        texts, joined = np.frombuffer(lines, np.uint8).reshape(-1, _LINE)[:, :-1], bytearray()
        for begin in range(0, len(texts), _AT_ONCE):
            joined += bytes.fromhex(texts[begin : begin + _AT_ONCE].tobytes().decode())
        return cls._of(_sort(joined))

    @classmethod
    def _of(cls, ordered: NDArray[np.bytes_]) -> "HashSet":
        made = cls()
        made._sorted = ordered
        return made

    def lines(self) -> Iterator[bytes]:
        """Yield the hashes as lines of ASCII text, in ascending order, some thousand at once."""
        for begin in range(0, len(self), _AT_ONCE):
            yield (self._sorted[begin : begin + _AT_ONCE].tobytes().hex("\n", _BYTES) + "\n").encode()

    def __len__(self) -> int:
        return len(self._sorted)

    def __iter__(self) -> Iterator[str]:
        for lines in self.lines():
            yield from lines.decode().split()

    def __contains__(self, text: str) -> bool:
        try:
            wanted = bytes.fromhex(text)
        except ValueError:
            return False
        place = int(self._sorted.searchsorted(np.bytes_(wanted)))
        # numpy leaves zeros at the end of a text out of its value
        return len(wanted) == _BYTES and place < len(self) and bytes(self._sorted[place]) == wanted.rstrip(b"\0")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HashSet) and np.array_equal(self._sorted, other._sorted)

    def __hash__(self) -> int:
        return hash(self._sorted.tobytes())

    def __or__(self, other: "HashSet") -> "HashSet":
        if not (len(self) and len(other)):
            return self if len(self) else other
        return HashSet._of(np.union1d(self._sorted, other._sorted))

    def __sub__(self, other: "HashSet") -> "HashSet":
        if not (len(self) and len(other)):
            return self
        return HashSet._of(np.setdiff1d(self._sorted, other._sorted, assume_unique=True))


def _sort(joined: bytes | bytearray) -> NDArray[np.bytes_]:
    return np.unique(np.frombuffer(joined, _HASH))
