"""A day of a million calls, at a hundredth: what the step `calls` holds, asks for and writes as a day grows."""

from __future__ import annotations

import tracemalloc
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

import pytest

from kros_pipeline.archive import parquet
from kros_pipeline.core import digest_set
from kros_pipeline.source.call_source import ListedCall, Page, Window
from kros_pipeline.steps import call_runs, local_file
from kros_pipeline_tests.support.clocks import clock_without_waits
from kros_pipeline_tests.support.fake_call_source import FakeCall, FakeCallSource
from kros_pipeline_tests.support.memory_store import MemoryArchive, MemoryObjectStore, open_memory_run
from kros_pipeline_tests.support.steps import list_calls

DAY = date(2025, 1, 10)
MIDNIGHT = datetime(2025, 1, 10, tzinfo=UTC)
CLOCK = clock_without_waits(lambda: datetime(2025, 1, 20, tzinfo=UTC))
TEXT = "Agent: how may I help you?\nCaller: " + "I would like to have my money back. " * 16
MAX_BYTES_PER_CALL = 300  # a million of them leave room for the rest below 1 GB


class LargeDay(FakeCallSource):
    """A day of calls, sorted once."""

    def __init__(self, count: int, *, has_date_filter: bool) -> None:
        gap = timedelta(days=1) / count
        calls = [
            FakeCall(f"call_{number * 7_919 % count:06d}", MIDNIGHT + number * gap, b"") for number in range(count)
        ]
        super().__init__(calls, CLOCK)
        self._ordered, self._has_date_filter = calls, has_date_filter

    def list_page(self, window: Window | None, offset: int, page_number: int) -> Page:
        self._count_request()
        begin, end = 0, len(self._ordered)
        if window is not None and self._has_date_filter:
            begin = bisect_left(self._ordered, window.start, key=lambda call: call.created_at)
            end = bisect_right(self._ordered, window.end, key=lambda call: call.created_at)
        shown = self._ordered[begin:end][offset : offset + self.page_limit]
        return Page([self._show(call) for call in shown], [], end - begin, self.page_limit)

    def _show(self, call: FakeCall) -> ListedCall:
        """Return a call with a text of its own, as each page of a real list has it."""
        listed = self._list(call)
        return replace(listed, call=replace(listed.call, listed_transcript=f"{TEXT}{call.call_id}"))


@dataclass(frozen=True)
class Cost:
    """What listing a day took. `held_bytes` are those of Python's objects at the worst moment, the pages included."""

    held_bytes: int
    api_requests: int
    requests: int
    writes: int


def list_day(count: int, *, has_date_filter: bool, times: int) -> list[Cost]:
    """List a new day of so many calls, and again."""
    source = LargeDay(count, has_date_filter=has_date_filter)
    archive = MemoryArchive("large-days", f"{count}-{has_date_filter}")
    costs = []
    for _ in range(times):
        ctx = open_memory_run(archive, source, CLOCK)
        store = ctx.store
        assert isinstance(store, MemoryObjectStore)
        asked = source.requests_made
        tracemalloc.start()
        report, listing = list_calls(ctx, DAY)
        held_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        costs.append(Cost(held_bytes, source.requests_made - asked, store.requests_made, store.writes_made))
        assert report.counts["calls"] == listing.listed_total == count and listing.proved
    archive.forget()
    return costs


@pytest.fixture
def _small_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the buffers as small as the days of these tests are."""
    for module, name, times in (
        (call_runs, "MAX_HELD_BYTES", 100),
        (call_runs, "CALLS_PER_BATCH", 100),
        (call_runs, "BYTES_PER_BLOCK", 10),  # each has some calls
        (parquet, "ROWS_PER_BATCH", 100),
        (parquet, "ROWS_PER_GROUP", 100),
        (digest_set, "_FEWEST_HELD", 100),
        (local_file, "MAX_BYTES_IN_MEMORY", 1_000),
    ):
        monkeypatch.setattr(module, name, getattr(module, name) // times)


@pytest.mark.parametrize(("has_date_filter", "times"), [(True, 2), (False, 1)])
@pytest.mark.usefixtures("_small_buffers")
def test_a_day_is_not_held_in_memory_and_costs_no_more_per_call_when_it_is_large(
    *, has_date_filter: bool, times: int
) -> None:
    list_day(11, has_date_filter=has_date_filter, times=1)  # what is imported late counts for no day
    small, large = (list_day(count, has_date_filter=has_date_filter, times=times) for count in (1_001, 3_001))
    for before, after in zip(small, large, strict=True):
        assert after.held_bytes - before.held_bytes <= MAX_BYTES_PER_CALL * 2_000
        assert after.api_requests <= 3.0 * before.api_requests
        assert after.writes == before.writes and after.requests <= before.requests + 5
