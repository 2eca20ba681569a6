"""Calls that come to the list after `calls` has read it are noticed where the list is read for fresh URLs."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta
from typing import Any

import pytest

from kros_pipeline.archive.object_store import VersionToken
from kros_pipeline.core.days import grace_ends_at
from kros_pipeline.sandbox import SandboxConfig
from kros_pipeline.steps.late_calls import note_late_calls
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


def note(our: Account) -> None:
    """Note one late call, as a run does that lists the day for fresh URLs."""
    ctx = our.open()
    note_late_calls(DAY, {"call_late"}, store=ctx.store, tables=ctx.tables, tombstones=ctx.tombstones)


@pytest.mark.parametrize("is_listed", [False, True], ids=["without a listing", "with a listing"])
@pytest.mark.parametrize("noted_before", [0, 1])
def test_what_is_noted_while_another_run_reads_the_list_stays(our: Account, noted_before: int, is_listed: bool) -> None:
    if is_listed:
        list_calls(our.ctx, DAY)
    for _ in range(noted_before):
        note(our)
    our.now += timedelta(seconds=1)
    ctx, left = our.open(), [True]
    put = ctx.store.put

    def put_late(key: str, *arguments: Any, **named: Any) -> VersionToken:
        if left and key.startswith("state/listings/"):
            left.clear()
            note(our)
        return put(key, *arguments, **named)

    ctx.store.put = put_late  # type: ignore[method-assign]
    sentence = "1 calls came to the list after it was read: materialize the whole day."
    assert list_calls(ctx, DAY)[1].pending == [sentence]
    assert list_calls(our.open(), DAY)[1].pending == []  # this one has read it since


def test_what_is_noted_after_another_runs_listing_stays(our: Account) -> None:
    """Both runs read what was noted before; the other one settles it, and notes another call."""
    list_calls(our.ctx, DAY)
    note(our)
    ctx, left = our.open(), [True]
    put = ctx.store.put

    def put_late(key: str, *arguments: Any, **named: Any) -> VersionToken:
        if left and key.startswith("state/listings/"):
            left.clear()
            our.now += timedelta(seconds=1)
            list_calls(our.open(), DAY)
            note(our)
        return put(key, *arguments, **named)

    ctx.store.put = put_late  # type: ignore[method-assign]
    assert len(list_calls(ctx, DAY)[1].pending) == 1


def test_a_list_whose_reading_began_within_the_grace_days_is_read_again(
    our: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    ctx = our.open()
    ends_at = grace_ends_at(DAY, ctx.settings.lookback_days)
    our.now = began_at = ends_at - timedelta(minutes=1)
    pages, times = ctx.source.pages, []

    def slow(*arguments: Any, **named: Any) -> Any:
        our.now = ends_at + timedelta(minutes=1)
        times.append(our.now)
        return pages(*arguments, **named)

    monkeypatch.setattr(ctx.source, "pages", slow)
    _, listing = list_calls(ctx, DAY)
    assert times and datetime.fromisoformat(listing.listed_at) == began_at
    assert datetime.fromisoformat(listing.read_until) == times[-1]
    for step in _REST:
        step(our.open(), DAY)
    verdict = reconcile_day(our.open(), DAY).verdict
    assert (verdict.verdict, verdict.problems[0]) == (
        "waiting",
        "The list was last read before late calls could come: materialize the whole day.",
    )
