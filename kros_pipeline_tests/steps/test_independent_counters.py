"""Independent counters over whole days: what differs is said and changes no verdict."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta

import pytest

from kros_pipeline.core.verdict import COUNTERS_CHECK
from kros_pipeline.sandbox import Fault, Faults
from kros_pipeline_tests.support.accounts import DAY, PLAIN, Account, MakeAccount
from kros_pipeline_tests.support.steps import reconcile_day

WEEK = [date(2025, 1, 6) + timedelta(days=number) for number in range(7)]
CONFIG = replace(PLAIN, days={str(day): 3 for day in WEEK})


@pytest.fixture
def week(memory_account: MakeAccount) -> Account:
    """Six settled days, whose counters agreed; the seventh is not archived yet."""
    our = memory_account(CONFIG, fresh=True)
    for day in WEEK[:6]:
        our.run_day(day)
    return our


def test_a_counter_that_agreed_before_and_shows_more_is_said_and_changes_no_verdict(week: Account) -> None:
    week.krosai.set_faults(Faults(counters_wrong=Fault(value=2)))
    found = week.run_day(WEEK[6])
    sentences = found.verdict.failures[COUNTERS_CHECK]
    assert found.verdict.verdict == "complete" and found.row["stats_total"] == 5
    assert [name for name in ("stats.completed_calls", "trends.completed") if name in " ".join(sentences)] and len(
        sentences
    ) == 2
    assert found.row["problems"] == sentences


def test_a_counter_that_never_agreed_is_metadata_only(memory_account: MakeAccount) -> None:
    our = memory_account(CONFIG, fresh=True)
    our.krosai.set_faults(Faults(counters_wrong=Fault(value=2)))
    for day in WEEK:
        assert our.run_day(day).row["problems"] == []


@pytest.mark.parametrize("value", ["404 NOT_FOUND", "404 html", "400 BAD", "200 BUSY", "500 empty"])
def test_counters_that_cannot_be_read_are_no_problem(memory_account: MakeAccount, value: str) -> None:
    our = memory_account(CONFIG)
    our.krosai.set_faults(Faults(api_gateway=Fault(routes=("stats", "trends"), value=value)))
    found = our.run_day(DAY)
    assert found.verdict.verdict == "complete" and found.row["problems"] == [] and found.row["stats_total"] is None


def test_a_list_that_is_empty_while_counters_are_not_is_said_on_each_day(week: Account) -> None:
    week.krosai.change_config(depth_cap=0, total_cap=0, depth_answer="empty")
    found = week.run_day(WEEK[6])
    problems = " ".join(found.row["problems"])
    assert found.verdict.verdict == "complete" and found.verdict.failures[COUNTERS_CHECK]
    assert "upstream's own counters do (stats.completed_calls: 3, trends.completed: 3)" in problems
    assert "the 6 days before had 3 (their median)" in problems


def test_calls_that_fell_to_nothing_are_said_without_a_counter_until_they_come_back(week: Account) -> None:
    week.krosai.change_config(depth_cap=0, total_cap=0, depth_answer="empty")
    week.krosai.set_faults(Faults(api_error=Fault(routes=("stats", "trends"), value=404)))
    [problem] = week.run_day(WEEK[6]).row["problems"]
    assert "make sure that there were none" in problem
    week.krosai.change_config(depth_cap=None, total_cap=None)
    assert week.run_day(WEEK[6]).row["problems"] == []


def test_a_day_that_agrees_reads_no_other_day(week: Account) -> None:
    week.run_day(WEEK[6])
    before = week.ctx.store.requests_made
    reconcile_day(week.ctx, WEEK[6])
    agreeing = week.ctx.store.requests_made - before
    week.krosai.set_faults(Faults(counters_wrong=Fault(value=2)))
    before = week.ctx.store.requests_made
    reconcile_day(week.ctx, WEEK[6])
    assert week.ctx.store.requests_made - before == agreeing + 14


def test_the_record_of_another_version_is_not_compared(week: Account) -> None:
    for day in WEEK[:6]:
        key = f"state/tables/dt={day}.json"
        week.archive.write(key, b'{"versions": {}, "counted": {"calls": "3"}}')
    week.krosai.set_faults(Faults(counters_wrong=Fault(value=2)))
    week.now = datetime.combine(WEEK[6], week.now.timetz()) + timedelta(days=10)
    assert week.run_day(WEEK[6]).row["problems"] == []
