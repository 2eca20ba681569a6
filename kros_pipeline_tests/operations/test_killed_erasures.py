"""An erasure that was killed is finished by the next launch, whatever that one asks for and whatever came meanwhile."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import date
from typing import Any

import pyarrow as pa
import pytest

from kros_pipeline.archive.governance import ObjectVersion
from kros_pipeline.archive.parquet import Partition, batches_of
from kros_pipeline.archive.tombstones import Tombstones
from kros_pipeline.core import schemas
from kros_pipeline.core.object_keys import ERASURES_UNDER_WAY, erasure_plan_key
from kros_pipeline.operations import erasure_proof
from kros_pipeline.operations.erasure_proof import NOT_SEARCHED, NUMBER_UNKNOWN
from kros_pipeline.operations.erasure_request import ErasurePlan, ErasureRequest, save_plan
from kros_pipeline_tests.support.steps import erase_calls
from kros_pipeline_tests.support.years_run import open_years_run
from kros_pipeline_tests.support.years_store import YearsStore


class _Killed(BaseException):
    pass


def make_archive() -> tuple[YearsStore, date]:
    store = YearsStore(20, 20, flagged_every=20)
    return store, store.days[15]


def read_plan(store: YearsStore) -> dict[str, Any]:
    (key,) = [entry.key for entry in store.list(ERASURES_UNDER_WAY)]
    plan: dict[str, Any] = json.loads(store.read(key) or b"")
    return plan


def test_the_rest_of_a_killed_erasure_has_the_rows_that_came_meanwhile() -> None:
    store, day = make_archive()
    far, (call_id, other, *_) = store.days[3], store.generated.ids(day)
    ctx = open_years_run(store)
    with pytest.MonkeyPatch.context() as patch:

        def add_call(*_: Any) -> None:
            raise _Killed

        patch.setattr(Tombstones, "add_call", add_call)
        with pytest.raises(_Killed):
            erase_calls(ctx, ErasureRequest((call_id,), reason="request 1"))
    assert read_plan(store)["calls"] == {day.isoformat(): [call_id]}

    def build(present: Partition | None) -> Iterator[pa.RecordBatch]:
        assert present is not None
        rows = list(present.rows())
        rows.append(rows[0] | {"call_id": call_id})
        return batches_of(schemas.CALLS, sorted(rows, key=schemas.CALLS.sort_key()))

    ctx.tables.commit(schemas.CALLS, far, build)  # its listing does not have the call yet
    found = erase_calls(open_years_run(store), ErasureRequest((other,), reason="request 2"))
    assert (found.days, found.residue) == ([far, day], [])


@pytest.mark.parametrize("was_full", [True, False])
def test_the_result_says_for_each_erasure_what_was_searched(*, was_full: bool) -> None:
    store, day = make_archive()
    earlier, own, *_ = store.generated.ids(day)
    plan = ErasurePlan({day: {earlier}}, reason="request 1", key=erasure_plan_key("killed"), full_search=was_full)
    save_plan(plan, open_years_run(store).store)
    request = ErasureRequest((own,), reason="request 2", full_search=not was_full)
    found = erase_calls(open_years_run(store), request)
    of_own, of_earlier = found.searched[:-1], found.searched[-1]
    everything = "every version of every object of the archive"
    assert of_earlier.startswith("of an earlier erasure (1 calls)") and (everything in of_earlier) == was_full
    assert any(part.startswith(everything) for part in of_own) != was_full
    left_out = [part for part in found.not_reached if NOT_SEARCHED in part]
    assert (left_out == [NOT_SEARCHED]) == was_full
    assert was_full or left_out[0].startswith("of an earlier erasure (1 calls)")


def test_parts_that_were_searched_for_less_are_searched_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed erasure by number is finished without the number, which the plan does not have."""
    store, day = make_archive()
    number, other = store.generated.caller(day, 7), store.generated.ids(day)[9]
    request = ErasureRequest(phone_number=number, reason="request 3", full_search=True)
    monkeypatch.setattr(erasure_proof, "_SAVE_EVERY_SECONDS", -1.0)
    true, listed, kills = YearsStore.versions, list[str](), iter([True])

    def versions(this: YearsStore, prefix: str) -> Iterator[ObjectVersion]:
        listed.append(prefix)
        if prefix == "tables/recordings/dt=2025-01" and next(kills, False):
            deadline = time.monotonic() + 30
            while not read_plan(store)["searched"] and time.monotonic() < deadline:
                time.sleep(0.01)
            raise _Killed
        yield from true(this, prefix)

    monkeypatch.setattr(YearsStore, "versions", versions)
    with pytest.raises(_Killed):
        erase_calls(open_years_run(store), request)
    plan = read_plan(store)
    assert plan["searched"] and number not in json.dumps(plan)
    listed.clear()
    found = erase_calls(open_years_run(store), ErasureRequest((other,), reason="request 4"))
    assert found.calls == 2 and NUMBER_UNKNOWN in found.not_reached
    assert set(plan["searched"]) <= set(listed)
    assert list(store.list(ERASURES_UNDER_WAY)) == []
