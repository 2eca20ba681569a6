"""An erasure reads of an archive of years only what it needs, and says what its proof has read."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator
from datetime import date

import pyarrow as pa
import pytest

from kros_pipeline.archive.governance import ObjectVersion
from kros_pipeline.archive.json_objects import create_json, replace_json
from kros_pipeline.archive.object_store import CREATE
from kros_pipeline.archive.parquet import Partition, batches_of
from kros_pipeline.core import schemas
from kros_pipeline.core.id_digests import digest_id, pack_digests
from kros_pipeline.core.object_keys import (
    ERASURES_UNDER_WAY,
    LATEST_LOOK,
    LISTINGS,
    audio_prefix,
    day_totals_key,
    decision_key,
    listing_key,
    moved_key,
    table_key,
    unparsed_key,
    usage_key,
)
from kros_pipeline.operations.erasure import ErasureUnfinished
from kros_pipeline.operations.erasure_proof import NOT_SEARCHED
from kros_pipeline.operations.erasure_request import ErasureRefused, ErasureRequest, ErasureResult
from kros_pipeline.steps.run_context import RunContext
from kros_pipeline_tests.support.steps import erase_calls
from kros_pipeline_tests.support.years_run import open_years_run
from kros_pipeline_tests.support.years_store import YearsStore

CALLS = 60


def make_archive(days: int, calls: int = CALLS) -> YearsStore:
    return YearsStore(days, calls, flagged_every=20)


def some_calls(store: YearsStore, count: int, of_days: int) -> tuple[str, ...]:
    """Calls of days that are evenly spread over the newest `of_days` days."""
    days = store.days[-of_days :: of_days // count][:count]
    return tuple(store.generated.ids(day)[number] for number, day in enumerate(days))


def erase(store: YearsStore, *call_ids: str, full_search: bool = False, dry_run: bool = False) -> ErasureResult:
    request = ErasureRequest(call_ids, reason="request 1", full_search=full_search)
    return erase_calls(open_years_run(store), request, dry_run=dry_run)


# What it costs.


def test_a_further_day_costs_nine_requests_whatever_it_holds() -> None:
    """Two ranges of its table `calls` before and after, its row, and its listing before and after."""
    costs: dict[tuple[int, int], tuple[int, int]] = {}
    listed_audio = set()
    for days, calls in ((40, CALLS), (90, CALLS), (90, 300)):
        store = make_archive(days, calls)
        found = erase(store, *some_calls(store, 10, of_days=30))
        assert (found.calls, len(found.days), found.residue) == (10, 10, [])
        costs[days, calls] = store.requests_made, store.bytes_read
        listed_audio.add(store.requests["list", "audio"])
    (small, small_bytes), (large, large_bytes) = costs[40, CALLS], costs[90, CALLS]
    assert large - small <= 9 * 50, store.requests
    assert large_bytes - small_bytes <= 50 * 250_000
    assert abs(costs[90, 300][0] - large) <= 5 * 30, "a large table is read in two ranges, and a small one whole"
    assert len(listed_audio) == 1, "audio of other days is not listed"


def test_hourly_versions_of_objects_with_numbers_cost_nothing() -> None:
    costs = []
    for versions in (1, 101):
        store = make_archive(5)
        for number in range(versions):
            for key in (LATEST_LOOK, day_totals_key(2025), usage_key(store.days[0])):
                replace_json(store, key, {"number": number})
        erase(store, *some_calls(store, 1, of_days=5))
        costs.append(store.requests_made)
    assert costs[0] == costs[1]


def test_an_erasure_by_number_reads_the_columns_of_numbers_only() -> None:
    store = make_archive(60)
    day = store.days[40]
    number = store.generated.caller(day, 7)
    found = erase_calls(open_years_run(store), ErasureRequest(phone_number=number, reason="request 2"))
    assert (found.calls, found.days, found.residue) == (1, [day], [])
    assert store.requests_made <= 60 * 13 + 300, store.requests
    assert store.generated.ids(day)[7] not in str(rows_of(open_years_run(store), day))


def rows_of(ctx: RunContext, day: date) -> list[str]:
    return [row["call_id"] for row in ctx.tables.rows(schemas.CALLS, day, ("call_id",))]


# What the proof covers, and says.


def put(store: YearsStore, key: str, body: bytes) -> None:
    store.put(key, body, sha256=hashlib.sha256(body).hexdigest(), mode=CREATE)


def replace_problems(store: YearsStore, day: date, problem: str) -> None:
    def build(present: Partition | None) -> Iterator[pa.RecordBatch]:
        assert present is not None
        rows = [row | {"problems": [problem]} for row in present.rows()]
        return batches_of(schemas.RECONCILIATION, rows)

    open_years_run(store).tables.commit(schemas.RECONCILIATION, day, build)


def add_listing(store: YearsStore, day: date, call_id: str) -> None:
    named = {"proved": True, "listed_total": 1, "call_digests": pack_digests([digest_id(call_id)])}
    replace_json(store, listing_key(day), named)


def add_listing_and_copy(store: YearsStore, day: date, call_id: str) -> None:
    add_listing(store, day, call_id)
    put(store, f"{LISTINGS}older/dt={day}.json", b"{}")  # its key names the day, too


def add_row(store: YearsStore, day: date, call_id: str) -> None:
    def build(present: Partition | None) -> Iterator[pa.RecordBatch]:
        assert present is not None
        rows = list(present.rows())
        rows.append(rows[0] | {"call_id": call_id})
        return batches_of(schemas.CALLS, sorted(rows, key=schemas.CALLS.sort_key()))

    open_years_run(store).tables.commit(schemas.CALLS, day, build)


Plant = Callable[[YearsStore, date, str], object]


@pytest.mark.parametrize(
    "plant",
    [
        add_row,
        add_listing,
        lambda store, day, call_id: create_json(store, moved_key(day, call_id), {"home": "2025-01-01"}),
        lambda store, day, call_id: put(store, unparsed_key(day, "0" * 64), json.dumps({"id": call_id}).encode()),
        lambda store, _, call_id: put(store, decision_key("0a" * 16), json.dumps({"call_id": call_id}).encode()),
        add_listing_and_copy,
    ],
    ids=["its row", "a listing", "a marker", "an unparsed row", "a claim without an intent", "a listing with a copy"],
)
def test_what_another_day_has_of_the_call_is_found_and_erased(plant: Plant) -> None:
    store = make_archive(20)
    far, (call_id,) = store.days[3], some_calls(store, 1, of_days=5)
    plant(store, far, call_id)
    found = erase(store, call_id)
    assert found.residue == [] and erase(store, call_id, full_search=True).residue == []


@pytest.mark.parametrize(
    ("plant", "named"),
    [
        (lambda store, day, call_id: replace_problems(store, day, f"see {call_id}"), "tables/reconciliation/"),
        (lambda store, _, call_id: put(store, f"set-aside/{call_id}.mp3", b"x"), "set-aside/"),
        (lambda store, _, call_id: put(store, f"audio/{call_id}.copy.mp3", b"x"), "audio/"),
        (lambda store, day, call_id: put(store, f"audio/dt={day}.old/{call_id}.mp3", b"x"), "audio/"),
        (lambda store, _, call_id: put(store, f"audio/dt=2024-12-99/{call_id}.mp3", b"x"), "audio/"),
        (lambda store, day, call_id: put(store, f"state/held/dt={day}.json.old", call_id.encode()), "state/held/"),
        (lambda store, _, call_id: put(store, f"new/dt={store.days[16]}/{call_id}.bin", b"x"), "new/"),
        (
            lambda store, _, call_id: put(store, f"tables/new/dt={store.days[15]}/x.json", call_id.encode()),
            "tables/new",
        ),
        (lambda store, _, call_id: put(store, "state/new/x.json", json.dumps([call_id]).encode()), "state/new/"),
    ],
    ids=[
        "a problem",
        "a copy aside",
        "a copy among the days",
        "a copy of a day",
        "a day that is none",
        "a copy of an object of a day",
        "a copy beside",
        "an unknown table",
        "an unknown object",
    ],
)
def test_what_no_step_writes_is_found_and_named(plant: Plant, named: str) -> None:
    store = make_archive(20)
    (call_id,) = some_calls(store, 1, of_days=5)
    plant(store, store.days[3], call_id)
    with pytest.raises(ErasureUnfinished, match=f"1 objects still hold something: {named}"):
        erase(store, call_id)


def test_a_copy_in_a_folder_that_is_not_read_is_found_by_the_full_search_and_the_result_says_so() -> None:
    store = make_archive(20)
    (call_id,) = some_calls(store, 1, of_days=5)
    for folder in (audio_prefix(store.days[3]), "state/quota/", "state/erased_rows/", "state/erased_numbers/"):
        put(store, f"{folder}{call_id}.mp3", call_id.encode())
    found = erase(store, call_id)
    assert "pseudonyms of numbers and rows, quotas" in found.searched[2] and "quotas" in NOT_SEARCHED
    day = store.days[15]
    beside = f"({store.days[14]}, {day}, {store.days[16]})"
    assert NOT_SEARCHED in found.not_reached and found.searched[0].endswith(f"of those beside them {beside}")
    with pytest.raises(ErasureUnfinished, match="4 objects still hold something: "):
        erase(store, call_id, full_search=True)
    planned = erase(store, call_id, full_search=True, dry_run=True)
    (searched,) = planned.searched
    assert searched.startswith("every version of every object of the archive, but for the contents of recordings")
    assert NOT_SEARCHED not in planned.not_reached


def test_what_is_not_the_archives_own_is_read_by_the_full_search_and_named_by_the_others() -> None:
    store = make_archive(20)
    (call_id,) = some_calls(store, 1, of_days=5)
    put(store, "export/calls.csv", f"id,from\n{call_id},+4915112345678\n".encode())
    put(store, "notes.txt", b"nothing")
    found = erase(store, call_id)
    (named,) = [part for part in found.not_reached if "did not write" in part]
    assert "(export/, notes.txt)" in named and "only the keys" in named
    with pytest.raises(ErasureUnfinished, match=r"1 objects still hold something: export/calls\.csv"):
        erase(store, call_id, full_search=True)
    store.delete(list(store.versions("export/")))
    assert not any("did not write" in part for part in erase(store, call_id, full_search=True).not_reached)


def test_a_claim_that_cannot_be_read_and_names_the_call_is_named() -> None:
    store = make_archive(5)
    (call_id,) = some_calls(store, 1, of_days=5)
    put(store, decision_key("0a" * 16), f"copy of {call_id}".encode())
    put(store, decision_key("0b" * 16), json.dumps([call_id]).encode())
    with pytest.raises(ErasureUnfinished, match="2 objects still hold something: state/decisions/"):
        erase(store, call_id)


@pytest.mark.parametrize("folder", ["audio", "tables/utterances", "quarantine", "reviews"])
def test_a_day_of_which_only_an_old_version_is_left_is_searched_whole(folder: str) -> None:
    store = make_archive(20)
    hidden, (call_id,) = date(2020, 2, 29), some_calls(store, 1, of_days=5)
    key = f"{folder}/dt={hidden}/{call_id}.json"
    put(store, key, json.dumps([call_id]).encode())
    store.hide(key)
    with pytest.raises(ErasureUnfinished, match=rf"objects still hold something: {key}.*Restore a day's table calls"):
        erase(store, call_id)


def test_a_request_that_finds_nothing_names_the_days_without_a_table_of_their_calls() -> None:
    store = make_archive(20)
    hidden, call_id = store.days[3], store.generated.ids(store.days[3])[0]
    store.hide(table_key("calls", hidden))
    store.delete(list(store.versions(listing_key(hidden))))
    number = store.generated.caller(hidden, 0)
    for request in (
        ErasureRequest((call_id,), reason="request 1"),
        ErasureRequest(phone_number=number, reason="request 1"),
    ):
        with pytest.raises(ErasureRefused, match=rf"no table calls to look in: {hidden}\. If .* delete marker"):
            erase_calls(open_years_run(store), request)


def test_a_day_without_a_table_of_its_calls_is_searched_whole() -> None:
    """Without table and listing nothing says whose the rest of the day is."""
    store = make_archive(20)
    far, (call_id,) = store.days[3], some_calls(store, 1, of_days=5)
    put(store, f"{audio_prefix(far)}{call_id}.mp3", b"x")
    for key in (table_key("calls", far), listing_key(far)):
        store.delete(list(store.versions(key)))
    with pytest.raises(ErasureUnfinished, match=f"1 objects still hold something: audio/dt={far}/"):
        erase(store, call_id)


# The full search.


class _Killed(BaseException):
    pass


@pytest.mark.parametrize("asks_again", [False, True])
def test_a_full_search_that_is_killed_goes_on_where_it_was(
    monkeypatch: pytest.MonkeyPatch, *, asks_again: bool
) -> None:
    store = make_archive(35)
    (call_id,) = some_calls(store, 1, of_days=5)
    true, numbers = YearsStore.versions, itertools.count(1)
    listings, killed_at = list[str](), list[str]()

    def count(this: YearsStore, prefix: str) -> Iterator[ObjectVersion]:
        if prefix.endswith(("-11", "-12", "-01")):  # a month
            listings.append(prefix)
            if next(numbers) == 12:
                killed_at.append(prefix)
                raise _Killed
        yield from true(this, prefix)

    monkeypatch.setattr(YearsStore, "versions", count)
    with pytest.raises(_Killed):
        erase(store, call_id, full_search=True)
    (key,) = [entry.key for entry in store.list(ERASURES_UNDER_WAY)]
    done = set(json.loads(store.read(key) or b"")["searched"])
    assert done and not done & set(killed_at)
    listings.clear()
    # The plan says that the whole archive is to be searched, and the same config asks for it once more.
    found = erase(store, call_id, full_search=asks_again)
    assert found.residue == [] and not done & set(listings)
    assert set(killed_at) <= set(listings), "what was not searched is searched"
    assert list(store.list(ERASURES_UNDER_WAY)) == []
