"""Keeps bytes until a step ends: in memory while they are few, and in a file without a name once they are many."""

import tempfile
from contextlib import suppress
from io import BytesIO
from typing import IO

from ..source.local_faults import as_local_fault
from ..source.spool import choose_folder

MAX_BYTES_IN_MEMORY = 8 << 20


class LocalFile:
    """Pieces of bytes, each of which is read again from its place. Only one thread may use it.

    A machine that has no disk for temporary files still has room for a small day. Its methods raise `LocalFault` where
    there is no folder for a large one, or its disk is full.
    """

    def __init__(self) -> None:
        self._file: IO[bytes] = BytesIO()
        self._folder = ""  # where the file is; empty while it is in memory
        self._size_bytes = 0
        self._is_at_end = True

    def close(self) -> None:
        """Delete the file."""
        with suppress(OSError):  # it writes what a full disk did not take, which was reported then
            self._file.close()

    def append(self, piece: bytes) -> int:
        """Add a piece at the end, and return its place."""
        if not self._folder and self._size_bytes + len(piece) > MAX_BYTES_IN_MEMORY:
            self._move_to_disk()
        begin = self._size_bytes
        try:
            if not self._is_at_end:
                self._file.seek(begin)
            self._is_at_end = False
            self._file.write(piece)
        except OSError as error:
            raise as_local_fault(error, self._folder) from None
        self._is_at_end, self._size_bytes = True, begin + len(piece)
        return begin

    def read(self, begin: int, size_bytes: int) -> bytes:
        """Return a piece, or several that follow one another."""
        self._is_at_end = False
        try:
            self._file.seek(begin)
            return self._file.read(size_bytes)
        except OSError as error:
            raise as_local_fault(error, self._folder) from None

    def _move_to_disk(self) -> None:
        held = self.read(0, self._size_bytes)
        folder = choose_folder()
        try:
            file = tempfile.TemporaryFile(dir=folder, prefix="kros-")  # noqa: SIM115 - see close
        except OSError as error:
            raise as_local_fault(error, folder) from None
        try:
            file.write(held)
            file.flush()
        except OSError as error:
            with suppress(OSError):
                file.close()
            raise as_local_fault(error, folder) from None
        self._file, self._folder, self._is_at_end = file, folder, True
