"""Calls whose `created_at` moves over midnight upstream, and calls that the list of another day shows."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pyarrow.parquet as pq
import pytest

from kros_pipeline.archive.listings import read_listing
from kros_pipeline.archive.object_store import VersionToken
from kros_pipeline.archive.parquet import batches_of
from kros_pipeline.archive.unparsed_rows import UnparsedRows
from kros_pipeline.core import schemas
from kros_pipeline.core.errors import TooManyRequests
from kros_pipeline.core.id_digests import digest_id, unpack_digests
from kros_pipeline.core.object_keys import table_key
from kros_pipeline.core.verdict import CALLS_CHECK
from kros_pipeline.sandbox import SandboxConfig
from kros_pipeline_tests.support.accounts import DAY, Account, MakeAccount
from kros_pipeline_tests.support.steps import find_backlog, gather_totals, list_calls, reconcile_day

BEFORE, AFTER = DAY - timedelta(days=1), DAY + timedelta(days=1)
_seeds = itertools.count(9_000)


@pytest.fixture
def our(memory_account: MakeAccount) -> Account:
    """Three days of four calls, in a world of its own."""
    days = {"2025-01-09": 4, "2025-01-10": 4, "2025-01-11": 4}
    return memory_account(
        SandboxConfig(seed=next(_seeds), days=days, variety=False, audio_seconds=(12, 14)), fresh=True
    )


def ids(our: Account, day: date) -> set[str]:
    return set(our.archive.by_call("calls", day))


def verdicts(our: Account, *days: date) -> list[str]:
    return [our.archive.table("reconciliation", day)[0]["verdict"] for day in days]


def audio(our: Account, call_id: str) -> list[str]:
    return [key for key in our.archive.objects("audio/") if call_id in key]


@pytest.mark.parametrize(("hour", "seconds"), [(1, -2 * 3_600), (23, 2 * 3_600)])
def test_a_call_keeps_its_day_whatever_its_time(our: Account, hour: int, seconds: int) -> None:
    call_id = our.krosai.add_call(f"2025-01-10T{hour:02d}:00:00Z")
    for day in (BEFORE, DAY, AFTER):
        our.run_day(day)
    our.krosai.move_call(call_id, seconds)
    for day in (BEFORE, DAY, AFTER, DAY):
        our.run_day(day)
    assert [call_id in ids(our, day) for day in (BEFORE, DAY, AFTER)] == [False, True, False]
    assert len(audio(our, call_id)) == 1
    row = our.archive.by_call("calls", DAY)[call_id]
    assert row["created_at"].date() != DAY and row["call_date"] == DAY
    assert verdicts(our, BEFORE, DAY, AFTER) == ["complete"] * 3
    assert {row["created_at"].date() for row in our.archive.table("utterances", DAY) if row["call_id"] == call_id} == {
        row["created_at"].date()
    }


def test_a_call_that_another_days_list_shows_is_added_there_and_the_day_is_owed(our: Account) -> None:
    for day in (BEFORE, DAY):
        our.run_day(day)
    late = our.krosai.add_call("2025-01-09T23:59:30Z")  # within the minute that the listing of the next day overlaps
    list_calls(our.open(), DAY)
    assert late in ids(our, BEFORE) and late not in ids(our, DAY)
    [row] = our.archive.table("reconciliation", BEFORE)
    assert row["verdict"] == "waiting" and "2025-01-10 showed calls that 2025-01-09 keeps" in row["problems"][-1]
    our.run_day(BEFORE)
    assert verdicts(our, BEFORE) == ["complete"] and len(audio(our, late)) == 1
    before = our.archive.objects("tables/")
    list_calls(our.open(), DAY)
    assert our.archive.objects("tables/") == before  # reported once


def show_late_call(our: Account) -> None:
    """Run the step `calls` of a day whose list shows a new call of the day before."""
    our.krosai.add_call("2025-01-09T23:59:30Z")
    list_calls(our.open(), DAY)


def damage_row(our: Account) -> None:
    """Make the day before incomplete, by a recording that vanishes and comes back."""
    key = min(our.archive.objects(f"audio/dt={BEFORE}/"))
    body = our.archive.read(key)
    our.archive.delete(key)
    reconcile_day(our.open(), BEFORE)
    our.archive.write(key, body)
    assert verdicts(our, BEFORE) == ["incomplete"]


def delete_row(our: Account) -> None:
    our.archive.delete(table_key("reconciliation", BEFORE))


@pytest.mark.parametrize("prepare", [show_late_call, damage_row, delete_row])
def test_a_call_that_comes_while_its_day_is_reconciled_is_not_missed(
    our: Account, prepare: Callable[[Account], None]
) -> None:
    """The day has the mark already, is incomplete, or has no row: the mark changes nothing that a reader sees."""
    for day in (BEFORE, DAY):
        our.run_day(day)
    prepare(our)
    ctx, left = our.open(), [True]
    put = ctx.store.put

    def put_late(key: str, *arguments: Any, **named: Any) -> VersionToken:
        if left and key.startswith("tables/reconciliation/"):
            left.clear()
            show_late_call(our)
        return put(key, *arguments, **named)

    ctx.store.put = put_late  # type: ignore[method-assign]
    our.ctx = ctx
    result = our.run_day(BEFORE)
    assert not left and result.verdict.verdict == "incomplete"
    assert "1 × call without a row in `recordings`" in result.verdict.problems[0]


def test_a_marked_day_without_a_row_counts_as_never_reconciled(our: Account) -> None:
    list_calls(our.open(), BEFORE)
    show_late_call(our)
    assert our.archive.table("reconciliation", BEFORE) == []
    assert find_backlog(our.open(), BEFORE, BEFORE) == [BEFORE]
    totals = gather_totals(our.open(), BEFORE, BEFORE)
    assert (totals.days_missing, totals.days_incomplete, totals.days_owed) == (1, 0, 1)


def test_a_call_of_a_day_that_was_never_listed_is_left_to_that_day(our: Account) -> None:
    our.krosai.add_call("2025-01-09T23:59:30Z")
    our.run_day(DAY)
    assert not our.archive.objects("tables/calls/dt=2025-01-09/")


def test_a_call_before_the_first_partition_is_left_out(our: Account) -> None:
    our.run_day(BEFORE)
    our.krosai.add_call("2025-01-09T23:59:30Z")
    before = our.archive.objects("tables/calls/dt=2025-01-09/")
    list_calls(our.open(), DAY, first_day=DAY)
    assert our.archive.objects("tables/calls/dt=2025-01-09/") == before


def damage_column(our: Account, day: date, column: str) -> None:
    """Overwrite the pages of one column of a day's table `calls`; all others can be read."""
    key = table_key("calls", day)
    body = bytearray(our.archive.read(key))
    group = pq.ParquetFile(io.BytesIO(body)).metadata.row_group(0)
    [chunk] = [group.column(n) for n in range(group.num_columns) if group.column(n).path_in_schema == column]
    begin = min(filter(None, (chunk.dictionary_page_offset, chunk.data_page_offset)))
    body[begin : begin + chunk.total_compressed_size] = bytes(chunk.total_compressed_size)
    our.archive.write(key, bytes(body))


def test_a_neighbour_of_which_only_the_ids_can_be_read_stops_no_other_day(our: Account) -> None:
    for day in (BEFORE, DAY):
        our.run_day(day)
    late = [our.krosai.add_call(f"2025-01-{day}T23:59:58Z") for day in ("09", "10")]
    damage_column(our, BEFORE, "extra")
    report, listing = list_calls(our.ctx, DAY)
    assert listing.proved and late[1] in ids(our, DAY)
    assert report.counts["added_to_other_days"] == 0
    assert [sentence for sentence in listing.oddities if table_key("calls", BEFORE) in sentence]
    assert verdicts(our, BEFORE) == ["incomplete"]


def copy_row(our: Account, call_id: str, source: date, target: date) -> None:
    """Put a call's rows and audio into a second day, as a run that met a moved call beside another run did."""
    tables = our.ctx.tables
    for table in schemas.TABLES.values():
        if "call_id" not in table.column_names:
            continue
        rows: list[dict[str, Any]] = tables.rows(table, target)
        rows += [row | {"call_date": target} for row in tables.rows(table, source) if row["call_id"] == call_id]
        if table is schemas.RECORDINGS:
            for row in rows:
                row["object_key"] = row["object_key"].replace(source.isoformat(), target.isoformat())
        ordered = sorted(rows, key=table.sort_key())
        tables.commit(table, target, lambda _, table=table, rows=ordered: batches_of(table, rows))  # type: ignore[misc]
    [key] = audio(our, call_id)
    our.archive.write(key.replace(source.isoformat(), target.isoformat()), our.archive.read(key))


def test_of_two_days_that_have_a_call_the_later_ones_next_run_removes_it(our: Account) -> None:
    call_id = our.krosai.add_call("2025-01-09T23:00:00Z")
    our.run_day(BEFORE)
    our.run_day(DAY)
    copy_row(our, call_id, BEFORE, DAY)
    our.run_day(DAY)
    for table in ("calls", "recordings", "transcripts", "utterances"):
        assert call_id not in our.archive.by_call(table, DAY)
        assert call_id in our.archive.by_call(table, BEFORE)
    assert verdicts(our, BEFORE, DAY) == ["complete"] * 2
    lines = [
        json.loads(line)
        for key in our.archive.objects(f"audit/dt={DAY}/")
        for line in our.archive.read(key).splitlines()
    ]
    assert [line["kept_by"] for line in lines if line["event"] == "moved"] == [str(BEFORE)]
    listing = read_listing(our.ctx.store, DAY)
    assert listing is not None and listing.call_digests is not None
    assert digest_id(call_id) not in unpack_digests(listing.call_digests)


def test_the_earlier_days_run_makes_the_later_day_owed(our: Account) -> None:
    call_id = our.krosai.add_call("2025-01-09T23:00:00Z")
    our.run_day(BEFORE)
    our.run_day(DAY)
    copy_row(our, call_id, BEFORE, DAY)
    our.run_day(BEFORE)
    assert verdicts(our, BEFORE, DAY) == ["complete", "waiting"]


def test_the_listing_names_every_call_that_was_ever_listed(our: Account) -> None:
    our.run_day(DAY)
    before = ids(our, DAY)
    for call_id in before:
        our.krosai.remove_call(call_id)
    our.krosai.add_calls(str(DAY), 2)
    our.run_day(DAY)
    listing = read_listing(our.ctx.store, DAY)
    assert listing is not None and listing.call_digests is not None
    assert unpack_digests(listing.call_digests) == set(map(digest_id, before | ids(our, DAY)))
    assert replace(listing, call_digests=None).listed_total == 2


def test_an_erased_call_is_not_kept_as_a_row_whose_id_is_a_number(memory_account: MakeAccount) -> None:
    our = memory_account(KROS_ERASURE_KEY="k" * 32)
    our.ctx.tombstones.claim_key()
    our.ctx.tombstones.add_call(DAY, "123")
    for raw, kept in (('{"id":123,"from_number":"+2348012345678"}', 0), ('{"id":124}', 1), ('{"id":true}', 2)):
        UnparsedRows(our.ctx.store, our.ctx.tombstones, None).keep(DAY, raw)  # no simulator sends such ids
        assert len(our.archive.objects("state/unparsed/")) == kept


@pytest.mark.parametrize("day", [BEFORE, DAY], ids=["in its day", "in its neighbour's"])
def test_a_call_of_a_stopped_number_that_another_day_keeps_stays(our: Account, day: date) -> None:
    call_id = our.krosai.add_call("2025-01-10T00:00:20Z")
    our.run_day(DAY)
    row = our.archive.by_call("calls", DAY)[call_id]
    our.krosai.move_call(call_id, -40)
    ctx = our.open(KROS_ERASURE_KEY="k" * 32)
    ctx.tombstones.claim_key()
    ctx.tombstones.stop_number(ctx.tombstones.pseudonym(row["from_number"]))
    _, listing = list_calls(ctx, day)
    assert any("calls of a number that was erased are in the archive" in oddity for oddity in listing.oddities)
    assert not ctx.tombstones.is_erased(call_id)
    assert call_id in ids(our, DAY)


def test_a_call_that_an_earlier_day_has_lost_needs_a_person_though_the_quota_ended_the_reading(our: Account) -> None:
    our.run_day(DAY)
    our.ctx.tables.moved.add(DAY, min(ids(our, DAY)), BEFORE)
    ctx = our.open(KROSAI_REQUESTS_PER_RUN="3")
    report, listing = list_calls(ctx, DAY)
    assert isinstance(report.error, TooManyRequests)
    assert not listing.out_of_requests
    sentences = reconcile_day(our.open(), DAY).verdict.failures[CALLS_CHECK]
    assert any("an earlier day that was to keep them has lost them" in sentence for sentence in sentences)
