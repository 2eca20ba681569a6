"""A list in no order and without a date filter is read whole: once for all days that are to be listed."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from kros_pipeline.operations.erasure_request import ErasureRequest
from kros_pipeline_tests.support.accounts import AFTER_GRACE, PLAIN, Account, MakeAccount
from kros_pipeline_tests.support.archive_check import assert_archive_is_true
from kros_pipeline_tests.support.steps import erase_calls, list_calls

FIRST = date(2025, 1, 6)
DAYS = [FIRST + timedelta(days=number) for number in range(5)]
NO_ORDER = replace(
    PLAIN, days={str(day): 60 for day in DAYS}, audio_seconds=(1, 2), dialect="page", date_filter="refused",
    order="shuffled",
)  # fmt: skip


def listed_requests(our: Account, day: date) -> int:
    our.krosai.reset_counters()
    list_calls(our.ctx, day, first_day=FIRST)
    return our.requests().get("list", 0)


def test_one_reading_serves_all_days_that_are_to_be_listed(memory_account: MakeAccount) -> None:
    our = memory_account(NO_ORDER, KROSAI_RETENTION_DAYS="90")
    assert 3 < listed_requests(our, DAYS[2]) <= 3 + 9
    assert [listed_requests(our, day) for day in DAYS if day != DAYS[2]] == [0, 0, 0, 0]
    for day in DAYS:
        our.run_day(day)
        assert_archive_is_true(our.krosai, our.archive, day)


def test_a_listing_of_another_run_is_taken_over_once(memory_account: MakeAccount) -> None:
    our = memory_account(NO_ORDER)
    listed_requests(our, DAYS[2])
    assert listed_requests(our, DAYS[0]) == 0
    assert listed_requests(our, DAYS[0]) > 0


@pytest.mark.parametrize("change", [{"hours": 21}, {"hours": -150}])
def test_a_listing_that_is_old_or_was_made_before_late_calls_is_not_taken_over(
    memory_account: MakeAccount, change: dict[str, Any]
) -> None:
    our = memory_account(NO_ORDER, now=AFTER_GRACE)
    if change["hours"] < 0:
        our.now = datetime(2025, 1, 10, 23, 0, tzinfo=AFTER_GRACE.tzinfo)  # the grace days of the 7th end within hours
    listed_requests(our, DAYS[0])
    our.now += timedelta(hours=max(change["hours"], 2))
    assert listed_requests(our, DAYS[1]) > 0


def test_days_that_were_listed_after_their_grace_days_are_left_alone(memory_account: MakeAccount) -> None:
    our = memory_account(NO_ORDER)
    listed_requests(our, DAYS[0])
    before = our.archive.objects("state/listings/")
    our.now += timedelta(hours=30)
    listed_requests(our, DAYS[1])
    after = our.archive.objects("state/listings/")
    changed = {key[-15:-5] for key in after if after[key] != before.get(key)}
    assert changed & set(map(str, DAYS)) == {str(DAYS[1])}


def test_a_total_that_no_reading_reaches_proves_no_day(memory_account: MakeAccount) -> None:
    our = memory_account(replace(NO_ORDER, depth_cap=200, depth_answer="empty"))
    listed_requests(our, DAYS[2])
    for day in DAYS:
        listing = our.archive.json(f"state/listings/dt={day}.json")
        assert not listing["proved"] and "distinct rows came" in listing["problems"][0]
    assert listed_requests(our, DAYS[0]) == 0, "one reading an hour is enough"
    assert listed_requests(our, DAYS[0]) > 0, "it is read anew"


def test_a_damaged_day_stops_no_other_day(memory_account: MakeAccount) -> None:
    our = memory_account(NO_ORDER)
    listed_requests(our, DAYS[0])
    our.archive.write(f"tables/calls/dt={DAYS[0]}/part-0.parquet", b"junk")
    for day in DAYS[:2]:
        our.archive.delete(f"state/listings/dt={day}.json")
    assert listed_requests(our, DAYS[2]) == 0, "it was listed with the first"
    assert listed_requests(our, DAYS[2]) > 0
    assert len(our.archive.by_call("calls", DAYS[2])) == 60


def test_a_call_that_another_days_run_moves_is_erased(memory_account: MakeAccount) -> None:
    our = memory_account(NO_ORDER, fresh=True, KROS_ERASURE_KEY="a key of the tests, long enough for them")
    listed_requests(our, DAYS[0])
    [call_id, *_] = sorted(our.archive.by_call("calls", DAYS[1]))
    row = our.archive.by_call("calls", DAYS[1])[call_id]
    # A row of the day before was written beside it, as by two runs at once.
    our.archive.rewrite("calls", DAYS[0], lambda rows: sorted([*rows, row | {"call_date": DAYS[0]}], key=by_id))
    our.archive.delete(f"state/listings/dt={DAYS[1]}.json")
    our.now += timedelta(hours=30)
    listed_requests(our, DAYS[4])
    request = ErasureRequest((call_id,), "", "a request of the person", False)
    assert erase_calls(our.open(), request).calls == 1
    assert not any(call_id in our.archive.by_call("calls", day) for day in DAYS)


def by_id(row: dict[str, Any]) -> str:
    return str(row["call_id"])
