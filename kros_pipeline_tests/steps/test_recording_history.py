"""What is known of a recording is kept across runs."""

from __future__ import annotations

import pytest

from kros_pipeline.core import schemas
from kros_pipeline.sandbox import Fault, Faults
from kros_pipeline.steps.recording_rows import merge_rows
from kros_pipeline_tests.support.accounts import AFTER_GRACE, DAY, PLAIN, WITHIN_GRACE, MakeAccount


def test_a_recording_that_is_no_longer_listed_is_lost_after_the_grace_days(
    account: MakeAccount,
) -> None:
    our = account(PLAIN, now=WITHIN_GRACE, fresh=True)
    [call, *_] = our.krosai.expected_calls(str(DAY))
    our.krosai.set_faults(Faults(storage_missing=Fault(calls=(call["id"],))))
    our.run_day()
    our.krosai.set_faults(Faults())
    our.krosai.delete_recording(call["id"])
    our.now = AFTER_GRACE
    assert our.run_day().verdict.verdict == "incomplete"
    statuses = {line["call_id"]: line["status"] for line in our.ctx.tables.rows(schemas.RECORDINGS, DAY)}
    assert statuses[call["id"]] == "lost"


@pytest.mark.parametrize("known", ["lost", "failed", "refused"])
def test_a_pending_result_keeps_the_known_status_and_the_larger_number_of_attempts(known: str) -> None:
    before = {"status": known, "sha256": None, "attempts": 1}
    after = {"status": "pending", "sha256": None, "attempts": 4}
    assert merge_rows(before, after) is before
    assert merge_rows(after, before) == before | {"attempts": 4}  # attempts that were made stay made


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_url_that_storage_refuses_is_minted_again(account: MakeAccount, status: int) -> None:
    our = account(PLAIN)
    our.krosai.set_faults(Faults(storage_error=Fault(value=status, attempts=1)))
    assert our.run_day().verdict.verdict == "complete"
    assert our.requests()["recording"] == len(our.krosai.expected_calls(str(DAY)))
