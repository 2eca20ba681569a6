"""Run what takes long in few threads of its own, so that those that answer everything else stay free.

Starlette answers in 40 threads that all requests share: waveforms, hashes, samples and exports of years would fill
them, and pages and recordings would wait for a thread. Here a request waits for its turn without one.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

T = TypeVar("T")


class SlowWork:
    """A pool of few threads, for the event loop."""

    def __init__(self, name: str, threads: int):
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)

    def close(self) -> None:
        """End the threads, once each has done what it is at."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    async def run(self, function: Callable[..., T], *arguments: object) -> T:
        """Call a function in a thread of the pool."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, partial(function, *arguments))

    async def iterate(self, items: Iterator[T]) -> AsyncIterator[T]:
        """Yield what an iterator yields. A thread of the pool makes each item, and is free until the next one."""
        end = object()
        while (item := await self.run(next, items, end)) is not end:
            yield item
