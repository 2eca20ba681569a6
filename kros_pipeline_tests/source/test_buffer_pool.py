"""Memory for bodies is reused, and bounded for all threads together."""

from __future__ import annotations

import mmap
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from kros_pipeline.source.buffer_pool import BufferPool


def touched_bytes(buffers: BufferPool) -> int:
    """Return the memory that buffers in use and idle buffers take."""
    return buffers._used_bytes + sum(idle.touched_bytes for idle in buffers._idle)  # noqa: SLF001 - nothing public shows it


def waiting_threads(buffers: BufferPool) -> int:
    condition: Any = buffers._changed  # noqa: SLF001 - nothing public shows who waits
    return len(condition._waiters)  # noqa: SLF001 - `threading.Condition` shows it nowhere else


def test_buffers_are_reused_and_their_sum_stays_below_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[mmap.mmap] = []

    class CountedMemory(mmap.mmap):
        def __init__(self, *_: object) -> None:
            made.append(self)

    monkeypatch.setattr(mmap, "mmap", CountedMemory)
    limit = 100_000
    buffers = BufferPool(limit)
    chance, lock, held = random.Random(1), threading.Lock(), [0]

    def a_body(size: int) -> None:
        with buffers.acquire(size) as memory:
            with lock:
                held[0] += size
                assert held[0] <= limit
                assert touched_bytes(buffers) <= limit
            memory[:] = bytes(size)
            with lock:
                held[0] -= size

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(a_body, [chance.choice((2_000, 2_500, 40_000)) for _ in range(400)]))
    alike = len(made)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(a_body, [2_000] * 400))
    assert len(made) <= alike + 8  # as many as there are threads, and not one a body


@pytest.mark.parametrize("earlier", [(), (32,), (20, 20, 20, 20), (32, 32, 32)])
def test_long_recordings_leave_room_for_many_short_ones(earlier: tuple[int, ...]) -> None:
    buffers, together = BufferPool(96 << 20), threading.Barrier(40)
    with ExitStack() as lent:
        for size in earlier:
            lent.enter_context(buffers.acquire(size << 20))

    def a_body(_: int) -> None:
        with buffers.acquire(2 << 20):
            together.wait(timeout=20)

    with ThreadPoolExecutor(40) as pool:
        list(pool.map(a_body, range(40)))


def test_a_body_that_fits_does_not_wait_behind_one_that_does_not() -> None:
    buffers, came = BufferPool(96 << 20), threading.Event()

    def a_body(size: int) -> None:
        with buffers.acquire(size << 20):
            came.set()

    with ThreadPoolExecutor(2) as pool, buffers.acquire(30 << 20), buffers.acquire(30 << 20):
        with buffers.acquire(30 << 20):
            waiting = [pool.submit(a_body, 40)]
            while waiting_threads(buffers) < 1:
                time.sleep(0.001)
            waiting.append(pool.submit(a_body, 10))
            while waiting_threads(buffers) < 2:
                time.sleep(0.001)
        assert came.wait(timeout=20) and not waiting[0].done()
