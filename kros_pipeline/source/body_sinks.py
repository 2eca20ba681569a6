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

    def clear(self) -> None:
        """Forget what came: the body begins again."""

    def reader(self) -> IO[bytes]:
        """Open what came as a file, from its begin."""

    def data(self) -> memoryview:
        """Return what came."""

    @property
    def file(self) -> IO[bytes] | None:
        """The file that holds the body; None where it is in memory."""


class MemorySink:
    """Keeps the pieces where the client received them, and joins them once."""

    file = None

    def __init__(self) -> None:
        self.size_bytes = 0
        self._pieces: list[memoryview | bytes] = []

    def write(self, piece: memoryview | bytes) -> None:
        """Take the next piece."""
        self._pieces.append(piece)
        self.size_bytes += len(piece)

    def clear(self) -> None:
        """Forget what came: the body begins again."""
        self._pieces, self.size_bytes = [], 0

    def reader(self) -> IO[bytes]:
        """Open what came as a file, from its begin."""
        return io.BytesIO(self.data())

    def data(self) -> memoryview:
        """Return what came."""
        if len(self._pieces) != 1:
            self._pieces = [b"".join(self._pieces)]
        return memoryview(self._pieces[0])


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

    def clear(self) -> None:
        """Forget what came: the body begins again."""
        self.file.seek(0)
        self.file.truncate()
        self.size_bytes = 0

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
