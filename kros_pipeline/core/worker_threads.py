"""Threads that end with the run: an interrupted run starts nothing more, and does not wait for what hangs."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Thread

from .clock import Clock

_LONGEST_WAIT_SECONDS = 5.0
"""For threads of an interrupted run. One in a stalled transfer ends a minute later at most, and writes nothing."""


@contextmanager
def worker_threads(most: int, name: str, clock: Clock | None = None) -> Iterator[ThreadPoolExecutor]:
    """Give a pool of at most `most` threads, and wait for its work at the end.

    Where the block raises, what has not begun is dropped: a plain `with ThreadPoolExecutor` would do all of it first.
    Dagster's termination of a run, a KeyboardInterrupt and a SystemExit are no `Exception`: they interrupt the clock,
    too, so that the threads stop at their next wait, request or piece of a body. Work of short requests needs none.
    A generator that is closed interrupts no clock, and waits for its threads no longer than an interrupted run.
    """
    pool = ThreadPoolExecutor(most, thread_name_prefix=name)
    try:
        yield pool
        pool.shutdown()  # within the block: an interrupt that comes while it waits is handled below
    except Exception:
        pool.shutdown(cancel_futures=True)
        raise
    except BaseException as error:
        # A generator is closed where its reader needs no more, and then the run goes on; or where its reader was
        # interrupted, and the generator cannot know it.
        if clock is not None and not isinstance(error, GeneratorExit):
            clock.interrupt()
        pool.shutdown(wait=False, cancel_futures=True)
        waiter = Thread(target=pool.shutdown, daemon=True)  # the pool itself cannot be waited for with a limit
        waiter.start()
        waiter.join(_LONGEST_WAIT_SECONDS)
        raise
