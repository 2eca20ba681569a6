"""Answers about transcripts and events are saved in checkpoints: neither a killed run nor another writer costs them."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest

from kros_pipeline.core import schemas
from kros_pipeline.core.errors import TooManyRequests
from kros_pipeline.source.call_source import CallEvent, TranscriptAnswer
from kros_pipeline.steps import answer_file
from kros_pipeline.steps.run_context import RunContext
from kros_pipeline_tests.support.accounts import AFTER_GRACE, DAY
from kros_pipeline_tests.support.clocks import clock_without_waits
from kros_pipeline_tests.support.fake_call_source import FakeCall, FakeCallSource
from kros_pipeline_tests.support.memory_store import MemoryArchive, open_memory_run
from kros_pipeline_tests.support.steps import fetch_call_events, fetch_transcripts, list_calls

CALLS = 45
CLOCK = clock_without_waits(lambda: AFTER_GRACE)
_numbers = itertools.count(1)


class Killed(BaseException):
    """No `Exception`, as what Dagster raises in a run that is terminated."""


class CountingSource(FakeCallSource):
    """Calls `act` with the number of each request for a transcript, before it is answered."""

    def __init__(self, calls: int = CALLS) -> None:
        noon = datetime.combine(DAY, time(12), UTC)
        super().__init__(
            [FakeCall(f"call_{n:02}", noon + timedelta(seconds=n), None, f"[Agent]: {n}") for n in range(calls)], CLOCK
        )
        self.act: Callable[[int], None] = lambda number: None
        self.asked = Counter[str]()

    def transcript(self, call_id: str) -> TranscriptAnswer:
        self.asked[call_id] += 1
        self.act(self.asked.total())
        return super().transcript(call_id)

    def events(self, call_id: str) -> list[CallEvent]:
        self.asked[call_id] += 1
        self.act(self.asked.total())
        return super().events(call_id)


class Listed:
    """A listed day of which upstream has to be asked about every call."""

    def __init__(self, calls: int = CALLS) -> None:
        self.source, self.archive = CountingSource(calls), MemoryArchive("checkpoints", f"day-{next(_numbers)}")
        list_calls(self.open(), DAY)

    def open(self) -> RunContext:
        return open_memory_run(self.archive, self.source, CLOCK, KROS_TRANSCRIPT_DETAILS="always")

    def kept(self) -> dict[str, str]:
        return {row["call_id"]: row["text"] for row in self.rows() if row["status"] == "kept"}

    def rows(self) -> list[dict[str, Any]]:
        return self.archive.table("transcripts", DAY)


@pytest.fixture(autouse=True)
def save_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_file, "_SAVE_EVERY_CALLS", 10)


def fail_after(answers: int, error: BaseException) -> Callable[[int], None]:
    def act(number: int) -> None:
        if number > answers:
            raise error

    return act


def test_a_killed_run_keeps_what_it_asked_for() -> None:
    day = Listed()
    day.source.act = fail_after(35, Killed())
    with pytest.raises(Killed):
        fetch_transcripts(day.open(), DAY)
    assert len(day.kept()) == 30
    day.source.act = lambda number: None
    fetch_transcripts(day.open(), DAY)
    assert len(day.kept()) == CALLS
    assert all(day.source.asked[call_id] == 1 for call_id in sorted(day.kept())[:30])


def test_a_killed_run_keeps_the_events_that_it_asked_for() -> None:
    day = Listed()
    day.source.act = fail_after(35, Killed())
    with pytest.raises(Killed):
        fetch_call_events(day.open(), DAY)
    kept = {row["call_id"] for row in day.archive.table("call_events", DAY)}
    assert len(kept) == 30
    day.source.act = lambda number: None
    report = fetch_call_events(day.open(), DAY)
    assert report.counts == {"asked": 15, "without_events": 0, "left": 0}
    assert len(day.archive.table("call_events", DAY)) == 2 * CALLS


def test_an_answer_outlives_another_writer_and_is_counted_once() -> None:
    day, others = Listed(), 0

    def act(number: int) -> None:
        nonlocal others
        if number in (5, 44):  # in a checkpoint, and in the commit that ends the step
            day.open().tables.bar_late_writes(schemas.TRANSCRIPTS, DAY, f"erasure {number}")
            others += 1
        if number == CALLS:  # nothing can be asked once more
            raise TooManyRequests("the quota is used up")

    day.source.act = act
    report = fetch_transcripts(day.open(), DAY)
    assert others == 2 and set(day.source.asked.values()) == {1}
    assert report.counts["answered"] == len(day.kept()) == CALLS - 1
    assert len(day.rows()) == CALLS and isinstance(report.error, TooManyRequests)


def test_checkpoints_change_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    often = Listed()
    fetch_transcripts(often.open(), DAY)
    monkeypatch.setattr(answer_file, "_SAVE_EVERY_CALLS", 1_000)
    once = Listed()
    fetch_transcripts(once.open(), DAY)
    assert often.archive.read("tables/transcripts/dt=2025-01-10/part-0.parquet") == once.archive.read(
        "tables/transcripts/dt=2025-01-10/part-0.parquet"
    )


@pytest.mark.parametrize(("calls", "checkpoints"), [(10, 0), (45, 4), (400, 4)])
def test_a_larger_day_has_no_more_checkpoints(calls: int, checkpoints: int) -> None:
    day, seen = Listed(calls), set[str]()

    def look(number: int) -> None:
        seen.update(version for version, _ in day.archive.objects("tables/transcripts/").values())

    day.source.act = look
    report = fetch_transcripts(day.open(), DAY)
    assert len(seen) == checkpoints
    assert report.written is not None and report.written.changed and report.written.rows == calls
