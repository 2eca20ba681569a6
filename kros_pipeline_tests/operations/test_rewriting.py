"""Files of an older version get the present columns: nothing else changes, and the day stays checked."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pyarrow.parquet as pq
import pytest

from kros_pipeline.archive.parquet import Partition
from kros_pipeline.archive.tables import PartitionTransaction, WriteResult
from kros_pipeline.core.object_keys import table_key, table_versions_key
from kros_pipeline.core.schemas import TABLES
from kros_pipeline.operations.erasure_request import ErasureRequest
from kros_pipeline.operations.rewriting import Rewriting, days_of_tables, rewrite_days
from kros_pipeline_tests.support.accounts import DAY, PLAIN, WITHIN_GRACE, Account, MakeAccount
from kros_pipeline_tests.support.reader_archive import NEWER_COLUMNS, without_newer_columns
from kros_pipeline_tests.support.steps import check_health, erase_calls, find_backlog

RECORD = table_versions_key(DAY)


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def our(memory_account: MakeAccount) -> Account:
    """An account whose settled day was written and checked by an older version."""
    our = memory_account(KROS_TRANSCRIPT_DETAILS="always")
    assert our.run_day().verdict.verdict == "complete"
    make_old(our)
    return our


def make_old(our: Account) -> None:
    """Writes the tables as the older version did, and records them as compared."""
    record = our.archive.json(RECORD)
    for name in NEWER_COLUMNS:
        our.archive.write(table_key(name, DAY), without_newer_columns(our.archive.read(table_key(name, DAY)), name))
    record["versions"] = {name: our.archive.objects()[table_key(name, DAY)][0] for name in TABLES}
    our.archive.write(RECORD, json.dumps(record).encode())
    assert is_checked(our)


def is_checked(our: Account) -> bool:
    return find_backlog(our.ctx, DAY, DAY) == [] and check_health(our.ctx, DAY, DAY).days == []


def run(our: Account, *, dry_run: bool = False, days: tuple[date, ...] = (DAY,)) -> Rewriting:
    ctx = our.ctx
    return rewrite_days(days, store=ctx.store, tables=ctx.tables, roles=ctx.settings.speaker_roles, dry_run=dry_run)


def columns(our: Account, name: str) -> list[str]:
    names: list[str] = pq.read_schema(io.BytesIO(our.archive.read(table_key(name, DAY)))).names
    return names


def old_rows(our: Account) -> dict[str, Any]:
    """The rows by table, without newer columns, and without what is counted anew."""
    left_out = {"word_count"}
    return {
        name: [
            {key: value for key, value in row.items() if key not in (*NEWER_COLUMNS.get(name, ()), *left_out)}
            for row in our.archive.table(name, DAY)
        ]
        for name in TABLES
    }


def test_a_dry_run_says_what_lacks_which_columns_and_changes_nothing(our: Account) -> None:
    before = our.archive.objects()
    result = run(our, dry_run=True)
    assert result.columns == {name: set(names) for name, names in NEWER_COLUMNS.items()}
    assert (result.days, result.changed_days, result.problems) == (1, [DAY], [])
    assert our.archive.objects() == before


def test_old_files_get_all_columns_their_rows_stay_and_the_day_stays_checked(our: Account) -> None:
    before, rows = our.archive.objects(), old_rows(our)
    requests = our.requests().copy()
    assert run(our).files == dict.fromkeys(NEWER_COLUMNS, 1)
    for name, table in TABLES.items():
        assert columns(our, name) == list(table.column_names), name
    assert old_rows(our) == rows
    changed = {key for key, value in our.archive.objects().items() if before[key] != value}
    assert changed == {table_key(name, DAY) for name in NEWER_COLUMNS} | {RECORD}
    assert our.requests() == requests
    assert is_checked(our)
    assert our.archive.json(RECORD)["rewriting"] == {}


def test_a_rewritten_file_has_the_bytes_that_the_present_version_writes(our: Account) -> None:
    run(our)
    before = our.archive.objects("tables/utterances/")
    our.run_day()
    assert our.archive.objects("tables/utterances/") == before


def test_a_second_run_touches_nothing(our: Account) -> None:
    run(our)
    before = our.archive.objects()
    assert run(our).files == {}
    assert our.archive.objects() == before


def test_words_are_counted_anew_and_a_count_that_differs_was_upstreams(our: Account) -> None:
    def as_upstream(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [row | {"word_count": row["word_count"] + (7 if number == 0 else 0)} for number, row in enumerate(rows)]

    counts = [row["word_count"] for row in our.archive.table("transcripts", DAY)]
    our.archive.rewrite("transcripts", DAY, as_upstream)
    run(our)
    after = our.archive.table("transcripts", DAY)
    assert [row["word_count"] for row in after] == counts
    assert [row["upstream_word_count"] for row in after] == [counts[0] + 7, *[None] * (len(counts) - 1)]


def test_the_next_run_of_the_day_counts_anew_too_and_the_sum_over_the_turns_is_the_count(our: Account) -> None:
    our.archive.rewrite("transcripts", DAY, lambda rows: [row | {"word_count": 1_000} for row in rows])
    our.run_day()
    words: dict[str, int] = {}
    for turn in our.archive.table("utterances", DAY):
        words[turn["call_id"]] = words.get(turn["call_id"], 0) + turn["word_count"]
    kept = {row["call_id"]: row for row in our.archive.table("transcripts", DAY) if row["status"] == "kept"}
    assert {call_id: row["word_count"] for call_id, row in kept.items()} == words
    assert {row["upstream_word_count"] for row in kept.values()} == {1_000}


def test_upstreams_count_has_a_column_of_its_own(memory_account: MakeAccount) -> None:
    our = memory_account(KROS_TRANSCRIPT_DETAILS="always", now=WITHIN_GRACE)
    our.run_day()
    kept = [row for row in our.archive.table("transcripts", DAY) if row["status"] == "kept"]
    assert kept and all(row["upstream_word_count"] == len(row["text"].split()) for row in kept)  # it counts labels
    assert all(row["word_count"] < row["upstream_word_count"] for row in kept)


def test_a_day_whose_table_somebody_replaced_stays_replaced(our: Account) -> None:
    our.archive.rewrite("utterances", DAY, lambda rows: rows[1:])
    assert not is_checked(our)
    run(our)
    assert columns(our, "utterances") == list(TABLES["utterances"].column_names)
    assert check_health(our.ctx, DAY, DAY).days == [f"{DAY}: replaced since its check: the table `utterances`."]


@pytest.mark.parametrize("killed_at", ["before the PUT", "after the PUT"])
@pytest.mark.parametrize("table", sorted(NEWER_COLUMNS))
def test_a_killed_run_is_continued_by_the_next(
    our: Account, table: str, killed_at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = our.ctx.store.put

    def die(key: str, *args: Any, **options: Any) -> Any:
        if key == table_key(table, DAY) and killed_at == "before the PUT":
            raise Killed
        result = put(key, *args, **options)
        if key == table_key(table, DAY):
            raise Killed
        return result

    monkeypatch.setattr(our.ctx.store, "put", die)
    with pytest.raises(Killed):
        run(our)
    monkeypatch.undo()
    run(our)
    assert all(columns(our, name) == list(TABLES[name].column_names) for name in TABLES)
    assert is_checked(our)


def test_what_another_writer_puts_meanwhile_is_kept_and_not_taken_for_checked(
    our: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = PartitionTransaction._write  # noqa: SLF001
    times: list[int] = []

    def interrupted(self: Any, build: Callable[[Partition | None], Any], *args: Any) -> WriteResult:
        if "utterances" in self._key and not times:
            times.append(1)
            our.archive.rewrite("utterances", DAY, lambda rows: rows[:-1])
        return write(self, build, *args)

    rows = our.archive.table("utterances", DAY)
    monkeypatch.setattr(PartitionTransaction, "_write", interrupted)
    run(our)
    assert len(our.archive.table("utterances", DAY)) == len(rows) - 1
    assert check_health(our.ctx, DAY, DAY).days == [f"{DAY}: replaced since its check: the table `utterances`."]


def test_no_row_of_an_erased_call_comes_back_and_the_day_is_checked_again(our: Account) -> None:
    call_id = our.archive.table("calls", DAY)[0]["call_id"]
    old = {name: our.archive.read(table_key(name, DAY)) for name in NEWER_COLUMNS}
    erase_calls(our.open(KROS_ERASURE_KEY="a key of the tests, long enough for them"), ErasureRequest(
        call_ids=(call_id,), phone_number="", reason="asked for", delete_upstream=False
    ))  # fmt: skip
    our.archive.write(table_key("utterances", DAY), old["utterances"])  # somebody restores a backup
    ctx = our.open(KROS_ERASURE_KEY="a key of the tests, long enough for them")
    rewrite_days([DAY], store=ctx.store, tables=ctx.tables, roles=ctx.settings.speaker_roles, dry_run=False)
    assert call_id not in {row["call_id"] for row in our.archive.table("utterances", DAY)}
    assert find_backlog(ctx, DAY, DAY) == [DAY]


def test_an_unreadable_file_is_reported_and_the_others_are_rewritten(our: Account) -> None:
    our.archive.write(table_key("recordings", DAY), b"no parquet")
    result = run(our)
    [problem] = result.problems
    assert problem.startswith(f"recordings of {DAY}: tables/recordings/dt={DAY}/part-0.parquet cannot be read")
    assert result.files == dict.fromkeys(set(NEWER_COLUMNS) - {"recordings"}, 1)


def test_a_file_of_a_newer_version_is_left_alone(our: Account) -> None:
    table = pq.read_table(io.BytesIO(our.archive.read(table_key("recordings", DAY))))
    file = io.BytesIO()
    pq.write_table(table.append_column("from_the_future", [["?"] * table.num_rows]), file)
    our.archive.write(table_key("recordings", DAY), file.getvalue())
    [problem] = run(our).problems
    assert "from_the_future" in problem
    assert our.archive.read(table_key("recordings", DAY)) == file.getvalue()


def test_empty_days_are_rewritten_and_every_archived_day_is_found(memory_account: MakeAccount) -> None:
    our = memory_account(replace(PLAIN, days={f"{DAY + timedelta(days=1)}": 1}))
    assert our.run_day().verdict.verdict == "complete"
    make_old(our)
    assert days_of_tables(our.ctx.store) == [DAY]
    assert run(our).files == dict.fromkeys(NEWER_COLUMNS, 1)
    assert is_checked(our)
