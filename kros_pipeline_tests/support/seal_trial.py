"""Runs that seal at the same time, and are killed at random requests: whatever happens, one chain is left.

`python -m kros_pipeline_tests.support.seal_trial --kills 500 --days 30` tries more than the tests do.
"""

from __future__ import annotations

import argparse
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from kros_pipeline.core.clock import Clock
from kros_pipeline.core.errors import ArchiveUnavailable
from kros_pipeline.operations.sealing import seal_days_of
from kros_pipeline.steps.run_context import RunContext
from kros_pipeline_tests.support.clocks import clock_without_waits
from kros_pipeline_tests.support.fake_call_source import FakeCallSource
from kros_pipeline_tests.support.memory_store import MemoryArchive, open_memory_run
from kros_pipeline_tests.support.sealed_days import assert_one_chain, write_settled_day

FIRST = date(2025, 1, 1)
NOW = datetime(2025, 6, 1, tzinfo=UTC)


class Killed(BaseException):
    """The process ended here."""


@dataclass
class FaultyStore:
    """A store whose PUTs below `seals/` meet a fault: before, or after it was applied.

    `decide` returns `kill`, `lose` (nobody learns the answer) or nothing.
    """

    store: Any
    decide: Callable[[str], str]
    puts: list[str] = field(default_factory=list)

    def put(self, key: str, *arguments: Any, **more: Any) -> Any:
        fault = self.decide(key) if key.startswith(("seals/", "state/seals")) else ""
        if fault == "kill before":
            raise Killed
        version = self.store.put(key, *arguments, **more)
        self.puts.append(key)
        if fault == "kill":
            raise Killed
        if fault == "lose":
            raise ArchiveUnavailable(f"{key}: no answer")
        return version

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


def open_run(archive: MemoryArchive, decide: Callable[[str], str] = lambda _: "") -> RunContext:
    """One run over the archive, whose PUTs of seals meet faults."""
    clock: Clock = clock_without_waits(lambda: NOW)
    ctx = open_memory_run(archive, FakeCallSource([], clock), clock)
    ctx.store = FaultyStore(ctx.store, decide)
    return ctx


def try_sealing(seed: int, *, days: int, runs: int, kills: int, calls: int = 2) -> int:
    """Seal days by several runs at once, each killed and started again, until all is sealed; returns the kills."""
    archive = MemoryArchive("seal-trials", f"trial-{seed}")
    own = open_run(archive)
    own.identity.claim()
    all_days = [FIRST + timedelta(days=number) for number in range(days)]
    for day in all_days:
        write_settled_day(own, day, calls)
    generator, lock, killed = random.Random(seed), threading.Lock(), 0

    def decide(_: str) -> str:
        nonlocal killed
        with lock:
            fault = generator.choices(("", "lose", "kill", "kill before"), (60, 10, 15, 15))[0]
            if fault.startswith("kill"):
                killed += 1
            return fault if killed <= kills else ""

    def work() -> None:
        while True:
            try:
                report = seal_days_of(open_run(archive, decide))
            except Killed:
                continue
            except ArchiveUnavailable:  # the index could not be saved: a run ends with that, and the next goes on
                continue
            assert not report.refused, report.refused
            if not (report.owed or report.left):
                return

    with ThreadPoolExecutor(runs) as pool:
        for future in [pool.submit(work) for _ in range(runs)]:
            future.result()
    seals = assert_one_chain(archive, all_days)
    assert len(seals) == days, f"{len(seals)} seals of {days} days"
    archive.forget()
    return killed


def main() -> None:
    """Try more than the tests do."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--runs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0, help="the first one")
    options = parser.parse_args()
    for seed in range(options.seed, options.seed + options.seeds):
        killed = try_sealing(seed, days=options.days, runs=options.runs, kills=options.kills)
        print(f"seed {seed}: {options.days} days by {options.runs} runs, {killed} kills: one chain")


if __name__ == "__main__":
    main()
