"""Retention that ran out before a day was looked at: a deleted recording looks like one that never was."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from kros_pipeline.core.settings import BadSettings
from kros_pipeline.sandbox import Fault, Faults
from kros_pipeline_tests.support.accounts import DAY, PLAIN, UNTIL_SECOND_ANSWER, WITHIN_GRACE, Account, MakeAccount
from kros_pipeline_tests.support.archive_check import completed_of
from kros_pipeline_tests.support.steps import reconcile_day

FEW = replace(PLAIN, days={"2025-01-10": 4}, deleted_recording_status=404)
LAST_DAY, TOO_LATE = datetime(2025, 2, 8, 23, tzinfo=UTC), datetime(2025, 2, 9, tzinfo=UTC)  # pro: 30 days
WORDS = "first asked about when upstream's retention was over"


def delete_all_but(our: Account, kept: int) -> list[str]:
    gone = sorted(completed_of(our.krosai, DAY))[kept:]
    for call_id in gone:
        our.krosai.delete_recording(call_id)
    return gone


def test_a_first_run_after_retention_that_finds_no_recording_at_all_is_incomplete(
    memory_account: MakeAccount,
) -> None:
    our = memory_account(FEW, now=TOO_LATE, fresh=True, KROSAI_PLAN="pro")
    gone = delete_all_but(our, 0)
    found = our.run_day()
    assert found.verdict.verdict == "incomplete" and found.row["recordings_lost"] == len(gone) == 4
    assert {row["status"] for row in our.archive.table("recordings", DAY)} == {"lost"}
    assert all("retention was over" in row["reason"] for row in our.archive.table("recordings", DAY))
    assert any(f"4 × call that was {WORDS}" in problem for problem in found.row["problems"])
    assert our.reports["archive_recordings"].counts["asked_after_retention"] == 4
    again = our.run_day()
    assert (again.verdict.verdict, again.row["recordings_lost"]) == ("incomplete", 4)


def test_an_operator_acknowledges_a_day_on_which_nothing_was_recorded(memory_account: MakeAccount) -> None:
    our = memory_account(FEW, now=TOO_LATE, fresh=True, KROSAI_PLAN="pro")
    gone = delete_all_but(our, 0)
    our.run_day()
    found = reconcile_day(our.ctx, DAY, gone)
    assert found.verdict.verdict == "complete" and any(WORDS in problem for problem in found.row["problems"])


def test_a_day_that_still_has_recordings_says_how_many_calls_were_asked_about_too_late(
    memory_account: MakeAccount,
) -> None:
    our = memory_account(FEW, now=TOO_LATE, fresh=True, KROSAI_PLAN="pro")
    [gone] = delete_all_but(our, 3)
    found = our.run_day()
    row = our.archive.by_call("recordings", DAY)[gone]
    assert row["status"] == "not_recorded" and "retention is over" in row["reason"]
    assert found.row["recordings_archived"] == 3
    assert any(f"1 × call that was {WORDS}" in problem and gone in problem for problem in found.row["problems"])


def test_within_retention_a_call_without_a_recording_was_not_recorded_and_nothing_is_said(
    memory_account: MakeAccount,
) -> None:
    our = memory_account(FEW, now=LAST_DAY, fresh=True, KROSAI_PLAN="pro")
    delete_all_but(our, 0)
    found = our.run_day()
    assert {row["status"] for row in our.archive.table("recordings", DAY)} == {"not_recorded"}
    assert found.verdict.verdict == "complete" and found.row["problems"] == []


def test_what_was_asked_within_retention_stays_as_it_was_found(memory_account: MakeAccount) -> None:
    our = memory_account(FEW, now=LAST_DAY, fresh=True, KROSAI_PLAN="pro")
    delete_all_but(our, 0)
    our.run_day()
    our.now = TOO_LATE
    found = our.run_day()
    assert found.verdict.verdict == "complete" and found.row["problems"] == []


def test_a_day_that_was_looked_at_within_its_grace_days_only_is_no_silent_complete(
    memory_account: MakeAccount,
) -> None:
    our = memory_account(FEW, now=WITHIN_GRACE, fresh=True, KROSAI_PLAN="pro")
    delete_all_but(our, 0)
    assert our.run_day().verdict.verdict == "waiting"
    our.now = TOO_LATE
    found = our.run_day()
    assert (found.verdict.verdict, found.row["recordings_lost"]) == ("incomplete", 4)


def test_upstream_that_keeps_recordings_without_end_loses_none(memory_account: MakeAccount) -> None:
    our = memory_account(FEW, now=datetime(2027, 1, 1, tzinfo=UTC), fresh=True, KROSAI_PLAN="enterprise")
    delete_all_but(our, 0)
    assert our.run_day().verdict.verdict == "waiting"
    our.now += UNTIL_SECOND_ANSWER
    found = our.run_day()
    assert found.verdict.verdict == "complete" and found.row["problems"] == []


# The setting.


@pytest.mark.parametrize(
    ("settings", "is_refused"),
    [
        ({"KROSAI_PLAN": "free", "KROS_LOOKBACK_DAYS": "7"}, True),
        ({"KROSAI_PLAN": "free", "KROS_LOOKBACK_DAYS": "6"}, False),
        ({"KROSAI_PLAN": "pro", "KROS_LOOKBACK_DAYS": "30"}, True),
        ({"KROSAI_PLAN": "pro", "KROSAI_RETENTION_DAYS": "31", "KROS_LOOKBACK_DAYS": "30"}, False),
        ({"KROSAI_PLAN": "pro", "KROSAI_RETENTION_DAYS": "3"}, True),
        ({"KROSAI_PLAN": "enterprise", "KROS_LOOKBACK_DAYS": "400"}, False),
    ],
)
def test_the_grace_days_must_be_below_upstreams_retention(
    memory_account: MakeAccount, settings: dict[str, str], is_refused: bool
) -> None:
    our = memory_account(FEW)
    if not is_refused:
        our.open(**settings)
        return
    with pytest.raises(BadSettings, match="must be below upstream's retention of"):
        our.open(**settings)


# Acknowledgements cover what has failed, not what may fail later.


def test_a_pending_call_cannot_be_acknowledged_and_its_later_failure_is_not_hidden(
    memory_account: MakeAccount,
) -> None:
    from kros_pipeline.steps.reconciliation import NotYetFailed

    our = memory_account(replace(FEW, late_share=1.0), now=WITHIN_GRACE, fresh=True)
    call_id = min(completed_of(our.krosai, DAY))
    assert our.run_day().row["recordings_pending"] == 4
    with pytest.raises(NotYetFailed, match=f"1 of them are not lost, failed or refused now: {call_id}"):
        reconcile_day(our.ctx, DAY, [call_id])
    assert not our.archive.objects("state/acknowledged/")
    our.krosai.release_late()
    our.krosai.set_faults(Faults(storage_html=Fault(calls=(call_id,))))
    found = our.run_day()
    assert found.verdict.verdict == "incomplete"
    assert found.row["problems"][0].startswith(f"1 × recording failed: {call_id} (1 × ")
    assert reconcile_day(our.ctx, DAY, [call_id]).verdict.verdict == "complete"


def test_one_call_that_has_not_failed_keeps_all_of_a_launch_from_being_acknowledged(
    memory_account: MakeAccount,
) -> None:
    from kros_pipeline.steps.reconciliation import NotYetFailed

    our = memory_account(FEW)
    lost, archived, *_ = sorted(completed_of(our.krosai, DAY))
    our.krosai.set_faults(Faults(storage_missing=Fault(calls=(lost,))))
    our.run_day()
    with pytest.raises(NotYetFailed, match=archived) as refused:
        reconcile_day(our.ctx, DAY, [lost, archived])
    assert lost not in str(refused.value) and not our.archive.objects("state/acknowledged/")
