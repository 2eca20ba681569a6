"""The spool: temporary files for bodies that are too large for memory, with a limit for all of them together.

On many machines `/tmp` is a file system in memory. A spool there would take the memory that it is to save, so that
another folder is used then. One that TMPDIR names is used wherever it is.
"""

import mmap
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Condition
from typing import IO

from ..core.errors import DownloadBroken, LocalFault
from .local_faults import of_local_files

LIMIT_BYTES = 16 << 30  # of all files together; S3 takes 5 GiB in one PUT
_GROWTH_BYTES = 16 << 20
_IN_MEMORY = ("tmpfs", "ramfs")
_USUAL_FOLDERS = ("/tmp", "/var/tmp", "/usr/tmp")  # noqa: S108 - each file there is made without a name


class Spool:
    """Temporary files of bodies. Threads share it. The folder is chosen when the first file is opened."""

    def __init__(self, folder: str | None = None, limit_bytes: int = LIMIT_BYTES):
        self._folder, self._limit_bytes = folder, limit_bytes
        self._used_bytes = 0
        self._has_changed = Condition()

    @property
    def folder(self) -> str:
        """Where the files are. Raises `LocalFault` where there is no folder that can be written."""
        if self._folder is None:
            self._folder = choose_folder()
        return self._folder

    @contextmanager
    def open(self, size_bytes: int | None) -> Iterator["SpoolFile"]:
        """Open a file for one body, and delete it at the end.

        A body of a known size waits until there is room for it. Raises `LocalFault` where the disk has not as much.
        """
        folder = self.folder
        if size_bytes is not None:
            _check_disk(folder, size_bytes)
            self._wait_for(size_bytes)
        reserved_bytes = size_bytes or 0
        try:
            with of_local_files(folder):
                opened = tempfile.TemporaryFile(dir=folder, prefix="kros-")  # noqa: SIM115 - closed below
            file = SpoolFile(opened, folder, self._grow, reserved_bytes)
            try:
                yield file
            finally:
                reserved_bytes = file.reserved_bytes
                with suppress(OSError):  # it writes what a full disk did not take, which was reported then
                    opened.close()
        finally:
            self._release(reserved_bytes)

    def _wait_for(self, size_bytes: int) -> None:
        """Wait for room. A body that is larger than the limit waits until no other is there."""
        with self._has_changed:
            self._has_changed.wait_for(
                lambda: not self._used_bytes or self._used_bytes + size_bytes <= self._limit_bytes
            )
            self._used_bytes += size_bytes

    def _grow(self, more_bytes: int) -> None:
        with self._has_changed:  # no wait: files that grow would wait for each other
            if self._used_bytes + more_bytes > self._limit_bytes:
                raise DownloadBroken(f"the spool of {self._limit_bytes:,} bytes is full at present")
            self._used_bytes += more_bytes

    def _release(self, size_bytes: int) -> None:
        with self._has_changed:
            self._used_bytes -= size_bytes
            self._has_changed.notify_all()


class SpoolFile:
    """One open file of the spool. What goes wrong with it is a `LocalFault`, never the storage's fault."""

    def __init__(self, file: IO[bytes], folder: str, grow: Callable[[int], None], reserved_bytes: int):
        self.file, self._folder, self._grow = file, folder, grow
        self.reserved_bytes, self.size_bytes = reserved_bytes, 0

    def write(self, piece: bytes | memoryview) -> None:
        """Write the next piece."""
        while self.size_bytes + len(piece) > self.reserved_bytes:
            self._grow(_GROWTH_BYTES)
            self.reserved_bytes += _GROWTH_BYTES
        with of_local_files(self._folder):
            self.file.write(piece)
        self.size_bytes += len(piece)

    def reader(self) -> IO[bytes]:
        """Open what came as a file, from its begin."""
        self.file.seek(0)
        return self.file

    def data(self) -> memoryview:
        """Return what came."""
        with of_local_files(self._folder):
            self.file.flush()
        if not self.size_bytes:
            return memoryview(b"")
        return memoryview(mmap.mmap(self.file.fileno(), 0, access=mmap.ACCESS_READ))


def choose_folder(mounts: str | None = None) -> str:
    """Return the folder of temporary files: TMPDIR's, else one that is on a disk. Raises `LocalFault` without one.

    `mounts` is the text of `/proc/mounts`.
    """
    try:
        folder = tempfile.gettempdir()
    except FileNotFoundError as error:  # none of the usual folders can be written
        raise LocalFault(
            f"no temporary file can be made ({error}): set TMPDIR to a folder that can be written"
        ) from None
    if folder not in _USUAL_FOLDERS or not is_in_memory(folder, mounts):
        return folder
    for other in _USUAL_FOLDERS:
        if os.access(other, os.W_OK | os.X_OK) and not is_in_memory(other, mounts):
            return other
    raise LocalFault(
        f"{folder} is in memory, and large recordings and large days need a disk: set TMPDIR to a folder on one"
    )


def is_in_memory(folder: str, mounts: str | None = None) -> bool:
    """Return whether a folder is on a file system in memory; False where the system does not say."""
    if mounts is None:
        try:
            mounts = Path("/proc/mounts").read_text("utf-8", "replace")
        except OSError:
            return False
    path = Path(folder).resolve()
    found, kind = -1, ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) > 2:
            mounted = Path(fields[1].replace("\\040", " "))
            if path.is_relative_to(mounted) and len(mounted.parts) >= found:
                found, kind = len(mounted.parts), fields[2]
    return kind in _IN_MEMORY


def _check_disk(folder: str, size_bytes: int) -> None:
    with of_local_files(folder):
        free = shutil.disk_usage(folder).free
    if free < size_bytes:
        raise LocalFault(
            f"{folder} has {free:,} free bytes, and a recording of {size_bytes:,} bytes is to wait there for its "
            "upload: free some space, or set TMPDIR to a folder with more"
        )
