"""Weeks on the smallest plan, hour by hour as the schedules run: every day is proved in time, and the quota is kept."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest

from kros_pipeline.core.days import LISTED_BEYOND, days_from
from kros_pipeline.core.statuses import DayVerdict
from kros_pipeline.sandbox import SandboxConfig
from kros_pipeline_tests.support.accounts import Account, MakeAccount
from kros_pipeline_tests.support.archive_check import assert_archive_is_true
from kros_pipeline_tests.support.steps import find_backlog, find_days_to_repeat

FIRST, DAY_COUNT = date(2025, 1, 1), 21
GRACE_DAYS = 3
HOUR = timedelta(hours=1)
CALLS, UNRECORDED = 12, 6
BEGINS_AT = datetime(2025, 1, 5, tzinfo=UTC)  # four days are there to be backfilled
EVERY_DAY = [FIRST + timedelta(days=number) for number in range(DAY_COUNT)]


@pytest.fixture
def our(memory_account: MakeAccount) -> Account:
    """An account on the plan `free`, half of whose calls are not recorded; both clocks show the same time of day."""
    config = SandboxConfig(
        seed=30, days={str(day): CALLS - UNRECORDED for day in EVERY_DAY}, variety=False, audio_seconds=(1, 3),
        longest_transcript_characters=0, requests_per_day=1_000,
    )  # fmt: skip
    our = memory_account(config, now=BEGINS_AT, fresh=True, KROSAI_PLAN="free", KROS_LOOKBACK_DAYS=str(GRACE_DAYS))
    for day in EVERY_DAY:
        for number in range(UNRECORDED):
            our.krosai.add_call(f"{day}T{3 * number:02}:30:00Z", recorded=False)
    our.krosai.advance_clock((BEGINS_AT.timestamp() - time.time()) % 86_400)
    return our


def run_days(our: Account, days: list[date]) -> None:
    for day in days:
        our.ctx = our.open()  # a run of its own, with requests of its own
        our.run_day(day)
        assert all(report.error is None for report in our.reports.values())


def last_day(our: Account) -> date:
    """The last day that the schedules may run."""
    return (our.now - timedelta(days=1) - LISTED_BEYOND).date()


@pytest.mark.timeout(300)
@pytest.mark.slow
def test_every_day_past_its_grace_days_is_complete_and_the_quota_is_never_reached(our: Account) -> None:
    end = datetime.combine(EVERY_DAY[-1], datetime.min.time(), UTC) + timedelta(days=1)
    used: list[int] = []  # by day
    for number in range(int((end - BEGINS_AT) / HOUR)):
        hour = BEGINS_AT + number * HOUR
        if hour.hour == 0:
            used.append(sum(our.requests().values()))
        if hour.hour == 4:
            our.now = hour + timedelta(minutes=15)
            run_days(our, [last_day(our)])
        if hour.hour == 5:
            our.now = hour + timedelta(minutes=20)
            run_days(our, find_days_to_repeat(our.ctx, FIRST, last_day(our)))
        our.now = hour + timedelta(minutes=40)
        run_days(our, find_backlog(our.ctx, FIRST, last_day(our))[:3])
        our.krosai.advance_clock(HOUR.total_seconds())
    used.append(sum(our.requests().values()))
    most = max(after - before for before, after in pairwise(used))

    past_grace = days_from(FIRST, (end - timedelta(days=GRACE_DAYS + 1)).date() - timedelta(days=1))
    assert len(past_grace) == DAY_COUNT - GRACE_DAYS - 1
    for day in past_grace:
        [row] = our.archive.table("reconciliation", day)
        assert (row["verdict"], row["recordings_lost"], row["calls"]) == (DayVerdict.COMPLETE, 0, CALLS), day
        assert {call["status"] for call in our.archive.table("recordings", day)} == {"archived", "not_recorded"}
        reasons = {call["reason"] for call in our.archive.table("recordings", day)}
        assert not [reason for reason in reasons if reason and reason.startswith("answered once")], day
    for day in past_grace[-3:]:
        assert_archive_is_true(our.krosai, our.archive, day)
    assert our.krosai.counters()["responses_by_status"].keys() == {"200", "404"}, "no 429, and no other error"
    assert our.requests()["recording"] == UNRECORDED * len(past_grace), "one request for each unrecorded call"
    assert most <= 100, f"{most} requests in a day, of 1,000"
