"""Digests of ids decide only what an id that shares its digest with another may decide."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from kros_pipeline.archive.parquet import batches_of
from kros_pipeline.archive.tables import Tables
from kros_pipeline.core import digest_set, schemas
from kros_pipeline.core.digest_set import DigestSet
from kros_pipeline.steps.archived_ids import ArchivedIds
from kros_pipeline_tests.support.clocks import clock_without_waits
from kros_pipeline_tests.support.fake_call_source import FakeCall, FakeCallSource
from kros_pipeline_tests.support.memory_store import MemoryArchive, open_memory_run
from kros_pipeline_tests.support.steps import list_calls

DAY = date(2025, 1, 10)
BEFORE, AFTER = DAY - timedelta(days=1), DAY + timedelta(days=1)
CLOCK = clock_without_waits(lambda: datetime(2025, 1, 20, tzinfo=UTC))


@pytest.fixture
def tables(request: pytest.FixtureRequest) -> Tables:
    archive = MemoryArchive("archived-ids", request.node.name)
    return open_memory_run(archive, FakeCallSource([], CLOCK), CLOCK).tables


def write(tables: Tables, day: date, *call_ids: str) -> None:
    at = datetime(day.year, day.month, day.day, tzinfo=UTC)
    row: dict[str, Any] = {"call_date": day, "created_at": at, "has_recording": False, "listed_at": at}
    rows = [row | {"call_id": call_id} for call_id in sorted(call_ids)]
    tables.commit(schemas.CALLS, day, lambda _: batches_of(schemas.CALLS, rows))


def test_ids_that_share_a_digest_are_not_taken_for_one_call_in_two_days(
    tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that an earlier day keeps is removed: no other call may be taken for it."""
    monkeypatch.setattr(digest_set, "digest_id", lambda text: hashlib.sha256(text[:1].encode()).digest()[:8])
    write(tables, BEFORE, "a of yesterday", "both")
    write(tables, DAY, "a of today", "both")
    archived = ArchivedIds(DAY, tables)
    assert len(archived(DAY) & archived(BEFORE)) == 2
    assert archived.find_common(DAY, BEFORE) == {"both"}
    assert archived.find_common(DAY, AFTER) == set()


def test_calls_that_share_a_digest_are_all_kept_and_their_list_is_not_proved(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of one day, one with a call of the day before, and one with a call of the day behind."""
    monkeypatch.setattr(digest_set, "digest_id", lambda text: hashlib.sha256(text[:1].encode()).digest()[:8])
    ids = {BEFORE: ["x1", "b1"], DAY: ["x2", "y2", "c1", "c2"], AFTER: ["y3", "d1"]}
    calls = [
        FakeCall(call_id, datetime(day.year, day.month, day.day, 6 + number, tzinfo=UTC), b"")
        for day, some in ids.items()
        for number, call_id in enumerate(some)
    ]
    archive, source = MemoryArchive("shared-digests", request.node.name), FakeCallSource(calls, CLOCK)
    for _ in range(2):
        proved = {day: list_calls(open_memory_run(archive, source, CLOCK), day)[1].proved for day in (AFTER, *ids)}
        assert proved == {BEFORE: True, DAY: False, AFTER: True}
    tables = open_memory_run(archive, source, CLOCK).tables
    kept = [row["call_id"] for day in ids for row in tables.rows(schemas.CALLS, day)]
    assert sorted(kept) == sorted(call.call_id for call in calls)


def test_a_table_is_read_again_only_where_it_changed(tables: Tables) -> None:
    write(tables, BEFORE, "a")
    archived = ArchivedIds(DAY, tables)
    assert archived(BEFORE) == DigestSet("a") and not archived.has_table(AFTER)
    write(tables, BEFORE, "a", "b")
    assert archived(BEFORE) == DigestSet("a") and archived.beside() == DigestSet("a")
    archived.forget_changed(BEFORE)
    assert archived.beside() == DigestSet("ab")
