"""One day of calls whose recordings a test chooses, over an archive in memory."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

from kros_pipeline.core.clock import Clock
from kros_pipeline.core.errors import ExternalError
from kros_pipeline.source.call_source import Body, RecordingAnswer
from kros_pipeline.steps.reconciliation import ReconciliationResult
from kros_pipeline.steps.run_context import RunContext
from kros_pipeline_tests.support.accounts import AFTER_GRACE, DAY
from kros_pipeline_tests.support.clocks import clock_without_waits
from kros_pipeline_tests.support.fake_call_source import FakeCall, FakeCallSource
from kros_pipeline_tests.support.memory_store import MemoryArchive, open_memory_run
from kros_pipeline_tests.support.steps import (
    archive_recordings,
    extend_retention,
    fetch_transcripts,
    flag_calls,
    list_calls,
    reconcile_day,
    split_utterances,
)

_numbers = itertools.count(1)


class StatingSource(FakeCallSource):
    """A source whose storage and whose answers about recordings a test changes; it counts downloads and questions."""

    def __init__(self, calls: Iterable[FakeCall], clock: Clock) -> None:
        super().__init__(calls, clock)
        self.states: dict[str, dict[str, Any]] = {}  # what is not true in an answer about a recording
        self.has_no_length: set[str] = set()
        self.fails: dict[str, Callable[[int], ExternalError | None]] = {}  # by the number of the download
        self.question_error: ExternalError | None = None
        self.serves: dict[str, Callable[[int], bytes]] = {}
        self.downloads: Counter[str] = Counter()
        self.questions: Counter[str] = Counter()

    def recording(self, call_id: str) -> RecordingAnswer:
        self.questions[call_id] += 1
        if self.question_error is not None:
            raise self.question_error
        return replace(super().recording(call_id), **self.states.get(call_id, {}))

    @contextmanager
    def open_recording(self, url: str) -> Iterator[Body]:
        call_id = url.rsplit("/", 1)[-1].split(".mp3")[0]
        self.downloads[call_id] += 1
        number = self.downloads[call_id]
        if call_id in self.fails and (error := self.fails[call_id](number)) is not None:
            raise error
        if call_id in self.serves:
            self.calls[call_id].audio = self.serves[call_id](number)
        with super().open_recording(url) as body:
            body.is_length_known = call_id not in self.has_no_length
            yield body


@dataclass
class FakeDay:
    """The day, its archive, and what runs make of it. Close it with `forget`."""

    bodies: dict[str, bytes]
    seconds: dict[str, float | None] = field(default_factory=dict)
    now: datetime = AFTER_GRACE

    def __post_init__(self) -> None:
        noon = datetime.combine(DAY, time(12), UTC)
        self.clock = clock_without_waits(lambda: self.now)
        calls = [
            FakeCall(call_id, noon + timedelta(seconds=n), body, "[Agent]: Hello", self.seconds.get(call_id))
            for n, (call_id, body) in enumerate(self.bodies.items())
        ]
        self.source = StatingSource(calls, self.clock)
        self.archive = MemoryArchive("fake-days", f"day-{next(_numbers)}")

    def open(self) -> RunContext:
        return open_memory_run(self.archive, self.source, self.clock)

    def run(self, *, call_ids: Iterable[str] = (), hours_later: float = 0) -> ReconciliationResult:
        """All steps of the day, as one run."""
        self.now += timedelta(hours=hours_later)
        self.source.downloads.clear()
        self.source.questions.clear()
        ctx = self.open()
        list_calls(ctx, DAY)
        self.report = archive_recordings(ctx, DAY, tuple(call_ids))
        fetch_transcripts(ctx, DAY)
        split_utterances(ctx, DAY)
        flag_calls(ctx, DAY)
        extend_retention(ctx, DAY)
        return reconcile_day(ctx, DAY)

    def rows(self) -> dict[str, dict[str, Any]]:
        return self.archive.by_call("recordings", DAY)

    def quarantined(self) -> dict[str, bytes]:
        """The kept bodies, by their keys inside the bucket."""
        return {f"{self.archive.prefix}/{key}": self.archive.read(key) for key in self.archive.objects("quarantine/")}
