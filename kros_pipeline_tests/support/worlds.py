"""Random worlds, in which the list lies, calls come and go, and somebody damages the archive; and the law that holds.

    For every completed call that any answer of the list has shown since its day ended, once the owed runs have come to
    rest: it is in exactly one day's table, or it was erased on request, or its day is not complete and says why.

A world is made from its seed. `python -m kros_pipeline_tests.support.worlds --worlds 2000` tries many; `--seed 7` one.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import random
import sys
import time as clock_time
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pyarrow as pa

from kros_pipeline.archive.parquet import Row
from kros_pipeline.core.errors import ExternalError, MissingTable, UnreadablePartition
from kros_pipeline.core.statuses import DayVerdict
from kros_pipeline.operations.erasure_request import ErasureRequest
from kros_pipeline.sandbox.mp3 import mp3_audio
from kros_pipeline.source.call_source import Page, Window
from kros_pipeline.steps.run_context import RunContext
from kros_pipeline_tests.support import steps
from kros_pipeline_tests.support.clocks import clock_without_waits
from kros_pipeline_tests.support.fake_call_source import FakeCall
from kros_pipeline_tests.support.lying_source import Lies, LyingSource
from kros_pipeline_tests.support.memory_store import MemoryArchive, open_memory_run

FIRST = date(2025, 1, 10)
DAYS = (FIRST, FIRST + timedelta(days=1))
_AROUND = timedelta(hours=16)  # calls lie in the days, and so far before and behind
_MAX_ROUNDS = 10
_BETWEEN_ROUNDS = timedelta(hours=21)  # long enough for second answers, short enough for 90 days of retention
_TABLES = ("calls", "recordings", "transcripts", "utterances", "flagged_calls", "reconciliation")
_FRAMES = 50
_SECONDS = _FRAMES * 0.024
_worlds = itertools.count(1)


@dataclass
class World:
    """One account and one archive. `log` says what happened, for whoever looks at a world that breaks the law."""

    seed: int
    has_lies: bool = True
    days: tuple[date, ...] = DAYS
    log: list[str] = field(default_factory=list)
    now: datetime = datetime(2025, 1, 11, 4, 15, tzinfo=UTC)
    shown: dict[str, date] = field(default_factory=dict)  # the calls, with the day on which each was last shown
    erased: set[str] = field(default_factory=set)
    result: tuple[list[str], dict[date, Row | None]] = field(default=([], {}))  # what breaks the law, and the verdicts

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self._names = itertools.count()
        self.clock = clock_without_waits(lambda: self.now)
        lies = self._draw_lies() if self.has_lies else Lies(order=self._choose(*_ORDERS), page_limit=5)
        self.source = _Shown(self, lies)
        for _ in range(self.random.randrange(4, 24)):
            self._add_call()
        self._changes_left = self.random.choice((0, 0, 1, 3)) if self.has_lies else 0
        self.source.before_page = self._change_meanwhile
        self.archive = MemoryArchive("worlds", f"world-{next(_worlds)}")
        self.log.append(f"{lies}, {len(self.source.calls)} calls")

    # What the list does.

    def _draw_lies(self) -> Lies:
        chance = self.random.random
        cap = self._choose(None, None, 4, 8, 10)
        return Lies(
            order=self._choose(*_ORDERS),
            page_limit=self._choose(3, 5, 100),
            total_cap=cap if chance() < 0.5 else None,
            depth_cap=cap,
            is_depth_refused=chance() < 0.5,
            shift_hours=self._choose(0, 0, 0, -12, -8, -3.5, 1, 5.75, 14),
            reads_days_only=chance() < 0.2,
            is_start_inclusive=chance() < 0.7,
            is_end_inclusive=chance() < 0.7,
            filter_by=self._choose("created_at", "created_at", "completed_at"),
            naive_hours=self._choose(None, None, None, None, 1, -8),
            status=self._choose("completed", "completed", "ended"),
            **self._choose({}, {}, {}, {"ignores_dates": True}, {"refuses_dates": True}),
            added_to_counters=self._choose(0, 0, 0, 3, -1, None),
            gateway_share=self._choose(0, 0, 0, 0.05),
        )

    def _choose(self, *values: Any) -> Any:
        return self.random.choice(values)

    # What happens upstream.

    def _add_call(self) -> str:
        begin = datetime.combine(FIRST, time.min, UTC) - _AROUND
        span = len(DAYS) * timedelta(days=1) + 2 * _AROUND
        at = begin + timedelta(seconds=round(self.random.random() * span.total_seconds(), self._choose(0, 3)))
        if self.random.random() < 0.2:
            at = datetime.combine(self._choose(*DAYS), time.min, UTC) + timedelta(seconds=self._choose(-1, -0.5, 0, 1))
        call_id = f"call_{next(self._names):03d}"
        has_audio = self.random.random() < 0.6
        audio = bytes(mp3_audio(self.seed, call_id, _FRAMES)) if has_audio else None
        text = self._choose("[Agent]: Good day\n[Caller]: I call again", "[Caller]: Hello", None)
        self.source.calls[call_id] = FakeCall(call_id, at, audio, text, _SECONDS)
        return call_id

    def _change_meanwhile(self) -> None:
        """Change the list now and then, before one of its pages is made."""
        if self._changes_left and self.random.random() < 0.1:
            self._changes_left -= 1
            self._change()

    def _change(self) -> None:
        calls = self.source.calls
        kind = self._choose("add", "swap", "remove", "move")
        if kind in ("swap", "remove") and calls:
            removed = self._choose(*sorted(calls))
            del calls[removed]
            self.log.append(f"{removed} is removed")
        if kind in ("add", "swap"):
            self.log.append(f"{self._add_call()} is added")
        if kind == "move" and calls:
            call = calls[self._choose(*sorted(calls))]
            call.created_at += timedelta(minutes=self._choose(-90, -30, 30, 90))
            self.log.append(f"{call.call_id} moves to {call.created_at}")

    # What operators and schedules do.

    def open(self) -> RunContext:
        return open_memory_run(self.archive, self.source, self.clock)

    def run_day(self, day: date) -> None:
        """Run all steps of a day; a step that fails ends the run, as a failed asset does."""
        ctx = self.open()
        try:
            steps.list_calls(ctx, day, first_day=FIRST)
            steps.archive_recordings(ctx, day)
            steps.fetch_transcripts(ctx, day)
            steps.split_utterances(ctx, day)
            steps.flag_calls(ctx, day)
            steps.extend_retention(ctx, day)
            steps.reconcile_day(ctx, day)
        except ExternalError as error:
            self.log.append(f"{day} fails: {error}")
            if isinstance(error, (MissingTable, UnreadablePartition)):
                steps.reconcile_day(ctx, day)  # as a failed asset does

    def come_to_rest(self) -> None:
        """Run what is due until nothing is, or nothing changes any more, in two rounds with most of a day between."""
        quiet_rounds = 0
        for _ in range(_MAX_ROUNDS):
            before = self._state()
            backlog = steps.find_backlog(self.open(), DAYS[0], DAYS[-1])
            for day in backlog:
                self.run_day(day)
            self.now += _BETWEEN_ROUNDS
            quiet_rounds = quiet_rounds + 1 if self._state() == before else 0
            if quiet_rounds == 2:
                return

    def _state(self) -> tuple[dict[str, Any], list[Any]]:
        """Return what a run can change: the tables, and of the verdicts all but the time and the requests."""
        tables = {key: of for key, of in self.archive.objects("tables/").items() if "reconciliation" not in key}
        return tables, [(row["verdict"], row["problems"]) if row else None for row in self.verdicts().values()]

    def erase_one(self) -> None:
        ids = sorted({call_id for day in DAYS for call_id in self.archive.by_call("calls", day)})
        if ids:
            call_id = self._choose(*ids)
            request = ErasureRequest((call_id,), "", "a request of the person", False)
            steps.erase_calls(self.open(), request)
            self.erased.add(call_id)
            self.log.append(f"{call_id} is erased")

    # What somebody does to the archive.

    def damage(self, earlier: dict[str, bytes]) -> None:
        """Damage one object of the archive. `earlier` are bodies that objects had before."""
        tables = list(self.archive.objects("tables/"))
        others = [*self.archive.objects("audio/"), *self.archive.objects("state/listings/")]
        key = self._choose(*tables, *others)
        kind = self._choose("delete", "truncate", "restore", "replace")
        body = self.archive.read(key)
        if kind == "delete" and not key.startswith("state/archive"):
            self.archive.delete(key)
        elif kind == "restore" and earlier.get(key, body) != body:
            self.archive.write(key, earlier[key])
        elif key.startswith("audio/"):
            kind = "replace"
            self.archive.write(key, b"<html>22 bytes</html>\n")
        elif key.startswith("state/"):
            kind = "replace"
            bodies = (b"{}", b"[]", b"<html>", b'{"proved": true, "listed_total": "2"}', body[:40])
            self.archive.write(key, self._choose(*bodies))
        elif key.startswith("tables/"):
            kind = "truncate"
            self.archive.write(key, body[: self.random.randrange(len(body))])
        else:
            return
        self.log.append(f"{kind}: {key}")

    def live(self) -> None:
        """Let a few days pass."""
        for day in DAYS:
            self.now = datetime.combine(day, time(4, 15), UTC) + timedelta(days=1)
            self.run_day(day)
        earlier = {key: self.archive.read(key) for key in self.archive.objects("tables/")}
        self.now += timedelta(days=10)
        self.come_to_rest()
        if self.has_lies:
            if self.random.random() < 0.3:
                self.erase_one()
            for _ in range(self._choose(0, 0, 1, 2)):
                self._change()
            for _ in range(self._choose(0, 1, 1, 2)):
                self.damage(earlier)
            for day in self._choose(DAYS, DAYS[::-1]):  # what is settled is looked at again, in whatever order
                self.run_day(day)
            self.come_to_rest()

    # The law.

    def verdicts(self) -> dict[date, Row | None]:
        found: dict[date, Row | None] = {}
        for day in DAYS:
            try:
                rows = self.archive.table("reconciliation", day)
            except (OSError, pa.ArrowException):
                rows = []
            found[day] = rows[0] if rows else None
        return found

    def breaches(self) -> list[str]:
        """Return a sentence for each call that breaks the law."""
        is_said = {
            day: row is None or bool(row["verdict"] != DayVerdict.COMPLETE and row["problems"])
            for day, row in self.verdicts().items()
        }
        breaches = []
        for call_id, shown_on in sorted(self.shown.items()):
            holders = [day for day in DAYS if call_id in self._ids(day)]
            if call_id in self.erased:
                if holders:
                    breaches.append(f"{call_id} was erased, and is in {holders}")
            elif len(holders) != 1 and not any(is_said[day] for day in holders or [shown_on]):
                breaches.append(f"{call_id} is in {len(holders)} days, and {shown_on} is complete")
        return breaches

    def _ids(self, day: date) -> set[str]:
        try:
            return set(self.archive.by_call("calls", day))
        except (OSError, pa.ArrowException):
            return set()  # cut: the day is red


_ORDERS = ("newest", "oldest", "shuffled")


class _Shown(LyingSource):
    """A lying source that notes which calls its list has shown after their day ended."""

    def __init__(self, world: World, lies: Lies) -> None:
        super().__init__((), world.clock, lies)
        self._world = world

    def list_page(self, window: Window | None, offset: int, page_number: int) -> Page:
        page = super().list_page(window, offset, page_number)
        for listed in page.calls:
            day = listed.call.created_at.date()
            if day in DAYS and self._world.now >= datetime.combine(day, time.min, UTC) + timedelta(days=1):
                self._world.shown[listed.call.call_id] = day
        return page


def try_world(seed: int, *, has_lies: bool = True) -> World:
    """Make a world and let it live."""
    world = World(seed, has_lies)
    try:
        world.live()
    finally:
        world.result = world.breaches(), world.verdicts()
        world.archive.forget()
    return world


def main() -> int:
    """Try many worlds, or one, and print those that break the law."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worlds", type=int, default=2_000)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--healthy", action="store_true", help="worlds without lies, changes and damage")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    seeds = range(arguments.first, arguments.first + arguments.worlds) if arguments.seed is None else [arguments.seed]
    broken = complete = 0
    began_at = clock_time.monotonic()
    for seed in seeds:
        world = try_world(seed, has_lies=not arguments.healthy)
        breaches, verdicts = world.result
        if breaches or arguments.seed is not None:
            print(f"world {seed}:", *world.log, sep="\n  ")
            print(*breaches, *verdicts.items(), sep="\n  ")
        broken += bool(breaches)
        complete += all(row is not None and row["verdict"] == DayVerdict.COMPLETE for row in verdicts.values())
    seconds = clock_time.monotonic() - began_at
    print(f"{len(seeds)} worlds: {broken} break the law, {complete} are complete; {seconds / len(seeds):.2f} s each")
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main())
