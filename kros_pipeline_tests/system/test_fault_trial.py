"""A day of 2,000 calls, of which one in five meets some passing fault, ends complete with every byte right."""

from __future__ import annotations

import pytest

from kros_pipeline_tests.support.accounts import DAY, MakeAccount
from kros_pipeline_tests.support.archive_check import assert_archive_is_true
from kros_pipeline_tests.support.fault_trial import CALLS, KNOBS, OF_PAGES, SHARE, trial


@pytest.mark.slow
def test_a_day_of_which_a_fifth_meets_faults_is_complete_after_two_runs(memory_account: MakeAccount) -> None:
    out = trial(memory_account, seed=20)
    assert out.calls >= CALLS and len(out.hit) >= SHARE * CALLS
    assert {name for name, count in out.met.items() if count} == KNOBS.keys() | OF_PAGES.keys()
    assert [run.verdict.verdict for run in out.runs] == ["incomplete", "complete"]
    assert_archive_is_true(out.our.krosai, out.our.archive, DAY)
    # What is safe after the first run is fetched no second time.
    assert set(out.our.krosai.counters()["downloads_by_call"].values()) == {1}
