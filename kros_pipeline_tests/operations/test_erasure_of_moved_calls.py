"""A call that upstream moves to another day stays erased there, and everything of it is erased from both days."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest

from kros_pipeline.archive.decision_claims import claim_decision, read_claim
from kros_pipeline.archive.json_objects import create_json
from kros_pipeline.archive.parquet import Row, batches_of
from kros_pipeline.archive.tables import Build
from kros_pipeline.core import schemas
from kros_pipeline.core.object_keys import LISTINGS, audio_key, decision_key, erasure_plan_key, moved_key
from kros_pipeline.operations.erasure_request import (
    ErasurePlan,
    ErasureRefused,
    ErasureRequest,
    ErasureResult,
    save_plan,
)
from kros_pipeline.sandbox import Fault, Faults
from kros_pipeline.steps.extension_journal import Decision
from kros_pipeline_tests.operations.test_erasure import KEY, RULES, SMALL, ids_of, mentions
from kros_pipeline_tests.support.accounts import DAY, Account, MakeAccount
from kros_pipeline_tests.support.steps import erase_calls, extend_retention, list_calls

NEXT_DAY = date(2025, 1, 11)


@pytest.fixture
def our(memory_account: MakeAccount, tmp_path: Any) -> Account:
    """An account whose day is archived, with an extension of every call."""
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    made = memory_account(SMALL, fresh=True, bucket="plain", KROS_ERASURE_KEY=KEY, KROS_FLAG_RULES=str(rules))
    made.run_day()
    return made


def writing(table: schemas.Table, rows: list[Row]) -> Build:
    return lambda _: batches_of(table, rows)


def add_to_next_day(our: Account, call_id: str, *tables: schemas.Table) -> None:
    """Write the call's rows under the next day, too, as a run that upstream shows it there does."""
    for table in tables or (schemas.CALLS, schemas.RECORDINGS, schemas.FLAGGED_CALLS):
        rows = [row for row in our.ctx.tables.rows(table, DAY) if row["call_id"] == call_id]
        moved = [row | {"call_date": NEXT_DAY} for row in rows]
        our.ctx.tables.commit(table, NEXT_DAY, writing(table, moved))


def forget(our: Account, *call_ids: str, **more: Any) -> ErasureResult:
    return erase_calls(our.open(), ErasureRequest(call_ids, reason="request 17", **more))


def test_an_erased_call_does_not_come_back_on_another_day(our: Account) -> None:
    call_id = ids_of(our)[0]
    row = next(row for row in our.ctx.tables.rows(schemas.CALLS, DAY) if row["call_id"] == call_id)
    forget(our, call_id)
    list_calls(our.ctx, NEXT_DAY)
    for ctx in (our.ctx, our.open()):
        kept = ctx.tables.rows(schemas.CALLS, NEXT_DAY)
        rows = sorted([*kept, row | {"call_date": NEXT_DAY}], key=lambda row: str(row["call_id"]))
        ctx.tables.commit(schemas.CALLS, NEXT_DAY, writing(schemas.CALLS, rows))
        assert our.archive.by_call("calls", NEXT_DAY).keys() == {row["call_id"] for row in kept} != set()
    assert mentions(our, call_id) == []


def test_a_call_of_two_days_is_erased_from_both_and_deleted_upstream_once(our: Account) -> None:
    call_id = ids_of(our)[0]
    add_to_next_day(our, call_id)
    extend_retention(our.ctx, NEXT_DAY)
    assert our.archive.by_call("retention_extensions", NEXT_DAY)[call_id]["status"] == "extended"
    assert our.krosai.counters()["extend_requests_by_call"][call_id] == 1
    found = forget(our, call_id, delete_upstream=True)
    assert (found.calls, found.days, found.upstream) == (1, [DAY, NEXT_DAY], {"deleted": 1})
    assert mentions(our, call_id) == []
    assert our.krosai.counters()["deletes_by_call"] == {call_id: 1}
    assert {key.split("/")[2] for key in our.archive.objects("state/erased_upstream/")} == {f"dt={DAY}"}
    pseudonym = our.ctx.tombstones.pseudonym(call_id)
    assert pseudonym in our.ctx.tombstones.pseudonyms_of(DAY) & our.ctx.tombstones.pseudonyms_of(NEXT_DAY)
    again = forget(our, call_id, delete_upstream=True)  # by its tombstones, of both days
    assert (again.days, again.upstream) == ([DAY, NEXT_DAY], {"deleted": 1})
    assert our.krosai.counters()["deletes_by_call"] == {call_id: 1}


def test_a_deletion_upstream_is_not_repeated_where_the_call_got_an_earlier_day(our: Account) -> None:
    """The first erasure knew the call on the next day only, and nobody knows what became of its request."""
    call_id = ids_of(our)[0]
    pseudonym = our.ctx.tombstones.pseudonym(call_id)
    create_json(our.ctx.store, f"state/erased_upstream/dt={NEXT_DAY}/{pseudonym}-intent.json", {})
    our.ctx.tombstones.claim_key()
    our.ctx.tombstones.add_call(NEXT_DAY, call_id)
    found = forget(our, call_id, delete_upstream=True)
    assert found.upstream == {"unconfirmed": 1}
    assert our.krosai.counters()["deletes_by_call"] == {}


@pytest.mark.parametrize("has_intent", [True, False])
def test_no_claim_of_a_decision_outlives_the_erasure(our: Account, *, has_intent: bool) -> None:
    erased, kept = ids_of(our)[:2]
    of_erased, of_kept = (row["decision_id"] for row in _extensions_of(our, erased, kept))
    if not has_intent:  # a run was killed between the claim and the intent
        of_erased = Decision(erased, "another-rule", 30).decision_id
        claim_decision(our.ctx.store, of_erased, call_id=erased, day=DAY)
    assert read_claim(our.ctx.store, of_erased) == read_claim(our.ctx.store, of_kept) == DAY
    forget(our, erased)
    assert read_claim(our.ctx.store, of_erased) is None
    assert read_claim(our.ctx.store, of_kept) == DAY
    assert not [key for key in our.archive.objects("state/") if of_erased in key]


def test_requests_that_another_day_journalled_are_erased_with_the_day_that_has_the_call(our: Account) -> None:
    """The call's rows and the listing of its first day are lost; its decision is journalled there."""
    call_id = ids_of(our)[0]
    add_to_next_day(our, call_id, *(table for table in schemas.TABLES.values() if "call_id" in table.column_names))
    for name in schemas.TABLES:
        our.archive.delete(f"tables/{name}/dt={DAY}/part-0.parquet")
    for key in [key for below in ("audio/", "audit/", LISTINGS) for key in our.archive.objects(below)]:
        our.archive.delete(key)
    found = forget(our, call_id)
    assert found.days == [NEXT_DAY]
    assert mentions(our, call_id) == []


def test_a_lost_extension_stays_unconfirmed_on_the_other_day(our: Account) -> None:
    call_id = ids_of(our)[0]
    decision = Decision(call_id, "all", 90)
    for key in our.archive.objects(f"state/extensions/dt={DAY}/{decision.decision_id}/"):
        our.archive.delete(key)
    our.archive.delete(decision_key(decision.decision_id))
    our.archive.delete(f"tables/retention_extensions/dt={DAY}/part-0.parquet")
    our.krosai.set_faults(Faults(extend_lost=Fault(calls=(call_id,))))
    before = our.krosai.counters()["extend_requests_by_call"][call_id]
    extend_retention(our.ctx, DAY)
    our.krosai.set_faults(Faults())
    add_to_next_day(our, call_id)
    report = extend_retention(our.open(), NEXT_DAY)
    row = our.archive.by_call("retention_extensions", NEXT_DAY)[call_id]
    assert row["status"] == "unconfirmed" and f"begun for {DAY}" in row["reason"]
    assert report.to_do
    assert our.krosai.counters()["extend_requests_by_call"][call_id] == before + 1


def test_an_erasure_migrates_the_archive_and_asks_upstream_for_nothing(our: Account) -> None:
    erased, kept = ids_of(our)[:2]
    of_erased, of_kept = (row["decision_id"] for row in _extensions_of(our, erased, kept))
    stored = our.archive.json("state/archive.json")
    as_of_0_1_0 = {"base_url": stored["base_url"], "organization_id": None, "format": 1}
    our.archive.write("state/archive.json", json.dumps(as_of_0_1_0).encode())
    for key in our.archive.objects("state/decisions/"):
        our.archive.delete(key)
    our.krosai.set_faults(Faults(api_error=Fault()))
    with pytest.raises(ErasureRefused):
        forget(our, "call_unknown")
    erase_calls(our.open(), ErasureRequest((erased,), reason="request 17"), dry_run=True)
    assert our.archive.json("state/archive.json") == as_of_0_1_0
    forget(our, erased)
    assert our.archive.json("state/archive.json") == as_of_0_1_0 | {"format": 2, "migration": "done"}
    assert read_claim(our.ctx.store, of_kept) == DAY
    assert read_claim(our.ctx.store, of_erased) is None
    assert mentions(our, erased) == []


def leave_on_next_day(our: Account, call_id: str) -> str:
    """Leave what a call has on a day after an earlier day kept it: a marker, and an object. Return the object's key."""
    our.ctx.tables.moved.add(NEXT_DAY, call_id, DAY)
    key = audio_key(NEXT_DAY, call_id)
    our.archive.write(key, our.archive.read(audio_key(DAY, call_id)))
    return key


def test_a_call_that_an_earlier_day_keeps_is_erased_from_both(our: Account) -> None:
    erased, kept = ids_of(our)[:2]
    for call_id in (erased, kept):
        leave_on_next_day(our, call_id)
    found = forget(our, erased)
    assert (found.calls, found.days) == (1, [DAY, NEXT_DAY])
    assert mentions(our, erased) == []
    assert {moved_key(NEXT_DAY, kept), audio_key(NEXT_DAY, kept)} <= our.archive.objects().keys()


def test_a_call_that_a_run_moved_after_the_plan_was_made_is_erased_by_the_next_launch(our: Account) -> None:
    """The first launch was killed once its plan was stored."""
    erased, other = ids_of(our)[:2]
    save_plan(ErasurePlan({DAY: {erased}}, reason="request 17", key=erasure_plan_key("killed")), our.ctx.store)
    leave_on_next_day(our, erased)
    forget(our, other)
    assert mentions(our, erased) == []
    assert our.archive.objects("state/erasing/") == {}


def test_a_legal_hold_on_the_object_of_the_later_day_refuses_the_erasure(memory_account: MakeAccount) -> None:
    our = memory_account(SMALL, bucket="locked", KROS_ERASURE_KEY=KEY)
    our.run_day()
    call_id = ids_of(our)[0]
    key = leave_on_next_day(our, call_id)
    our.ctx.governance.place_legal_hold(key)
    before = our.archive.objects()
    with pytest.raises(ErasureRefused, match="under legal hold"):
        forget(our, call_id)
    assert our.archive.objects() == before


def _extensions_of(our: Account, *call_ids: str) -> list[dict[str, Any]]:
    rows = our.archive.by_call("retention_extensions", DAY)
    return [rows[call_id] for call_id in call_ids]
