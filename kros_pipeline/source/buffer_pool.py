"""The buffer pool: memory for bodies, reused, and bounded for all threads together."""

import mmap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from operator import attrgetter

MAX_BUFFER_BYTES = 32 << 20
_SMALL_BYTES = 4 << 20


class _Buffer:
    """Room for the largest body that is held in memory. It takes only as much memory as was ever written to it."""

    def __init__(self) -> None:
        self.memory = memoryview(mmap.mmap(-1, MAX_BUFFER_BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
        self.touched_bytes = 0


_TOUCHED = attrgetter("touched_bytes")


class BufferPool:
    """Gives out memory for bodies, at most `limit_bytes` at once; a single body is always let in.

    Memory is reused. Pieces that the client had received, and that were joined at the end, took as much CPU, and
    40 MB more for 32 downloads of 2 MB: the client's allocator keeps what other threads free.
    """

    def __init__(self, limit_bytes: int):
        self._limit_bytes = limit_bytes
        self._used_bytes = self._idle_bytes = 0  # as touched
        self._idle: list[_Buffer] = []
        self._changed = threading.Condition()

    @contextmanager
    def acquire(self, size_bytes: int) -> Iterator[memoryview]:
        """Wait for, and give out, memory for `size_bytes`, at most `MAX_BUFFER_BYTES`."""
        with self._changed:
            self._changed.wait_for(lambda: self._used_bytes == 0 or self._used_bytes + size_bytes <= self._limit_bytes)
            buffer = self._select(size_bytes)
            buffer.touched_bytes = max(buffer.touched_bytes, size_bytes)
            self._used_bytes += buffer.touched_bytes
            while self._idle and self._used_bytes + self._idle_bytes > self._limit_bytes:
                self._idle_bytes -= self._idle.pop(0).touched_bytes
        try:
            yield buffer.memory[:size_bytes]
        finally:
            with self._changed:
                self._used_bytes -= buffer.touched_bytes
                self._idle_bytes += buffer.touched_bytes
                self._idle.append(buffer)
                self._changed.notify_all()  # a smaller body may fit behind the one that waits first

    def _select(self, size_bytes: int) -> _Buffer:
        """Select the idle buffer that wastes least: the smallest that was as large before, or else the largest.

        A much larger one is not taken: a few long recordings would leave room for few other bodies beside them.
        """
        near = [idle for idle in self._idle if idle.touched_bytes <= max(2 * size_bytes, _SMALL_BYTES)]
        large = [idle for idle in near if idle.touched_bytes >= size_bytes]
        found = min(large, key=_TOUCHED) if large else max(near, key=_TOUCHED, default=None)
        if found is None or found.touched_bytes > max(size_bytes, self._limit_bytes - self._used_bytes):
            return _Buffer()
        self._idle.remove(found)
        self._idle_bytes -= found.touched_bytes
        return found
