"""A table is not written with an erased call, whenever its writer read it and however long the write takes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pytest

from kros_pipeline.archive import parquet
from kros_pipeline.archive.object_store import ObjectStore
from kros_pipeline.archive.parquet import Partition, batches_of
from kros_pipeline.archive.tables import Build, Tables
from kros_pipeline.archive.tombstones import Tombstones
from kros_pipeline.core import schemas
from kros_pipeline.core.clock import Clock
from kros_pipeline_tests.support.memory_store import MemoryObjectStore

DAY, NOW = date(2025, 1, 10), datetime(2025, 1, 20, tzinfo=UTC)
TABLE = schemas.TRANSCRIPTS
STOPPED = Clock(lambda: NOW, lambda: 0.0, lambda _: None)  # a look at the tombstones never becomes too old
_numbers = itertools.count(1)


@pytest.fixture
def store() -> ObjectStore:
    return MemoryObjectStore(f"late-{next(_numbers)}")


def open_run(store: ObjectStore) -> tuple[Tables, Tombstones]:
    """The tables of one run, which has looked at the tombstones a moment ago."""
    tombstones = Tombstones(store, "k" * 32, STOPPED)
    tombstones.pseudonyms()
    return Tables(store, tombstones), tombstones


def adding(*call_ids: str) -> Build:
    def build(present: Partition | None) -> Iterator[pa.RecordBatch]:
        ids = {row["call_id"] for row in present.rows()} if present else set()
        rows: list[dict[str, Any]] = [
            dict.fromkeys(TABLE.column_names) | {"call_id": one, "call_date": DAY, "status": "kept", "fetched_at": NOW}
            for one in sorted(ids | set(call_ids))
        ]
        return batches_of(TABLE, rows)

    return build


def ids_in(store: ObjectStore) -> list[str]:
    tables, _ = open_run(store)
    return [row["call_id"] for row in tables.rows(TABLE, DAY)]


def erase(store: ObjectStore, call_id: str, token: str = "a token") -> None:
    tables, tombstones = open_run(store)
    tombstones.add_call(DAY, call_id)
    tables.bar_late_writes(TABLE, DAY, token)


@pytest.mark.parametrize("present", [(), ("a",), ("a", "b")], ids=["no partition", "without the call", "with the call"])
def test_a_writer_that_read_before_the_erasure_and_writes_after_it_loses(
    store: ObjectStore, present: tuple[str, ...]
) -> None:
    tables, _ = open_run(store)
    if present:
        tables.commit(TABLE, DAY, adding(*present))
    with tables.transaction(TABLE, DAY) as late:
        erase(store, "b")
        late.commit(adding("a", "b", "c"))
    assert ids_in(store) == ["a", "c"]


def test_a_writer_that_reads_after_the_erasure_looks_for_its_tombstones_however_young_its_last_look_is(
    store: ObjectStore,
) -> None:
    tables, _ = open_run(store)
    erase(store, "b")
    tables.commit(TABLE, DAY, adding("a", "b"))
    assert ids_in(store) == ["a"]
    erase(store, "a", "another token")
    tables.commit(TABLE, DAY, adding("a", "b", "c"))
    assert ids_in(store) == ["c"]


def test_no_later_file_has_the_bytes_of_one_from_before_the_erasure(store: ObjectStore) -> None:
    """S3's version is a hash of the bytes: equal ones would fulfil the condition of a write from before."""
    tables, _ = open_run(store)
    tables.commit(TABLE, DAY, adding("a"))
    versions = [store.read(f"tables/transcripts/dt={DAY}/part-0.parquet")]
    for token, call_id in (("token 1", "x"), ("token 2", "x"), ("token 3", "y")):
        erase(store, call_id, token)
        tables.commit(TABLE, DAY, adding("a"))  # a later run writes the same rows
        versions.append(store.read(f"tables/transcripts/dt={DAY}/part-0.parquet"))
    assert len(set(versions)) == 4
    assert not open_run(store)[0].commit(TABLE, DAY, adding("a")).changed


def test_an_empty_partition_is_created_for_every_table_and_read_as_a_day_without_rows(store: ObjectStore) -> None:
    tables, _ = open_run(store)
    for table in schemas.TABLES.values():
        assert tables.bar_late_writes(table, DAY, "a token").rows == 0
        with tables.required(table, DAY) as partition:
            assert (partition.row_count, partition.erasure_token) == (0, "a token")


@pytest.mark.parametrize("erased", ["02", "12", "31"])
def test_a_file_has_the_same_bytes_whether_an_erased_call_is_listed_or_not(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch, erased: str
) -> None:
    monkeypatch.setattr(parquet, "ROWS_PER_GROUP", 10)
    monkeypatch.setattr(parquet, "ROWS_PER_BATCH", 5)
    tables, tombstones = open_run(store)
    tombstones.add_call(DAY, erased)
    ids = [f"{number:02}" for number in range(33)]
    tables.commit(TABLE, DAY, adding(*ids))
    assert not tables.commit(TABLE, DAY, adding(*(call_id for call_id in ids if call_id != erased))).changed
    assert ids_in(store) == [call_id for call_id in ids if call_id != erased]
