"""A list in no order and without a date filter is read whole: once for all days that are to be listed."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from kros_pipeline_tests.support.accounts import AFTER_GRACE, PLAIN, Account, MakeAccount
from kros_pipeline_tests.support.archive_check import assert_archive_is_true
from kros_pipeline_tests.support.steps import list_calls

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
    assert listed_requests(our, DAYS[0]) > 0, "it is read anew"
