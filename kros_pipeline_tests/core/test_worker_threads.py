"""Threads of a run end with it: what an interrupt stops, what an ordinary error stops, and what is waited for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from kros_pipeline.core import worker_threads as module
from kros_pipeline.core.clock import Clock, RunInterrupted
from kros_pipeline.core.worker_threads import worker_threads
from kros_pipeline.steps.run_context import system_clock


class Terminated(BaseException):
    """What Dagster raises in the main thread is no `Exception` either."""


def block_thread(gate: threading.Event, clock: Clock, ended: list[str]) -> None:
    gate.set()
    try:
        clock.sleep(60)
    except RunInterrupted:
        ended.append("interrupted")


def open_and_wait(gate: threading.Event, released: threading.Event, seconds: float) -> None:
    gate.set()
    released.wait(seconds)


@pytest.mark.parametrize("error", [Terminated, KeyboardInterrupt, SystemExit])
def test_an_interrupt_wakes_the_threads_and_drops_what_has_not_begun(error: type[BaseException]) -> None:
    clock, gate, ended, begun = system_clock(), threading.Event(), list[str](), list[int]()
    began_at = time.monotonic()
    with pytest.raises(error), worker_threads(1, "test", clock) as pool:
        pool.submit(block_thread, gate, clock, ended)
        for number in range(100):
            pool.submit(begun.append, number)
        gate.wait(10)
        raise error
    assert ended == ["interrupted"] and begun == [] and time.monotonic() - began_at < 5
    for act in (clock.check, lambda: clock.sleep(0.0)):
        with pytest.raises(RunInterrupted):
            act()


def test_an_interrupt_while_the_work_is_waited_for_ends_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, gate, ended = system_clock(), threading.Event(), list[str]()
    with pytest.raises(Terminated), worker_threads(1, "test", clock) as pool:
        pool.submit(block_thread, gate, clock, ended)
        gate.wait(10)
        shut_down: Callable[..., None] = pool.shutdown

        def interrupted_once(**options: bool) -> None:
            monkeypatch.setattr(pool, "shutdown", shut_down)
            raise Terminated

        monkeypatch.setattr(pool, "shutdown", interrupted_once)  # as a signal does while `shutdown` joins the threads
    assert ended == ["interrupted"]


# A generator is closed where its reader was interrupted, too.
@pytest.mark.parametrize("error", [Terminated, GeneratorExit])
def test_an_interrupt_does_not_wait_for_a_thread_that_hangs(
    monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    monkeypatch.setattr(module, "_LONGEST_WAIT_SECONDS", 0.05)
    gate, released = threading.Event(), threading.Event()
    with pytest.raises(error), worker_threads(1, "test") as pool:
        hanging = pool.submit(open_and_wait, gate, released, 30.0)
        gate.wait(10)
        raise error
    assert not hanging.done()
    assert not released.is_set()
    released.set()


@pytest.mark.parametrize("error", [ValueError, GeneratorExit])
def test_an_ordinary_error_drops_what_has_not_begun_and_the_run_goes_on(error: type[BaseException]) -> None:
    clock, gate, never, done = system_clock(), threading.Event(), threading.Event(), list[str]()
    with pytest.raises(error), worker_threads(1, "test", clock) as pool:
        first = pool.submit(open_and_wait, gate, never, 0.05)
        pool.submit(done.append, "second")
        gate.wait(10)
        raise error
    assert first.done() and done == []
    clock.check()


def test_without_an_error_everything_is_done() -> None:
    with worker_threads(2, "test") as pool:
        results = [pool.submit(pow, 2, number) for number in range(50)]
    assert [result.result() for result in results] == [2**number for number in range(50)]
