"""Where a body is received: in memory, or in a file if it is large, so that memory stays flat."""

import io
import mmap
import tempfile
from contextlib import AbstractContextManager
from types import TracebackType
from typing import IO, Protocol


class BodySink(Protocol):
    """Takes the pieces of one body."""

    size_bytes: int

    def write(self, piece: memoryview | bytes, /) -> None:
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


class FileSink(AbstractContextManager["FileSink"]):
    """Writes the pieces to a file without a name, which is gone when it is closed, or with the process."""

    def __init__(self) -> None:
        self.file: IO[bytes] = tempfile.TemporaryFile(prefix="kros-")  # noqa: SIM115 - closed by `__exit__`
        self.size_bytes = 0

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close the file."""
        self.file.close()

    def write(self, piece: memoryview | bytes) -> None:
        """Take the next piece."""
        self.file.write(piece)
        self.size_bytes += len(piece)

    def reader(self) -> IO[bytes]:
        """Open what came as a file, from its begin."""
        self.file.seek(0)
        return self.file

    def data(self) -> memoryview:
        """Return what came."""
        self.file.flush()
        if not self.size_bytes:
            return memoryview(b"")
        return memoryview(mmap.mmap(self.file.fileno(), 0, access=mmap.ACCESS_READ))
