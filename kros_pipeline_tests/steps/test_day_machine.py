"""A day as a state machine: whatever happens to upstream, to the bucket and to the runs, in whatever order.

The steps and the tables are the real ones; upstream and the bucket are in memory.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kros_pipeline.archive.object_store import VersionToken
from kros_pipeline.core.call_counters import CallCounter
from kros_pipeline.core.errors import (
    ApiServerError,
    AudioGone,
    CallGone,
    CallNotFound,
    DownloadBroken,
    MissingTable,
    TooManyRequests,
    UrlExpired,
    UrlRefused,
)
from kros_pipeline.core.object_keys import audio_key
from kros_pipeline.sandbox.mp3 import mp3_audio
from kros_pipeline.source.call_parsing import parse_listed_call
from kros_pipeline.source.call_source import Body, Page, RecordingAnswer, TranscriptAnswer, Window
from kros_pipeline.steps.run_context import RunContext, open_run_context
from kros_pipeline_tests.support.accounts import AFTER_GRACE, DAY, WITHIN_GRACE
from kros_pipeline_tests.support.clocks import clock_without_waits
from kros_pipeline_tests.support.memory_store import MemoryArchive, open_memory_archive
from kros_pipeline_tests.support.steps import (
    archive_recordings,
    extend_retention,
    fetch_transcripts,
    flag_calls,
    list_calls,
    reconcile_day,
    split_utterances,
)

FAULTS = ("reset", "html", "denied", "gone", "foreign", "api")
SECRET = "https://storage.krosai.com/recordings/{}.mp3?X-Amz-Signature=secret"
_numbers = itertools.count(1)


@dataclass
class World:
    """Upstream as it is: calls, what is to be seen of them, and what goes wrong at this moment."""

    recorded: dict[str, bool] = field(default_factory=dict)
    late: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    faults: dict[str, str] = field(default_factory=dict)
    requests_left: int | None = None

    def audio(self, call_id: str) -> bytes:
        return bytes(mp3_audio(7, call_id, 50))

    def has_audio(self, call_id: str) -> bool:
        return self.recorded[call_id] and call_id not in self.late and call_id not in self.deleted

    def asked(self) -> None:
        if self.requests_left is not None:
            if self.requests_left == 0:
                raise TooManyRequests("the run's share of API requests is used up (budget)")
            self.requests_left -= 1


class Source:
    """What the steps of a day ask of a `CallSource`, over the world."""

    page_limit = 100
    plan_name = "pro"
    requests_made = 0

    def __init__(self, world: World) -> None:
        self.world = world

    def close(self) -> None: ...

    def pages(self, window: Window, *, prefetch: int = 0, first: Page | None = None) -> Iterator[Page]:
        for offset in range(0, max(1, len(self.world.recorded)), self.page_limit):
            yield first if first is not None and not offset else self.list_page(window, offset, 1)

    def list_page(self, window: Window | None, offset: int, page_number: int) -> Page:
        self.world.asked()
        rows = [
            {
                "id": call_id,
                "status": "completed",
                "created_at": f"{DAY}T10:00:00Z",
                "duration": 1,
                "recording_url": SECRET.format(call_id) if self.world.has_audio(call_id) else None,
            }
            for call_id in self.world.recorded
        ]
        calls = [parse_listed_call(row, organization_id=None, now=AFTER_GRACE) for row in rows[offset : offset + 100]]
        return Page(calls, [], len(rows), 100)

    def recording(self, call_id: str) -> RecordingAnswer:
        self.world.asked()
        if self.world.faults.get(call_id) == "api":
            raise ApiServerError("status 500")
        if call_id in self.world.deleted:
            raise CallGone("status 410")
        if not self.world.has_audio(call_id):
            raise CallNotFound("status 404")
        return RecordingAnswer(SECRET.format(call_id), 1.0)

    def transcript(self, call_id: str) -> TranscriptAnswer:
        self.world.asked()
        raise CallNotFound("status 404")

    def allowed_extension_days(self, requested_days: int) -> int | None:
        return requested_days

    def statistics(self, window: Window) -> list[CallCounter]:
        return []

    def trends(self, day: date) -> list[CallCounter]:
        return []

    @contextmanager
    def open_recording(self, url: str) -> Iterator[Body]:
        call_id = url.split("/")[-1].split(".")[0]
        match self.world.faults.get(call_id):
            case "reset":
                raise DownloadBroken("the body broke off")
            case "denied" | "api":
                raise UrlExpired("the storage does not accept the URL (status 403)")
            case "gone":
                raise AudioGone("the storage has no such recording (status 404)")
            case "foreign":
                raise UrlRefused("a redirect")
            case "html":
                body = b"<html>" * 50
            case _:
                if not self.world.has_audio(call_id):
                    raise AudioGone("the storage has no such recording (status 404)")
                body = self.world.audio(call_id)
        yield Body(body, None, len(body), hashlib.sha256(body).hexdigest())


class _Crash(BaseException):
    """As a signal would end the process, but here."""


indexes = st.integers(0, 11)


class DayMachine(RuleBasedStateMachine):
    """The rules are what may happen; the invariants hold after each of them."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.archive = MemoryArchive("memory", f"ledger-{next(_numbers)}")
        self.now = WITHIN_GRACE
        self.once_archived: dict[str, str] = {}
        self.attempts: dict[str, int] = {}
        self.deleted_objects: set[str] = set()
        self.is_settled = False  # the last thing that happened was a run that came to its end
        self.verdict = ""
        self.calls_are_made(3, {1: "late"})

    def teardown(self) -> None:
        self.archive.forget()

    def open(self) -> RunContext:
        environment = {
            "KROSAI_API_KEY": "kros_test_x",
            "KROS_ARCHIVE_URL": f"s3://{self.archive.bucket}/{self.archive.prefix}",
            "KROS_DOWNLOAD_WORKERS": "2",
        }
        clock = clock_without_waits(lambda: self.now)
        ctx = open_run_context(environment, clock=clock, open_archive=open_memory_archive)
        ctx.close()
        ctx.identity.claim()  # as the run of any asset does before its step
        ctx.source = Source(self.world)  # type: ignore[assignment]
        return ctx

    def call(self, index: int) -> str:
        return sorted(self.world.recorded)[index % len(self.world.recorded)]

    def run_day(self, ctx: RunContext, *, relist: bool = True) -> None:
        self.now += timedelta(minutes=1)
        if relist:
            with suppress(TooManyRequests):
                list_calls(ctx, DAY)
        with suppress(MissingTable):  # the list was never read
            for step in (archive_recordings, fetch_transcripts, split_utterances, flag_calls, extend_retention):
                step(ctx, DAY)
        self.verdict = reconcile_day(ctx, DAY).verdict.verdict
        self.is_settled = True

    # What may happen upstream.

    @precondition(lambda self: len(self.world.recorded) < 9)
    @rule(count=st.integers(1, 3), kinds=st.dictionaries(st.integers(0, 2), st.sampled_from(["late", "unrecorded"])))
    def calls_are_made(self, count: int, kinds: dict[int, str]) -> None:
        for number in range(count):
            call_id = f"call_{len(self.world.recorded):02}"
            self.world.recorded[call_id] = kinds.get(number) != "unrecorded"
            if kinds.get(number) == "late":
                self.world.late.add(call_id)
        self.is_settled = False

    @rule()
    def late_recordings_appear(self) -> None:
        self.world.late.clear()

    @rule(index=indexes)
    def upstream_deletes_a_recording(self, index: int) -> None:
        self.world.deleted.add(self.call(index))

    @rule()
    def the_grace_days_end(self) -> None:
        self.now = max(self.now, AFTER_GRACE)

    # What may happen to the bucket.

    @rule(index=indexes)
    def somebody_deletes_an_object(self, index: int) -> None:
        call_id = self.call(index)
        if audio_key(DAY, call_id) in self.archive.objects("audio/"):
            self.archive.delete(audio_key(DAY, call_id))
            self.deleted_objects.add(call_id)

    # Runs.

    @rule()
    def a_run(self) -> None:
        self.run_day(self.open())
        truth = self.world
        # What nobody hinders is done, wherever upstream has it, and the verdict knows.
        safe = {call_id for call_id, row in self.rows().items() if row["status"] == "archived"}
        assert {call_id for call_id in truth.recorded if truth.has_audio(call_id)} <= safe
        objects = self.archive.objects("audio/")
        missing = {call_id for call_id in safe if audio_key(DAY, call_id) not in objects}
        assert all(not truth.has_audio(call_id) for call_id in missing)
        assert self.verdict == "incomplete" or not missing

    @rule(faults=st.dictionaries(indexes, st.sampled_from(FAULTS), min_size=1, max_size=6), relist=st.booleans())
    def a_run_with_faults(self, faults: dict[int, str], relist: bool) -> None:
        with self.hindered(faults, None):
            self.run_day(self.open(), relist=relist)

    @rule(requests=st.integers(0, 6), faults=st.dictionaries(indexes, st.sampled_from(FAULTS), max_size=3))
    def a_run_out_of_quota(self, requests: int, faults: dict[int, str]) -> None:
        with self.hindered(faults, requests):
            self.run_day(self.open())

    @rule(faults=st.dictionaries(indexes, st.sampled_from(FAULTS), max_size=3))
    def a_run_that_dies_before_it_writes_the_table(self, faults: dict[int, str]) -> None:
        self.is_settled = False

        def die() -> None:
            raise _Crash

        with self.hindered(faults, None), suppress(_Crash):
            self.run_day(self.at_the_table(die))

    @rule(
        mine=st.dictionaries(indexes, st.sampled_from(FAULTS), max_size=6),
        theirs=st.dictionaries(indexes, st.sampled_from(FAULTS), max_size=6),
        requests=st.none() | st.integers(0, 6),
    )
    def a_run_overtaken_by_another_at_the_table(
        self, mine: dict[int, str], theirs: dict[int, str], requests: int | None
    ) -> None:
        def overtake() -> None:
            with self.hindered(theirs, None):
                archive_recordings(self.open(), DAY)
            self.attempts_never_fall()  # what the other run wrote is looked at, too
            self.what_is_archived_stays_archived_and_is_true()

        with self.hindered(mine, requests):
            self.run_day(self.at_the_table(overtake))

    @contextmanager
    def hindered(self, faults: dict[int, str], requests: int | None) -> Iterator[None]:
        before = self.world.faults, self.world.requests_left
        self.world.faults = {self.call(index): fault for index, fault in faults.items()}
        self.world.requests_left = requests
        yield
        self.world.faults, self.world.requests_left = before

    def at_the_table(self, happens: Callable[[], None]) -> RunContext:
        """A run to which something happens once: between reading its table and replacing it."""
        ctx, left = self.open(), [True]
        put = ctx.store.put

        def first(key: str, *arguments: Any, **named: Any) -> VersionToken:
            if left and key.startswith("tables/recordings/"):
                left.clear()
                happens()
            return put(key, *arguments, **named)

        ctx.store.put = first  # type: ignore[method-assign]
        return ctx

    # What always holds.

    def rows(self) -> dict[str, dict[str, Any]]:
        return self.archive.by_call("recordings", DAY)

    @invariant()
    def each_call_has_one_row(self) -> None:
        ids = [row["call_id"] for row in self.archive.table("recordings", DAY)]
        assert ids == sorted(set(ids))
        assert set(ids) <= set(self.world.recorded)
        if self.is_settled:
            assert set(ids) == {row["call_id"] for row in self.archive.table("calls", DAY)}

    @invariant()
    def what_is_archived_stays_archived_and_is_true(self) -> None:
        objects, rows = self.archive.objects("audio/"), self.rows()
        for call_id in self.once_archived:
            assert rows[call_id]["status"] == "archived", (call_id, rows[call_id]["reason"])
        for call_id, row in rows.items():
            if row["status"] != "archived":
                assert row["reason"] and row["sha256"] is None
                continue
            self.once_archived[call_id] = row["sha256"]
            key = audio_key(DAY, call_id)
            assert row["object_key"] == f"{self.archive.prefix}/{key}"
            if key not in objects:
                assert call_id in self.deleted_objects
                continue
            body = self.archive.read(key)
            assert hashlib.sha256(body).hexdigest() == row["sha256"] and body == self.world.audio(call_id)
        assert all(call_id in self.world.recorded for call_id in self.once_archived)

    @invariant()
    def attempts_never_fall(self) -> None:
        for call_id, row in self.rows().items():
            assert row["attempts"] >= self.attempts.get(call_id, 0), call_id
            self.attempts[call_id] = row["attempts"]

    @invariant()
    def no_url_is_written_down(self) -> None:
        for key in self.archive.objects():
            assert b"X-Amz" not in self.archive.read(key) and b"recording_url" not in self.archive.read(key), key

    @invariant()
    def a_complete_day_is_complete(self) -> None:
        if self.is_settled and self.verdict == "complete":
            statuses = {row["status"] for row in self.rows().values()}
            assert statuses <= {"archived", "not_recorded"}


DayMachine.TestCase.settings = settings(
    max_examples=20,
    stateful_step_count=14,
    derandomize=True,
    phases=[Phase.generate],  # a failure is shown as it was met: to shrink runs of days takes minutes
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestDayMachine = pytest.mark.slow(DayMachine.TestCase)
