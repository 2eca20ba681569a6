"""An erasure by number finds the person's calls in every form, and shows a person what only may be theirs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from kros_pipeline.archive.parquet import Partition, batches_of
from kros_pipeline.core import schemas
from kros_pipeline.core.object_keys import number_tombstone_key, unparsed_key
from kros_pipeline.core.pseudonyms import pseudonym
from kros_pipeline.operations.erasure_request import ErasureRefused, ErasureRequest, ErasureResult
from kros_pipeline.source.call_parsing import parse_listed_call
from kros_pipeline_tests.core.test_phone_numbers import NATIONAL, WITH_COUNTRY_CODE
from kros_pipeline_tests.support.accounts import DAY, PLAIN, Account, MakeAccount
from kros_pipeline_tests.support.steps import erase_calls, list_calls

KEY = "k" * 32
ADA, BOB = "+2348012345678", "+2348099999999"
CREATED = f"{DAY}T10:00:00Z"


@pytest.fixture
def our(memory_account: MakeAccount) -> Account:
    return memory_account(PLAIN, KROS_ERASURE_KEY=KEY)


def archive_rows(our: Account, *rows: dict[str, Any], country: str | None = None) -> None:
    """Put rows of the list into the table `calls`, as the step does."""
    calls = [
        parse_listed_call({"created_at": CREATED} | row, organization_id=None, now=datetime.now(UTC), country=country)
        for row in rows
    ]
    put_rows(our, [{name: getattr(listed.call, name) for name in schemas.CALLS.column_names} for listed in calls])


def put_rows(our: Account, rows: list[dict[str, Any]]) -> None:
    def build(_: Partition | None) -> Iterator[pa.RecordBatch]:
        return batches_of(schemas.CALLS, sorted(rows, key=lambda row: str(row["call_id"])))

    our.ctx.identity.claim()
    our.ctx.tables.commit(schemas.CALLS, DAY, build)


def erase(our: Account, number: str = ADA, *, dry_run: bool = False, **more: Any) -> ErasureResult:
    return erase_calls(our.open(), ErasureRequest(phone_number=number, reason="request 1", **more), dry_run=dry_run)


def ids_left(our: Account) -> list[str]:
    return sorted(our.archive.by_call("calls", DAY))


# The number is found in every form.


def test_a_call_is_erased_in_whatever_form_upstream_gave_the_number(our: Account) -> None:
    rows = [{"id": f"ada_{index:02}", "from_number": value} for index, value in enumerate(WITH_COUNTRY_CODE)]
    archive_rows(our, *rows, {"id": "bob", "from_number": BOB, "to_number": "+15550000001"})
    result = erase(our, "00234 801 234 5678")
    assert (result.calls, result.candidates) == (len(rows), [])
    assert ids_left(our) == ["bob"]


def test_a_national_number_is_the_persons_where_the_country_is_set(our: Account) -> None:
    rows = [{"id": f"ada_{index:02}", "to_number": value} for index, value in enumerate(NATIONAL)]
    archive_rows(our, *rows, {"id": "bob", "to_number": BOB})  # archived before the country was set
    our.environment["KROS_DEFAULT_COUNTRY"] = "NG"
    assert erase(our).calls == len(rows)
    assert ids_left(our) == ["bob"]


def test_a_number_that_an_older_version_left_in_extra_is_found(our: Account) -> None:
    """Before numbers were normalised, one of another type was null in its column, and whole in `extra`."""
    row = {"call_id": "old", "call_date": DAY, "created_at": datetime(2025, 1, 10, tzinfo=UTC), "has_recording": False}
    row |= {"listed_at": datetime(2025, 1, 11, tzinfo=UTC), "extra": json.dumps({"from_number": {"e164": ADA}})}
    put_rows(our, [dict.fromkeys(schemas.CALLS.column_names) | row])
    assert erase(our).calls == 1
    assert ids_left(our) == []


# Near matches are shown, and taken only where the operator names them.

NEAR: dict[str, dict[str, Any]] = {
    "national": {"from_number": "08012345678"},
    "json": {"to_number": 8012345678},
    "other_country": {"from_number": "+48012345678"},
    "free_field": {"from_number": BOB, "metadata": {"contact": {"phone": "0801 234 5678"}}},
    "free_number": {"alternative": 2348012345678},
    "free_lines": {"note": "0801\n234\r\n56\t78"},
    "free_control": {"note": "0801 2\x1f34 5678"},
    "free_url": {"note": "https://h/call?to=%2B234%20801%20234%205678"},
    "free_key": {"metadata": {"+2348012345678": True}},
    "other_script": {"note": "call ٠٨٠١٢٣٤٥٦٧٨ back"},
    "two_numbers": {"from_number": [ADA, BOB]},
}
FAR: dict[str, dict[str, Any]] = {
    "other_person": {"from_number": BOB},
    "similar": {"from_number": "+2348012345679"},
    "speech": {"transcript": "[Caller]: my number is 0801 234 5678"},  # spoken: it belongs to that call
    "short": {"from_number": "5678"},
}


def test_a_dry_run_shows_near_matches_with_the_reason_and_never_the_number(our: Account) -> None:
    archive_rows(our, {"id": "ada", "from_number": ADA}, *({"id": name, **row} for name, row in (NEAR | FAR).items()))
    before = our.archive.objects()
    result = erase(our, dry_run=True)
    assert (result.calls, {found.name for found in result.candidates}) == (1, set(NEAR))
    reasons = {found.name: found.reason for found in result.candidates}
    assert reasons["national"] == "from_number ends in the same digits"
    assert reasons["free_field"] == "the free field extra.metadata.contact.phone has the same digits"
    assert "8012345678" not in str(reasons)
    assert {found.day for found in result.candidates} == {DAY}
    assert our.archive.objects() == before


def test_near_matches_stay_unless_they_are_named(our: Account) -> None:
    archive_rows(our, {"id": "ada", "from_number": ADA}, *({"id": name, **row} for name, row in (NEAR | FAR).items()))
    result = erase(our, candidates=("national", "free_field"))
    assert result.calls == 3
    assert {found.name for found in result.candidates} == NEAR.keys() - {"national", "free_field"}
    assert ids_left(our) == sorted((NEAR | FAR).keys() - {"national", "free_field"})
    assert erase(our, candidates=("national", "json")).calls == 2  # one of them was erased before
    with pytest.raises(ErasureRefused, match=r"1 of candidates are not near matches of the number.*other_person"):
        erase(our, candidates=("other_person", "other_country"))


def test_an_erasure_that_finds_only_near_matches_says_so(our: Account) -> None:
    archive_rows(our, {"id": "near", "from_number": "08012345678"})
    with pytest.raises(ErasureRefused, match=r"for sure, and 1 may be.*dry_run: true.*candidates"):
        erase(our)
    assert erase(our, dry_run=True).calls == 0
    assert erase(our, candidates=("near",)).calls == 1


@pytest.mark.parametrize("named", ["by its key", "by its id"])
def test_an_unparsed_row_is_a_candidate_by_its_key(our: Account, named: str) -> None:
    archive_rows(our, {"id": "bob", "from_number": BOB})
    keys = [unparsed_key(DAY, f"{index}" * 64) for index in range(3)]
    for key, row in zip(keys, ({"id": 7, "to_number": ADA}, {"id": 8, "note": ADA}, {"note": BOB}), strict=True):
        our.archive.write(key, json.dumps(row).encode())
    (found,) = erase(our, dry_run=True).candidates
    assert (found.name, found.day, found.reason) == (keys[1], DAY, "the free field note has the same digits")
    erase(our, candidates=(keys[1] if named == "by its key" else "8",))
    assert list(our.archive.objects("state/unparsed/")) == [keys[2]]


# Calls that come later.


def number_of_first_call(other: Account) -> tuple[str, set[str]]:
    """A number of the day and the ids of its calls, as another archive of the account shows them."""
    list_calls(other.ctx, DAY)
    calls = other.archive.by_call("calls", DAY)
    number = calls[min(calls)]["from_number"]
    return number, {name for name, row in calls.items() if number in (row["from_number"], row["to_number"])}


def test_later_calls_of_a_stopped_number_are_not_archived(our: Account, memory_account: MakeAccount) -> None:
    number, its_calls = number_of_first_call(memory_account(PLAIN))
    with pytest.raises(ErasureRefused, match="No call of this archive"):
        erase(our, number)
    result = erase(our, number, stop_number=True)  # the day is not archived yet
    assert result.calls == 0 and "calls of the number are stopped there" in result.not_reached[0]
    assert our.archive.json(number_tombstone_key(pseudonym(KEY, number))).keys() == {"erased_at"}
    ctx = our.open()
    for _ in range(2):
        list_calls(ctx, DAY)
    result_of_day = our.run_day()
    assert result_of_day.verdict.verdict == "complete"
    assert not its_calls & set(ids_left(our)) and len(ids_left(our)) == 8 - len(its_calls)
    (row,) = our.archive.table("reconciliation", DAY)
    assert row["erased"] == len(its_calls)
    assert not [key for key in our.archive.objects() if any(name in key for name in its_calls)]
    lines = [line for key in our.archive.objects("audit/") for line in our.archive.read(key).splitlines()]
    stopped = [json.loads(line) for line in lines if b'"erased"' in line]
    assert {line["call"] for line in stopped} == {pseudonym(KEY, name) for name in its_calls}
    assert len(stopped) == len(its_calls), "a call is stopped once"


def test_an_archived_call_of_a_stopped_number_stays_until_it_is_erased_and_the_listing_says_so(
    our: Account, memory_account: MakeAccount
) -> None:
    number, its_calls = number_of_first_call(memory_account(PLAIN))
    our.run_day()
    before = our.archive.by_call("calls", DAY).keys()
    our.ctx.tombstones.claim_key()
    our.ctx.tombstones.stop_number(pseudonym(KEY, number))  # a run had written the calls after the erasure
    our.run_day()
    assert our.archive.by_call("calls", DAY).keys() == before
    (row,) = our.archive.table("reconciliation", DAY)
    assert row["verdict"] == "complete"
    (said,) = [said for said in row["problems"] if "erase_calls" in said]
    assert said.startswith(f"{len(its_calls)} calls of a number that was erased are in the archive")


def test_without_a_stop_later_calls_arrive_and_the_result_says_so(our: Account) -> None:
    archive_rows(our, {"id": "ada", "from_number": ADA})
    result = erase(our)
    assert "unless stop_number is set" in result.not_reached[0]
    assert "2025-01-20" in result.not_reached[0]  # today: it is not archived yet
    assert "upload of a recording" in result.not_reached[1]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"call_ids": ("a",), "candidates": ("b",)}, "candidates and stop_number belong to a phone_number"),
        ({"call_ids": ("a",), "stop_number": True}, "candidates and stop_number belong to a phone_number"),
    ],
)
def test_a_request_that_contradicts_itself_is_refused(our: Account, more: dict[str, Any], says: str) -> None:
    with pytest.raises(ErasureRefused, match=says):
        erase_calls(our.open(), ErasureRequest(reason="r", **more))


def test_a_reason_may_not_have_the_number_in_any_form(our: Account) -> None:
    archive_rows(our, {"id": "ada", "from_number": ADA})
    for reason in ("+234 801 234 5678", "sip:+2348012345678@host", "2348012345678"):
        with pytest.raises(ErasureRefused, match="must name nobody"):
            erase_calls(our.open(), ErasureRequest(phone_number=ADA, reason=reason))
