"""A table that is replaced or deleted between two of its parts is read whole: parts of two versions are no table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date

import pyarrow as pa
import pytest

from kros_pipeline.archive.object_store import VersionToken
from kros_pipeline.archive.parquet import Partition, batches_of
from kros_pipeline.archive.ranged_file import TAIL_BYTES
from kros_pipeline.archive.ranged_tables import list_partitions, read_in_ranges
from kros_pipeline.core import schemas
from kros_pipeline.core.object_keys import table_key
from kros_pipeline_tests.support.years_run import open_years_run
from kros_pipeline_tests.support.years_store import YearsStore


def replace_table(store: YearsStore, day: date) -> None:
    def build(present: Partition | None) -> Iterator[pa.RecordBatch]:
        assert present is not None
        return batches_of(schemas.CALLS, [next(present.rows()) | {"call_id": "new"}])

    open_years_run(store).tables.commit(schemas.CALLS, day, build)


def delete_table(store: YearsStore, day: date) -> None:
    store.delete(list(store.versions(table_key("calls", day))))


@pytest.mark.parametrize(("change", "expected"), [(replace_table, ["new"]), (delete_table, None)])
def test_a_table_that_changes_between_two_parts_is_read_whole(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[YearsStore, date], None], expected: list[str] | None
) -> None:
    store = YearsStore(1, 2_000)
    ctx, day, true, parts = open_years_run(store), store.days[0], YearsStore.read_range, list[int]()
    entry = list_partitions(store, schemas.CALLS)[day]
    assert entry.size_bytes > TAIL_BYTES

    def read_range(
        this: YearsStore, key: str, begin: int, end: int, *, version: VersionToken | None = None
    ) -> bytes | None:
        parts.append(begin)
        if len(parts) == 2:
            change(this, day)
        return true(this, key, begin, end, version=version)

    monkeypatch.setattr(YearsStore, "read_range", read_range)

    def use(calls: Partition) -> list[str]:
        return [row["call_id"] for row in calls.rows(("call_id",))]

    assert read_in_ranges(ctx.tables, store, schemas.CALLS, day, entry, use) == expected
    assert len(parts) == 2
