"""Tell faults of this machine from faults of the network, so that a full disk is not blamed on the storage."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from ..core.errors import LocalFault

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_TOO_MANY_FILES = frozenset({errno.EMFILE, errno.ENFILE})
_NO_FILE = frozenset({errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR})


def find_local_fault(error: OSError, folder: str, *, is_of_file: bool = False) -> LocalFault | None:
    """Return the fault of this machine that an error means; None where it may be the network's.

    `folder` is where temporary files are. `is_of_file` says that only a file was touched, and no connection: then a
    refused access is the folder's.
    """
    if error.errno in _FULL:
        return LocalFault(
            f"the disk of {folder} is full, where large recordings and the calls of large days wait: free some "
            "space, or set TMPDIR to a folder with more"
        )
    if error.errno in _TOO_MANY_FILES:
        return LocalFault(
            "too many files and connections are open: raise the limit of this process (ulimit -n), or lower "
            "KROS_DOWNLOAD_WORKERS"
        )
    if error.errno == errno.ENOMEM:
        return LocalFault("this machine is out of memory: give it more, or lower KROS_DOWNLOAD_WORKERS")
    if is_of_file and error.errno in _NO_FILE:
        why = error.strerror or type(error).__name__
        return LocalFault(
            f"no temporary file can be made in {folder} ({why}): set TMPDIR to a folder that can be written"
        )
    return None


def as_local_fault(error: OSError, folder: str) -> LocalFault:
    """Return the fault of this machine that an error of a file means. Raises the error where it is another one."""
    fault = find_local_fault(error, folder, is_of_file=True)
    if fault is None:
        raise error
    return fault


@contextmanager
def of_local_files(folder: str) -> Iterator[None]:
    """Turn what goes wrong with temporary files into `LocalFault`. No connection may be used inside."""
    try:
        yield
    except OSError as error:
        raise as_local_fault(error, folder) from None
