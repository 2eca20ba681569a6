"""Calls that come to the list after `calls` has read it are noticed where the list is read for fresh URLs."""

from __future__ import annotations

import itertools

import pytest

from kros_pipeline.sandbox import SandboxConfig
from kros_pipeline_tests.support.accounts import DAY, LAST_CHANCE, Account, MakeAccount
from kros_pipeline_tests.support.steps import (
    archive_recordings,
    extend_retention,
    fetch_transcripts,
    flag_calls,
    list_calls,
    reconcile_day,
    split_utterances,
)

_seeds = itertools.count(7_000)
_REST = (archive_recordings, fetch_transcripts, split_utterances, flag_calls, extend_retention)


@pytest.fixture
def our(memory_account: MakeAccount) -> Account:
    config = SandboxConfig(
        seed=next(_seeds), days={"2025-01-10": 4, "2025-01-11": 2}, variety=False, audio_seconds=(12, 14)
    )
    return memory_account(config, now=LAST_CHANCE, fresh=True, KROS_ERASURE_KEY="k" * 32)


def test_a_day_waits_for_a_call_that_completed_after_the_list_was_read(our: Account) -> None:
    list_calls(our.ctx, DAY)
    late = our.krosai.add_call("2025-01-10T12:00:00Z", recorded=False)
    for step in _REST:
        step(our.ctx, DAY)
    verdict = reconcile_day(our.ctx, DAY).verdict
    assert (verdict.verdict, verdict.problems) == (
        "waiting",
        ["1 calls came to the list after it was read: materialize the whole day."],
    )
    assert our.run_day().verdict.verdict == "complete"
    assert late in our.archive.by_call("calls", DAY)


def test_a_call_that_another_day_keeps_comes_not_late(our: Account) -> None:
    call_id = our.krosai.add_call("2025-01-11T00:30:00Z")
    our.run_day(DAY.replace(day=11))
    our.krosai.move_call(call_id, -3_600)
    assert our.run_day().verdict.verdict == "complete"
    assert our.reports["archive_recordings"].counts["late_calls"] == 0


def test_an_erased_call_comes_not_late(our: Account) -> None:
    list_calls(our.ctx, DAY)
    [erased, *_] = sorted(our.archive.by_call("calls", DAY))
    our.ctx.tombstones.claim_key()
    our.ctx.tombstones.add_call(DAY, erased)
    assert our.run_day().verdict.verdict == "complete"
    assert our.reports["archive_recordings"].counts["late_calls"] == 0
