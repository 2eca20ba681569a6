"""Tables: one object a day, replaced whole and under a condition, equal bytes for equal rows."""

from __future__ import annotations

import errno
import hashlib
import io
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kros_pipeline.archive import compare_and_swap, parquet, row_order, tables
from kros_pipeline.archive.object_store import VersionToken
from kros_pipeline.archive.parquet import Partition, batches_of, merged_batches, plain_values, write_parquet
from kros_pipeline.core import schemas
from kros_pipeline.core.errors import ArchiveUnavailable, LocalFault, NewerTable
from kros_pipeline.steps.run_context import RunContext
from kros_pipeline_tests.support.accounts import DAY, Account, MakeAccount
from kros_pipeline_tests.support.archive_check import table_key

MOMENT = datetime(2025, 1, 20, tzinfo=UTC)
TABLE = schemas.TRANSCRIPTS


def row(call_id: str, **values: Any) -> dict[str, Any]:
    return dict.fromkeys(TABLE.column_names) | {
        "call_id": call_id, "call_date": DAY, "status": "kept", "text": f"[Agent]: {call_id}", "fetched_at": MOMENT,
    } | values  # fmt: skip


def adding(*rows: dict[str, Any]) -> tables.Build:
    """Keep what is there, and add rows: as steps do."""

    def build(present: Partition | None) -> Iterator[pa.RecordBatch]:
        merged = {found["call_id"]: found for found in present.rows()} if present else {}
        merged |= {new["call_id"]: new for new in rows}
        return batches_of(TABLE, (merged[call_id] for call_id in sorted(merged)))

    return build


def stored(our: Account) -> list[str]:
    return [found["call_id"] for found in our.archive.table(TABLE.name, DAY)]


@pytest.fixture
def our(account: MakeAccount) -> Account:
    return account()


def test_an_absent_partition_is_none_and_has_no_rows(run_context: RunContext) -> None:
    with run_context.tables.opened(TABLE, DAY) as partition:
        assert partition is None
    assert run_context.tables.rows(TABLE, DAY) == []


def test_a_commit_writes_the_rows_and_reports_their_number_and_size(our: Account) -> None:
    written = our.ctx.tables.commit(TABLE, DAY, adding(row("a"), row("b", text="ẹ̀kọ́ 电话", word_count=2)))
    body = our.archive.read(table_key(TABLE.name, DAY))
    assert (written.rows, written.size_bytes, written.changed) == (2, len(body), True)
    assert [found["text"] for found in our.ctx.tables.rows(TABLE, DAY)] == ["[Agent]: a", "ẹ̀kọ́ 电话"]
    assert our.ctx.tables.rows(TABLE, DAY, ("call_id",)) == [{"call_id": "a"}, {"call_id": "b"}]


def test_equal_rows_give_equal_bytes_and_are_not_written_again(our: Account) -> None:
    our.ctx.tables.commit(TABLE, DAY, adding(row("b"), row("a")))
    before = our.archive.objects("tables/")
    requests = our.ctx.store.requests_made
    written = our.ctx.tables.commit(TABLE, DAY, adding(row("a"), row("b")))
    assert not written.changed and our.archive.objects("tables/") == before
    assert our.ctx.store.requests_made - requests == 1  # read, and not put; who is erased was asked a moment before
    files = [io.BytesIO(), io.BytesIO()]
    for file in files:
        write_parquet(TABLE, file, batches_of(TABLE, [row("a"), row("b")]))
    assert files[0].getvalue() == files[1].getvalue() == our.archive.read(table_key(TABLE.name, DAY))


def test_an_empty_day_is_a_file_without_rows_and_with_the_whole_schema(our: Account) -> None:
    for table in schemas.TABLES.values():
        our.ctx.tables.commit(table, DAY, lambda _: iter(()))
        read = pq.read_table(io.BytesIO(our.archive.read(table_key(table.name, DAY))))
        assert read.num_rows == 0 and read.schema.equals(table.schema), table.name


def test_each_column_carries_its_description_in_the_file(our: Account) -> None:
    our.ctx.tables.commit(TABLE, DAY, adding(row("a")))
    file = pq.read_schema(io.BytesIO(our.archive.read(table_key(TABLE.name, DAY))))
    for column in TABLE.columns:
        assert file.field(column.name).metadata[b"description"].decode() == column.description


@pytest.mark.parametrize("change", ["a new row", "nothing"])
def test_a_partition_with_columns_of_a_newer_version_is_read_and_never_written(our: Account, change: str) -> None:
    our.ctx.tables.commit(TABLE, DAY, adding(row("a")))
    key, file = table_key(TABLE.name, DAY), io.BytesIO()
    newer = pq.read_table(io.BytesIO(our.archive.read(key))).append_column("sentiment", pa.array(["calm"]))
    pq.write_table(newer, file)
    our.archive.write(key, file.getvalue())
    assert our.ctx.tables.rows(TABLE, DAY, ("call_id",)) == [{"call_id": "a"}]
    with pytest.raises(NewerTable, match=r"does not know \(sentiment\).*Nothing was written.*a newer one"):
        our.ctx.tables.commit(TABLE, DAY, adding(*([row("b")] if change == "a new row" else [])))
    assert our.archive.read(key) == file.getvalue()


# Requests.


def test_a_partition_is_read_once_however_often_it_is_replaced_and_read(our: Account) -> None:
    our.ctx.tombstones.pseudonyms()
    our.ctx.tables.moved.keys_of(DAY)
    before = our.ctx.store.requests_made
    with our.ctx.tables.transaction(TABLE, DAY) as table:
        for call_id in "abc":
            assert table.commit(adding(row(call_id))).changed
            assert list(table.rows(("call_id",)))[-1] == {"call_id": call_id}
        assert not table.commit(adding(row("c"))).changed
    assert our.ctx.store.requests_made - before == 1 + 3
    assert stored(our) == ["a", "b", "c"]


# Concurrent runs: the loser reads again and merges.


def test_the_second_of_two_writers_keeps_the_rows_of_the_first(our: Account) -> None:
    ctx, other = our.open(), our.open()
    meanwhile = [row("b"), row("c")]

    def build(present: Partition | None) -> Iterator[pa.RecordBatch]:
        if meanwhile:  # between our reading and our writing
            other.tables.commit(TABLE, DAY, adding(meanwhile.pop()))
        return adding(row("a"))(present)

    written = ctx.tables.commit(TABLE, DAY, build)
    assert stored(our) == ["a", "b", "c"] and written.rows == 3


def test_concurrent_writers_lose_no_rows(our: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare_and_swap, "ATTEMPTS", 50)
    works = [our.open() for _ in range(4)]
    failures: list[BaseException] = []

    def write(number: int) -> None:
        try:
            for turn in range(3):
                works[number].tables.commit(TABLE, DAY, adding(row(f"call_{number}_{turn}")))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert stored(our) == sorted(f"call_{number}_{turn}" for number in range(4) for turn in range(3))


def test_endless_conflicts_end_with_an_error_that_names_the_partition(our: Account) -> None:
    other, count = our.open(), iter(range(1_000))

    def build(present: Partition | None) -> Iterator[pa.RecordBatch]:
        other.tables.commit(TABLE, DAY, adding(row(f"other_{next(count):03}")))
        return adding(row("ours"))(present)

    with pytest.raises(ArchiveUnavailable, match=r"part-0\.parquet was replaced by others 5 times in a row"):
        our.ctx.tables.commit(TABLE, DAY, build)
    assert stored(our) == [f"other_{number:03}" for number in range(5)]


def test_a_build_that_fails_leaves_the_old_partition(our: Account) -> None:
    our.ctx.tables.commit(TABLE, DAY, adding(row("a")))
    before = our.archive.objects("tables/")

    def build(present: Partition | None) -> Iterator[pa.RecordBatch]:
        yield from adding(row("b"))(present)
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        our.ctx.tables.commit(TABLE, DAY, build)
    assert our.archive.objects("tables/") == before


class FailingFile(io.BytesIO):
    """A local file that cannot be used any more once it has an `error`."""

    error: Exception | None = None

    def read(self, size: int | None = -1, /) -> bytes:
        if self.error is not None:
            raise self.error
        return super().read(size)

    def write(self, piece: Any, /) -> int:
        if self.error is not None:
            raise self.error
        return super().write(piece)


FAULTS = [OSError(errno.EIO, "Input/output error"), OSError(errno.ENOSPC, "No space left"), MemoryError()]


@pytest.mark.parametrize("error", FAULTS, ids=repr)
def test_a_fault_of_this_machine_is_not_blamed_on_the_object(
    our: Account, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    our.ctx.tables.commit(TABLE, DAY, adding(row("a")))
    file = FailingFile(our.archive.read(table_key(TABLE.name, DAY)))
    partition = Partition(TABLE, file, VersionToken("1"), "tables/x")
    file.error = error
    with pytest.raises(LocalFault, match="tables/x"):
        list(partition.rows())

    def open_failing(**_: Any) -> FailingFile:
        opened = FailingFile()
        opened.error = error
        return opened

    monkeypatch.setattr("tempfile.TemporaryFile", open_failing)
    for act in (our.ctx.tables.rows, lambda table, day: our.ctx.tables.commit(table, day, adding(row("b")))):
        with pytest.raises(LocalFault, match="tables/transcripts"):
            act(TABLE, DAY)


def test_columns_that_an_older_file_lacks_are_null_and_are_added_by_the_next_commit(our: Account) -> None:
    older = replace(TABLE, columns=TABLE.columns[:-6])
    newer = {"language", "confidence", "fetched_at", "reason", "asked_at", "upstream_word_count"}
    assert {column.name for column in TABLE.columns[-6:]} == newer
    short = {name: value for name, value in row("a").items() if name in older.column_names}
    our.ctx.tables.commit(older, DAY, lambda _: batches_of(older, [short]))
    [read] = our.ctx.tables.rows(TABLE, DAY)
    assert read == row("a") | {"fetched_at": None}
    our.ctx.tables.commit(TABLE, DAY, adding(row("a", language="yo"), row("b")))
    assert pq.read_schema(io.BytesIO(our.archive.read(table_key(TABLE.name, DAY)))).names == list(TABLE.column_names)


def test_row_groups_are_bounded_by_rows_and_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "ROWS_PER_GROUP", 10)
    monkeypatch.setattr(parquet, "ROWS_PER_BATCH", 5)
    file = io.BytesIO()
    assert write_parquet(TABLE, file, batches_of(TABLE, (row(f"{number:03}") for number in range(33)))) == 33
    groups = pq.ParquetFile(file).metadata
    assert [groups.row_group(number).num_rows for number in range(groups.num_row_groups)] == [10, 10, 10, 3]
    # Long texts make a group of fewer rows.
    monkeypatch.setattr(parquet, "BYTES_PER_GROUP", 10_000)
    file = io.BytesIO()
    write_parquet(TABLE, file, batches_of(TABLE, (row(f"{number:03}", text="x" * 3_000) for number in range(33))))
    groups = pq.ParquetFile(file).metadata
    assert max(groups.row_group(number).num_rows for number in range(groups.num_row_groups)) == 5
    assert [found["call_id"] for found in pq.read_table(file).to_pylist()] == [f"{number:03}" for number in range(33)]


def test_batches_hold_every_row_once(our: Account) -> None:
    our.ctx.tables.commit(TABLE, DAY, adding(*(row(f"{number:03}") for number in range(23))))
    with our.ctx.tables.opened(TABLE, DAY) as partition:
        assert partition is not None and partition.row_count == 23
        assert [batch.num_rows for batch in partition.batches(rows_per_batch=10)] == [10, 10, 3]
        assert partition.sha256() == hashlib.sha256(our.archive.read(table_key(TABLE.name, DAY))).hexdigest()
        assert len(list(partition.rows())) == 23


ids = st.integers(0, 60).map(lambda number: f"call_{number:02d}")


@settings(deadline=None)
@given(st.none() | st.sets(ids), st.sets(ids))
def test_merged_batches_give_the_bytes_of_writing_all_rows_anew(there: set[str] | None, new: set[str]) -> None:
    def written(batches: Iterator[pa.RecordBatch]) -> io.BytesIO:
        file = io.BytesIO()
        write_parquet(TABLE, file, batches)
        return file

    def merge(old: dict[str, Any] | None, new: dict[str, Any]) -> dict[str, Any]:
        return new | {"word_count": 1 if old is None else old["word_count"] + 1}

    old_rows = {call_id: row(call_id, word_count=7) for call_id in there or ()}
    new_rows = {call_id: row(call_id, text="another") for call_id in new}
    expected = old_rows | {call_id: merge(old_rows.get(call_id), found) for call_id, found in new_rows.items()}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(parquet, "ROWS_PER_BATCH", 7)
        present = None
        if there is not None:
            old_file = written(batches_of(TABLE, (old_rows[call_id] for call_id in sorted(there))))
            present = Partition(TABLE, old_file, VersionToken("v"))
            # What is not touched is never made into a dict.
            patched.setattr(Partition, "rows", None)
        merged = written(merged_batches(TABLE, present, new_rows, merge))
        anew = written(batches_of(TABLE, (expected[call_id] for call_id in sorted(expected))))
    assert merged.getvalue() == anew.getvalue()


@pytest.mark.parametrize("table", [TABLE, schemas.UTTERANCES], ids=lambda table: table.name)
def test_rows_that_another_program_wrote_in_another_order_are_read_in_the_tables_order(
    our: Account, monkeypatch: pytest.MonkeyPatch, table: schemas.Table
) -> None:
    tables_of_run = our.ctx.tables

    def keep(present: Partition | None) -> Iterator[pa.RecordBatch]:
        assert present is not None
        return present.batches()

    monkeypatch.setattr(row_order, "_ROWS_PER_RUN", 7)
    monkeypatch.setattr(parquet, "ROWS_PER_BATCH", 3)
    values = {
        "call_date": DAY, "created_at": MOMENT, "fetched_at": MOMENT, "status": "kept", "text": "電",
        "speaker": "agent", "word_count": 1, "char_start": 0, "char_end": 1,
    }  # fmt: skip
    turns = range(3) if "turn_index" in table.column_names else [0]
    rows = [
        dict.fromkeys(table.column_names)
        | {name: value for name, value in values.items() if name in table.column_names}
        | {"call_id": f"call_{n:02}"}
        | ({"turn_index": turn} if "turn_index" in table.column_names else {})
        for n in range(20)
        for turn in turns
    ]
    ordered = pa.Table.from_pylist(rows, table.schema)
    shuffled = ordered.take(sorted(range(len(rows)), key=lambda n: hashlib.sha256(bytes([n])).digest()))
    file = io.BytesIO()
    pq.write_table(shuffled, file)
    our.archive.write(table_key(table.name, DAY), file.getvalue())
    with tables_of_run.transaction(table, DAY) as transaction:
        assert transaction.present is not None
        assert pa.Table.from_batches(transaction.present.batches(), table.schema) == ordered
        assert [row["call_id"] for row in transaction.rows(("call_id",))] == [row["call_id"] for row in rows]
        assert transaction.commit(keep).changed  # put in order for every other reader
        assert not transaction.commit(keep).changed
    assert our.archive.table(table.name, DAY) == ordered.to_pylist()


def test_a_batch_is_compared_with_the_new_rows_that_may_be_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "ROWS_PER_BATCH", 5)
    rows = {f"{number:03}": row(f"{number:03}") for number in range(100)}
    file, compared, true = io.BytesIO(), 0, pc.is_in

    def is_in(ids: pa.Array, value_set: pa.Array) -> pa.Array:
        nonlocal compared
        compared += len(value_set)
        return true(ids, value_set)

    monkeypatch.setattr(pc, "is_in", is_in)
    write_parquet(TABLE, file, batches_of(TABLE, rows.values()))
    list(merged_batches(TABLE, Partition(TABLE, file, VersionToken("1")), rows, lambda _, new: new))
    assert compared < len(rows) * 1.2


def test_two_old_rows_of_a_call_become_one_also_where_a_batch_ends_between_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parquet, "ROWS_PER_BATCH", 2)
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([row(call_id) for call_id in "abbbc"], TABLE.schema), file)
    present = Partition(TABLE, file, VersionToken("1"))
    merged = merged_batches(TABLE, present, {"b": row("b", word_count=7)}, lambda _, new: new)
    found = [(row["call_id"], row["word_count"]) for row in pa.Table.from_batches(merged).to_pylist()]
    assert [call_id for call_id, _ in found] == ["a", "b", "c"] and found[1] == ("b", 7)


def test_new_rows_find_their_old_ones_wherever_another_program_wrote_them(our: Account) -> None:
    tables_of_run, file = our.ctx.tables, io.BytesIO()
    pq.write_table(pa.Table.from_pylist([row(call_id, word_count=1) for call_id in "cab"], TABLE.schema), file)
    our.archive.write(table_key(TABLE.name, DAY), file.getvalue())
    new = {call_id: row(call_id) for call_id in "abd"}

    def merge(old: dict[str, Any] | None, added: dict[str, Any]) -> dict[str, Any]:
        return added | {"word_count": old["word_count"] + 1 if old is not None else 0}

    tables_of_run.commit(TABLE, DAY, lambda present: merged_batches(TABLE, present, new, merge))
    found = [(row["call_id"], row["word_count"]) for row in our.archive.table(TABLE.name, DAY)]
    assert found == [("a", 2), ("b", 2), ("c", 1), ("d", 0)]


def test_rows_have_the_values_that_arrow_gives_times_and_dates_too() -> None:
    moments = [MOMENT, None, datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)]
    dates = [DAY, date(1969, 12, 31), date(9999, 12, 31), date(1, 1, 1)]
    rows = [
        row(f"call_{number}", fetched_at=moment or MOMENT, word_count=None if number else 3, call_date=day)
        for number, (moment, day) in enumerate(zip(moments, dates, strict=True))
    ]
    batch = pa.RecordBatch.from_pylist(rows, TABLE.schema)
    file = io.BytesIO()
    write_parquet(TABLE, file, [batch])
    assert list(Partition(TABLE, file, VersionToken("v")).rows()) == batch.to_pylist() == rows
    calls = schemas.CALLS
    answered = pa.RecordBatch.from_pylist(
        [dict.fromkeys(calls.column_names) | {"answered_at": moment} for moment in moments],
        pa.schema([field.with_nullable(True) for field in calls.schema]),
    )
    assert plain_values(answered.column("answered_at")) == moments
