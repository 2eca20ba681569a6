"""What it costs to stop the calls of a number: the same for each, however many the number has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import date

from kros_pipeline.archive.audit_log import AuditLog
from kros_pipeline.archive.object_store import Entry
from kros_pipeline.archive.tombstones import Tombstones
from kros_pipeline.core.calls import merge_calls
from kros_pipeline.core.days import end_of, start_of
from kros_pipeline.source.call_source import Window
from kros_pipeline.steps.archived_ids import ArchivedIds
from kros_pipeline.steps.call_runs import CallRuns
from kros_pipeline.steps.listed_rows import ListedRows
from kros_pipeline.steps.stopped_numbers import stop_calls
from kros_pipeline_tests.support.accounts import DAY
from kros_pipeline_tests.support.memory_store import MemoryObjectStore
from kros_pipeline_tests.support.sized_days import SizedSource, open_sized_day

NUMBER = "+2348012345678"


class CountingStore(MemoryObjectStore):
    """Counts the objects that are listed."""

    listed = 0

    def list(self, prefix: str, *, after: str = "") -> Iterator[Entry]:
        for entry in super().list(prefix, after=after):
            self.listed += 1
            yield entry


def stop(calls: int) -> tuple[int, int]:
    """Stop the number from which all calls of a day came. Return the requests, and the objects listed."""
    ctx, store = open_sized_day(f"stopped-{calls}", 0, is_archived=False), CountingStore(f"stopped-{calls}", "archive")
    tombstones = Tombstones(store, "k" * 32, ctx.clock)
    tombstones.claim_key()
    tombstones.stop_number(tombstones.pseudonym(NUMBER))

    def open_audit(day: date) -> AuditLog:
        return AuditLog(store, tombstones, ctx.clock, run_id="run", day=day, step="calls")

    window = Window(start_of(DAY), end_of(DAY))
    with closing(CallRuns(merge_calls)) as runs:
        rows = ListedRows(DAY, runs)
        for page in SizedSource(calls).pages(window):
            listed = [replace(one, call=replace(one.call, from_number=NUMBER)) for one in page.calls]
            rows.add(replace(page, calls=listed), window)
        store.requests_made = 0
        stop_calls(DAY, rows, ArchivedIds(DAY, ctx.tables), tombstones, open_audit)
    assert len(tombstones.pseudonyms_of(DAY)) == calls
    return store.requests_made, store.listed


def test_calls_of_a_stopped_number_cost_the_same_each_and_list_each_tombstone_once() -> None:
    (few, listed_of_few), (many, listed_of_many) = stop(30), stop(120)
    assert many <= 4 * few
    assert listed_of_many - listed_of_few == 120 - 30
