"""A file of which only the ranges that are read are requested: of a Parquet file the footer and the wanted columns."""

import io
from collections.abc import Callable
from typing import Any

TAIL_BYTES = 64 << 10
"""The end of the object that is requested first: what Arrow reads of a Parquet file to find its footer."""

ReadRange = Callable[[int, int], bytes]
"""Returns the bytes from the first place to the second, which is exclusive."""


class RangedFile(io.RawIOBase):
    """An object as a file. Each read is one request, but for those of its end, which is kept.

    `read_range` raises `ObjectChanged` where the object is not the one any more whose size is `size_bytes`: parts of
    two versions must not pass for one file.
    """

    def __init__(self, read_range: ReadRange, size_bytes: int):
        super().__init__()
        self._read_range, self._size, self._place = read_range, size_bytes, 0
        self._tail_begin, self._tail = max(0, size_bytes - TAIL_BYTES), b""

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the place of the next read."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the place of the next read, and return it. Nothing is requested."""
        self._place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        return self._place

    def read(self, count: int | None = -1) -> bytes:
        """Return the next bytes, as many as are asked for and there."""
        begin = self._place
        end = self._size if count is None or count < 0 else min(self._size, begin + count)
        if end <= begin:
            return b""
        self._place = end
        if begin < self._tail_begin:
            return self._read_range(begin, end)
        if not self._tail:
            self._tail = self._read_range(self._tail_begin, self._size)
        return self._tail[begin - self._tail_begin : end - self._tail_begin]

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes into a buffer, and return how many they are: `io.BufferedReader` reads by it."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
