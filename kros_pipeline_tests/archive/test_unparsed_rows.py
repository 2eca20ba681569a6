"""An erased row that could not be read is recognised by what identifies it, whatever else of it changes."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, date, datetime
from hashlib import sha256
from typing import Any

import pytest

from kros_pipeline.archive.object_store import Replace
from kros_pipeline.archive.tombstones import Tombstones
from kros_pipeline.archive.unparsed_rows import UnparsedRows
from kros_pipeline.core.clock import Clock
from kros_pipeline.core.json_values import canonical_json
from kros_pipeline.core.object_keys import erased_row_key
from kros_pipeline.core.row_identity import id_of_row, numbers_of_row
from kros_pipeline.operations.erasure_request import ErasureRequest
from kros_pipeline_tests.support.accounts import PLAIN, Account, MakeAccount
from kros_pipeline_tests.support.memory_store import MemoryGovernance, MemoryObjectStore
from kros_pipeline_tests.support.steps import erase_calls

DAY, NOW, KEY = date(2025, 1, 10), datetime(2025, 1, 20, tzinfo=UTC), "k" * 32
ADA, BOB = "+2348012345678", "+2348099999999"
STOPPED = Clock(lambda: NOW, lambda: 0.0, lambda _: None)
_numbers = itertools.count(1)


@pytest.fixture
def store() -> MemoryObjectStore:
    return MemoryObjectStore(f"unparsed-{next(_numbers)}")


def open_rows(store: MemoryObjectStore) -> tuple[UnparsedRows, Tombstones]:
    tombstones = Tombstones(store, KEY, STOPPED)
    return UnparsedRows(store, tombstones, None), tombstones


@pytest.fixture
def our(memory_account: MakeAccount) -> Account:
    made = memory_account(PLAIN, KROS_ERASURE_KEY=KEY)
    made.ctx.identity.claim()
    return made


def keep(our: Account, row: dict[str, Any]) -> list[str]:
    """Keep a row as a listing does, in a run of its own; return the keys of what is kept."""
    ctx = our.open()
    UnparsedRows(ctx.store, ctx.tombstones, None).keep(DAY, canonical_json(row))
    return list(our.archive.objects("state/unparsed/"))


IDS: list[Any] = ["call_1", 7, 7.5, True, {"value": "call_1"}, ["call_1"], "ã\ud800", " call_1"]


@pytest.mark.parametrize("call_id", IDS, ids=repr)
def test_a_row_with_an_id_of_any_type_does_not_come_back_with_a_changed_field(our: Account, call_id: Any) -> None:
    row = {"id": call_id, "from_number": ADA, "cost_cents": 12, "created_at": None}
    assert len(keep(our, row)) == 1
    erase_calls(our.open(), ErasureRequest(phone_number=ADA, reason="request 1"))
    for changed in ({"cost_cents": 13}, {"from_number": BOB}, {"status": "failed", "new": [1]}, {}):
        assert keep(our, row | changed) == []
    assert len(keep(our, row | {"id": "call_2", "from_number": BOB})) == 1


@pytest.mark.parametrize("call_id", [None, "", "  ", [], {}], ids=repr)
def test_a_row_without_an_id_is_recognised_by_the_erased_number(our: Account, call_id: Any) -> None:
    row = {"id": call_id, "from_number": BOB, "to_number": ADA, "cost_cents": 12}
    keep(our, row)
    erase_calls(our.open(), ErasureRequest(phone_number=ADA, reason="request 1"))
    for changed in ({"cost_cents": 13}, {"to_number": 2348012345678}, {"from_number": None}, {}):
        assert keep(our, row | changed) == []
    assert len(keep(our, row | {"to_number": "+2348011111111"})) == 1, "it is another person's row"


def test_a_count_that_is_equal_to_an_erased_id_is_not_taken_for_it(our: Account) -> None:
    our.run_day()  # the listing and the state of the day have counts
    keep(our, {"id": 8, "from_number": ADA})
    other = {"id": 9, "cost_cents": 8, "from_number": BOB}
    keep(our, other)
    assert erase_calls(our.open(), ErasureRequest(phone_number=ADA, reason="request 1")).residue == []
    assert len(our.archive.objects("state/unparsed/")) == 1


def test_a_row_without_an_id_that_named_an_erased_call_is_recognised_by_its_numbers(our: Account) -> None:
    row = {"parent": "call_1", "from_number": BOB, "cost_cents": 12}
    keep(our, {"id": "call_1", "created_at": None})
    keep(our, row)
    erase_calls(our.open(), ErasureRequest(call_ids=("call_1",), reason="request 1"))
    assert keep(our, row | {"cost_cents": 13}) == []


def test_a_row_that_version_0_1_0_erased_by_its_hash_stays_away(store: MemoryObjectStore) -> None:
    rows, tombstones = open_rows(store)
    rows.keep(DAY, '{"a":1}')
    (entry,) = store.list("state/unparsed/")
    MemoryGovernance(store).delete(list(MemoryGovernance(store).versions(entry.key)))
    tombstones.add_unparsed_row(entry.key)
    assert store.head(erased_row_key(tombstones.pseudonym(entry.key))) is not None
    rows.keep(DAY, '{"a":1}')
    assert list(store.list("state/unparsed/")) == []


def test_the_same_row_is_kept_once_and_as_it_came(store: MemoryObjectStore) -> None:
    for _ in range(2):
        open_rows(store)[0].keep(DAY, '{"a":"é"}')
    ((key, row),) = open_rows(store)[0].rows()
    assert (row, store.read(key)) == ({"a": "é"}, '{"a":"é"}'.encode())


# A write that is on its way during the erasure.


@pytest.mark.parametrize("step", ["reservation", "row"])
def test_a_late_write_of_a_row_loses(store: MemoryObjectStore, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    rows, _ = open_rows(store)
    true, governance = store.put, MemoryGovernance(store)

    def erase() -> None:
        others, tombstones = open_rows(store)
        tombstones.add_call(DAY, "call_1")
        for key in others.reservations():
            governance.delete(list(governance.versions(key)))

    def put(key: str, body: Any, **how: Any) -> Any:
        if key.startswith("state/unparsed/") and isinstance(how["mode"], Replace) == (step == "row"):
            monkeypatch.setattr(store, "put", true)
            erase()
        return true(key, body, **how)

    monkeypatch.setattr(store, "put", put)
    rows.keep(DAY, canonical_json({"id": "call_1", "from_number": ADA}))
    assert not [entry for entry in store.list("state/unparsed/") if ADA.encode() in (store.read(entry.key) or b"")]
    assert list(rows.rows()) == []


def test_a_reservation_that_a_killed_run_left_is_taken_over(store: MemoryObjectStore) -> None:
    rows, _ = open_rows(store)
    rows.keep(DAY, '{"a":1}')
    (entry,) = store.list("state/unparsed/")
    reservation = b"reserved " + b"0" * 32
    other = MemoryObjectStore(f"unparsed-{next(_numbers)}")
    other.put(entry.key, reservation, sha256=sha256(reservation).hexdigest(), mode="create")
    assert list(open_rows(other)[0].rows()) == [] and list(open_rows(other)[0].reservations()) == [entry.key]
    open_rows(other)[0].keep(DAY, '{"a":1}')
    assert [row for _, row in open_rows(other)[0].rows()] == [{"a": 1}]


# What identifies a row.


@pytest.mark.parametrize(
    ("row", "call_id"),
    [
        ({"id": "a"}, "a"),
        ({"id": 7}, "7"),
        ({"id": 7.0}, "7"),
        ({"id": {"b": 1, "a": 2}}, '{"a":2,"b":1}'),
        ({"id": None}, None),
        ({}, None),
        ("text", None),
        (None, None),
    ],
)
def test_the_id_of_a_row_is_a_text(row: object, call_id: str | None) -> None:
    assert id_of_row(row) == call_id


def test_the_numbers_of_a_row_are_normalised() -> None:
    row = {"from_number": 2348012345678, "to_number": "0801 111 1111"}
    assert numbers_of_row(row, None) == [ADA, "08011111111"]
    assert numbers_of_row(row, "NG") == ["+2348011111111", ADA]
    assert numbers_of_row(json.loads("[1]"), None) == []
