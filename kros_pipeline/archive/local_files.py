"""Tell faults of this machine from damaged objects: an operator moves a damaged object away, and a full disk not."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from ..core.errors import LocalFault


@contextmanager
def of_this_machine(key: str) -> Iterator[None]:
    """Turn a lack of memory, and what goes wrong with a temporary file, into `LocalFault`. `key` is the object's.

    Arrow raises an `OSError` without a number where a file is not what it should be: it passes.
    """
    try:
        yield
    except MemoryError:
        raise LocalFault(
            f"this machine has not enough memory for {key}: give it more, unless the object is damaged"
        ) from None
    except OSError as error:
        if error.errno is None:
            raise
        raise LocalFault(
            f"{key}: its temporary file in {tempfile.gettempdir()} cannot be used "
            f"({error.strerror or type(error).__name__}): free some space, or set TMPDIR to a folder with more; raise "
            "the limit of open files (ulimit -n) if there are too many"
        ) from None
