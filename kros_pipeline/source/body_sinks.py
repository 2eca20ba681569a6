"""Where a body is received: in memory, or in a file of the spool if it is large, so that memory stays flat."""

import io
from typing import IO, Protocol


class BodySink(Protocol):
    """Takes the pieces of one body."""

    size_bytes: int

    def write(self, piece: bytes | memoryview, /) -> None:
        """Take the next piece."""

    def reader(self) -> IO[bytes]:
        """Open what came as a file, from its begin."""

    def data(self) -> memoryview:
        """Return what came."""

    @property
    def file(self) -> IO[bytes] | None:
        """The file that holds the body; None where it is in memory."""


class MemorySink:
    """Copies the pieces into memory that is reused, so that each is freed at once."""

    file = None

    def __init__(self, memory: memoryview):
        self.size_bytes, self._memory = 0, memory

    def write(self, piece: memoryview | bytes) -> None:
        """Take the next piece. Raises ValueError where the memory ends before it."""
        end = self.size_bytes + len(piece)
        self._memory[self.size_bytes : end] = piece
        self.size_bytes = end

    def reader(self) -> IO[bytes]:
        """Open what came as a file, from its begin."""
        return io.BytesIO(self.data())

    def data(self) -> memoryview:
        """Return what came."""
        return self._memory[: self.size_bytes]
