"""A budget of bytes: bounds what all threads hold at once."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class ByteBudget:
    """Lets bodies in while they are at most `limit_bytes` together; a single body is always let in."""

    def __init__(self, limit_bytes: int):
        self._limit_bytes, self._used_bytes = limit_bytes, 0
        self._changed = threading.Condition()

    @contextmanager
    def reserve(self, size_bytes: int) -> Iterator[None]:
        """Wait for room, and keep it."""
        with self._changed:
            self._changed.wait_for(lambda: self._used_bytes == 0 or self._used_bytes + size_bytes <= self._limit_bytes)
            self._used_bytes += size_bytes
        try:
            yield
        finally:
            with self._changed:
                self._used_bytes -= size_bytes
                self._changed.notify_all()  # a smaller body may fit behind the one that waits first
