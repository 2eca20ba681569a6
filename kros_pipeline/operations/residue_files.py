"""Open one version of an object for the residue search: as a copy on the disk, or by ranges."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import IO, cast

from ..archive.governance import Governance, ObjectVersion
from ..archive.ranged_file import RangedFile
from ..source.local_faults import as_local_fault


def ranges_of(governance: Governance, version: ObjectVersion) -> IO[bytes]:
    """Open a version of any size, of which only what is read is requested. A read may raise `ObjectChanged`."""
    return cast(IO[bytes], RangedFile(partial(governance.read_version_range, version), version.size_bytes))


@contextmanager
def copy_of(governance: Governance, version: ObjectVersion) -> Iterator[IO[bytes] | None]:
    """Copy a version into a temporary file; None where it was deleted meanwhile, or is a marker.

    Raises `LocalFault` where this machine has no room for it. What goes wrong with S3 is an `ArchiveError`, so any
    `OSError` is the file's.
    """
    try:
        with tempfile.TemporaryFile(prefix="kros-") as file:
            is_there = governance.copy_version_into(version, file)
            file.seek(0)
            yield file if is_there else None
    except OSError as error:
        raise as_local_fault(error, tempfile.tempdir or "temporary files") from None
