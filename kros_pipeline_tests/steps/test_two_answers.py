"""That a call has no recording, or no transcript, is final once upstream has said so twice, 20 hours apart."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest

from kros_pipeline.core.clock import Clock
from kros_pipeline.core.errors import TooManyRequests
from kros_pipeline.core.statuses import DayVerdict
from kros_pipeline.core.transcripts import is_whole
from kros_pipeline.sandbox import Fault, Faults
from kros_pipeline.sandbox.mp3 import mp3_audio
from kros_pipeline.source.call_source import ListedCall, RecordingAnswer, TranscriptAnswer, Window
from kros_pipeline.steps.reconciliation import ReconciliationResult
from kros_pipeline_tests.support.accounts import (
    AFTER_GRACE,
    DAY,
    LAST_CHANCE,
    PLAIN,
    VARIED,
    WITHIN_GRACE,
    Account,
    MakeAccount,
)
from kros_pipeline_tests.support.archive_check import as_stored, assert_archive_is_true, completed_of, table_key
from kros_pipeline_tests.support.fake_call_source import FakeCall, FakeCallSource
from kros_pipeline_tests.support.steps import archive_recordings, find_backlog, list_calls

APART, SECOND = timedelta(hours=20), timedelta(seconds=1)
GRACE_ENDS = datetime(2025, 1, 14, tzinfo=UTC)
# No call has a recording or a transcript before `release_late`.
SILENT = replace(PLAIN, days={"2025-01-10": 3}, audio_seconds=(12, 14), late_share=1.0)
HIDING = replace(VARIED, days={"2025-01-10": 60}, audio_seconds=(1, 2), longest_transcript_characters=2_000)
ONCE = (
    "Upstream has said once that there is none, of 3 recordings and 3 transcripts: nothing is to do. A second answer "
    "settles them, from 2025-01-20 20:00 UTC on, or when upstream is about to delete the day."
)


def asked(our: Account) -> tuple[int, int]:
    """How often upstream was asked for a recording, and for a transcript."""
    routes = our.requests()
    return routes.get("recording", 0), routes.get("transcript", 0)


def statuses(our: Account) -> tuple[set[str], set[str]]:
    recordings, transcripts = (our.archive.by_call(name, DAY) for name in ("recordings", "transcripts"))
    return {row["status"] for row in recordings.values()}, {row["status"] for row in transcripts.values()}


def reasons(our: Account) -> list[str]:
    return [row["reason"] for row in our.archive.table("recordings", DAY)]


def run(our: Account, at: datetime, **settings: str) -> ReconciliationResult:
    our.now = at
    return our.run_day(**settings)


class HidingSource(FakeCallSource):
    """A source whose list hides recordings and texts, or whole calls, while upstream still has them."""

    def __init__(self, calls: Iterable[FakeCall], clock: Clock) -> None:
        super().__init__(calls, clock)
        self.hidden: set[str] = set()
        self.unlisted: set[str] = set()
        self.ends: dict[str, datetime] = {}
        self.asked: Counter[str] = Counter()
        self.is_out_of_requests = False
        self.is_volatile = False  # a field of the rows changes with every listing

    def give(self, call_id: str) -> None:
        """Let a call have a recording and a transcript from now on."""
        call = self.calls[call_id]
        call.audio, call.transcript = bytes(mp3_audio(1, call_id, 50)), "[Caller]: Hello"
        call.duration_seconds = 50 * 0.024

    def recording(self, call_id: str) -> RecordingAnswer:
        if self.is_out_of_requests:
            raise TooManyRequests("the quota is used up")
        self.asked["recording"] += 1
        return super().recording(call_id)

    def transcript(self, call_id: str) -> TranscriptAnswer:
        self.asked["transcript"] += 1
        return super().transcript(call_id)

    def _completed(self, window: Window | None) -> list[FakeCall]:
        return [call for call in super()._completed(window) if call.call_id not in self.unlisted]

    def _list(self, call: FakeCall) -> ListedCall:
        listed = super()._list(call)
        changes: dict[str, Any] = {"completed_at": self.ends.get(call.call_id)}
        if self.is_volatile:
            changes["extra"] = json.dumps({"seen_at": listed.call.listed_at.isoformat()})
        if call.call_id not in self.hidden:
            return replace(listed, call=replace(listed.call, **changes))
        changes |= {"has_recording": False, "listed_transcript": None}
        return ListedCall(replace(listed.call, **changes), None)


def use_fake_source(our: Account, *call_ids: str) -> HidingSource:
    """Put a source in memory in the place of the simulator, with calls of noon that nothing was recorded of."""
    noon = datetime.combine(DAY, time(12), UTC)
    our.ctx.source.close()
    our.ctx.source = source = HidingSource([FakeCall(call_id, noon) for call_id in call_ids], our.clock)
    return source


# The usual story, and what it costs.


def test_a_nightly_list_and_one_request_after_the_grace_days_settle_a_day(memory_account: MakeAccount) -> None:
    our = memory_account(SILENT, now=WITHIN_GRACE)
    for look in range(4):
        assert run(our, WITHIN_GRACE + look * APART).verdict.verdict == DayVerdict.WAITING
        assert asked(our) == (0, 3)  # a text is asked for once, and no recording
        assert all(
            reason.startswith("the list shows none (first answer: 2025-01-11T04:15:00") for reason in reasons(our)
        )
    assert run(our, GRACE_ENDS).verdict.verdict == DayVerdict.COMPLETE
    assert asked(our) == (3, 6)
    assert statuses(our) == ({"not_recorded"}, {"none"})
    assert all("it answered twice" in reason for reason in reasons(our))
    run(our, GRACE_ENDS + timedelta(days=9))
    assert asked(our) == (3, 6)


def test_a_backfilled_day_waits_for_its_second_answer_which_costs_no_request(memory_account: MakeAccount) -> None:
    our = memory_account(SILENT)
    tables = [table_key(name, DAY) for name in ("recordings", "transcripts")]
    found = run(our, AFTER_GRACE)
    assert found.verdict.verdict == DayVerdict.WAITING and ONCE in found.verdict.problems
    assert asked(our) == (3, 3) and statuses(our) == ({"pending"}, {"pending"})
    assert all(
        reason.startswith("asked, upstream has none (first answer: 2025-01-20T00:00:00") for reason in reasons(our)
    )
    before = [our.archive.read(key) for key in tables]

    again = run(our, AFTER_GRACE + APART - SECOND)
    assert again.verdict.verdict == DayVerdict.WAITING and ONCE in again.verdict.problems
    assert asked(our) == (3, 3) and [our.archive.read(key) for key in tables] == before

    settled = run(our, AFTER_GRACE + APART)
    assert (settled.verdict.verdict, settled.verdict.problems) == (DayVerdict.COMPLETE, [])
    assert asked(our) == (3, 3) and statuses(our) == ({"not_recorded"}, {"none"})


@pytest.mark.parametrize("first_run", [timedelta(0), timedelta(hours=4, minutes=15)], ids=str)
def test_without_grace_days_a_day_takes_two_answers_too(memory_account: MakeAccount, first_run: timedelta) -> None:
    our = memory_account(SILENT, KROS_LOOKBACK_DAYS="0")
    at = datetime(2025, 1, 11, tzinfo=UTC) + first_run
    assert run(our, at).verdict.verdict == DayVerdict.WAITING
    assert run(our, at + APART - SECOND).verdict.verdict == DayVerdict.WAITING
    assert run(our, at + APART).verdict.verdict == DayVerdict.COMPLETE
    assert asked(our) == (3, 3) and statuses(our) == ({"not_recorded"}, {"none"})


# What the first answer must not hide.


def test_what_the_list_hides_and_a_request_shows_is_archived_by_the_first_run(memory_account: MakeAccount) -> None:
    our = memory_account(HIDING)
    truth = completed_of(our.krosai, DAY).values()
    hidden = [call for call in truth if call["listed_recording"] != "url"]
    assert any(call["recorded"] for call in hidden) and not all(call["recorded"] for call in hidden)
    run(our, AFTER_GRACE)
    for call in truth:
        recording, text = (our.archive.by_call(name, DAY)[call["id"]] for name in ("recordings", "transcripts"))
        assert recording["status"] == ("archived" if call["recorded"] else "pending")
        assert text["status"] == ("pending" if call["transcript"] is None else "kept")
    assert asked(our)[0] == len(hidden)
    before = asked(our)
    run(our, AFTER_GRACE + APART)
    assert asked(our) == before
    assert_archive_is_true(our.krosai, our.archive, DAY)


@pytest.mark.parametrize("within_hours", [1, 20])
def test_what_appears_between_the_answers_is_archived(memory_account: MakeAccount, within_hours: int) -> None:
    our = memory_account(SILENT, fresh=True)
    run(our, AFTER_GRACE)
    our.krosai.release_late()
    assert run(our, AFTER_GRACE + timedelta(hours=within_hours)).verdict.verdict == DayVerdict.COMPLETE
    assert asked(our) == (3, 3)  # the list shows them
    assert_archive_is_true(our.krosai, our.archive, DAY)


def test_a_wrong_404_for_a_shortened_text_is_not_final(memory_account: MakeAccount) -> None:
    our = memory_account(HIDING)
    truth = completed_of(our.krosai, DAY)
    our.krosai.set_faults(Faults(api_gateway=Fault(routes=("recording", "transcript"), value="404 NOT_FOUND")))
    found = run(our, AFTER_GRACE)
    assert found.verdict.verdict == DayVerdict.WAITING
    poor = [row["call_id"] for row in our.archive.table("calls", DAY) if is_poor(row["listed_transcript"])]
    assert poor and {our.archive.by_call("transcripts", DAY)[call_id]["status"] for call_id in poor} == {"pending"}
    our.krosai.set_faults(Faults())
    run(our, AFTER_GRACE + APART)
    texts = our.archive.by_call("transcripts", DAY)
    assert [texts[call_id]["text"] for call_id in poor] == [as_stored(truth[call_id]["transcript"]) for call_id in poor]


def test_a_shortened_text_is_kept_only_after_two_answers(memory_account: MakeAccount) -> None:
    our = memory_account(HIDING)
    our.krosai.set_faults(Faults(api_gateway=Fault(routes=("transcript",), value="404 NOT_FOUND")))
    run(our, AFTER_GRACE)
    once = asked(our)[1]
    run(our, AFTER_GRACE + APART - SECOND)
    texts = our.archive.by_call("transcripts", DAY)
    listed = {row["call_id"]: row["listed_transcript"] for row in our.archive.table("calls", DAY)}
    poor = [call_id for call_id, text in listed.items() if is_poor(text)]
    assert poor and {texts[call_id]["status"] for call_id in poor} == {"pending"} and asked(our)[1] == once
    run(our, AFTER_GRACE + APART)
    texts = our.archive.by_call("transcripts", DAY)
    assert {(texts[call_id]["status"], texts[call_id]["source"]) for call_id in poor} == {("kept", "list")}
    assert [texts[call_id]["text"] for call_id in poor] == [listed[call_id] for call_id in poor]
    assert asked(our)[1] == once + len(poor)  # where the list shows no text, its row is the second answer


def is_poor(text: str | None) -> bool:
    return bool(text) and not is_whole(text)


# What a run cannot try.


def test_a_run_without_requests_left_keeps_the_first_answer(memory_account: MakeAccount) -> None:
    our = memory_account(SILENT)
    list_calls(our.ctx, DAY)
    archive_recordings(our.open(KROSAI_REQUESTS_PER_RUN="1"), DAY)
    assert sorted("not tried" in reason for reason in reasons(our)) == [False, True, True]
    assert all("(first answer: 2025-01-20T00:00:00+00:00)" in reason for reason in reasons(our))

    our.now += APART
    list_calls(our.ctx, DAY)
    archive_recordings(our.ctx, DAY)
    assert statuses(our)[0] == {"not_recorded"}  # the list was the first answer of those that were not tried
    assert asked(our)[0] == 3


def test_a_quota_that_ends_before_a_second_request_keeps_the_first_answer(memory_account: MakeAccount) -> None:
    our = memory_account(now=AFTER_GRACE)
    source = use_fake_source(our, "call_a")
    our.run_day()
    source.unlisted.add("call_a")
    our.now += APART
    source.is_out_of_requests = True
    archive_recordings(our.ctx, DAY)
    [reason] = reasons(our)
    assert reason.startswith("asked, upstream has none (first answer: 2025-01-20T00:00:00") and "not tried" in reason
    source.is_out_of_requests = False
    list_calls(our.ctx, DAY)
    archive_recordings(our.ctx, DAY)
    assert statuses(our)[0] == {"not_recorded"} and source.asked["recording"] == 2


def test_a_request_that_failed_is_no_answer_and_the_first_answer_stays(memory_account: MakeAccount) -> None:
    our = memory_account(SILENT, now=WITHIN_GRACE)
    our.run_day()
    our.krosai.set_faults(Faults(api_gateway=Fault(routes=("recording",), value="404 html")))
    assert run(our, GRACE_ENDS).verdict.verdict == DayVerdict.INCOMPLETE
    assert statuses(our)[0] == {"failed"}
    our.krosai.set_faults(Faults())
    assert run(our, GRACE_ENDS + timedelta(hours=1)).verdict.verdict == DayVerdict.COMPLETE
    assert statuses(our)[0] == {"not_recorded"}


def test_a_request_that_fails_now_and_then_does_not_begin_the_wait_anew(memory_account: MakeAccount) -> None:
    our = memory_account(SILENT)
    run(our, AFTER_GRACE)
    our.krosai.set_faults(Faults(api_gateway=Fault(routes=("recording",), value="403 html")))
    our.archive.delete(f"state/listings/dt={DAY}.json")  # so that the list's row is no second answer
    our.now = AFTER_GRACE + APART
    archive_recordings(our.ctx, DAY)
    assert statuses(our)[0] == {"failed"} and all("(first answer: 2025-01-20T00:00:00" in text for text in reasons(our))
    our.krosai.set_faults(Faults())
    archive_recordings(our.ctx, DAY)
    assert statuses(our)[0] == {"not_recorded"}


@pytest.mark.parametrize("status", ["failed", "refused"])
def test_a_run_that_did_not_ask_keeps_an_earlier_runs_failure(memory_account: MakeAccount, status: str) -> None:
    our = memory_account(SILENT)
    run(our, AFTER_GRACE)
    our.archive.rewrite(
        "recordings", DAY, lambda rows: [row | {"status": status, "reason": "status 500"} for row in rows]
    )
    archive_recordings(our.open(KROSAI_REQUESTS_PER_RUN="1"), DAY)
    assert Counter(row["status"] for row in our.archive.table("recordings", DAY)) == {status: 2, "pending": 1}


# The last chance, and retention that is over.


def test_one_answer_settles_a_day_that_upstream_is_about_to_delete(memory_account: MakeAccount) -> None:
    our = memory_account(SILENT)
    found = run(our, LAST_CHANCE)
    assert (found.verdict.verdict, found.verdict.problems) == (DayVerdict.COMPLETE, [])
    assert statuses(our) == ({"not_recorded"}, {"none"}) and asked(our) == (3, 3)
    assert all(reason.startswith("answered once: upstream has none, and less than 48 hours") for reason in reasons(our))


def test_a_day_that_waits_for_a_second_answer_is_asked_once_more_when_its_last_chance_begins(
    memory_account: MakeAccount,
) -> None:
    our = memory_account(SILENT)
    begins = datetime(2025, 4, 8, tzinfo=UTC)
    assert run(our, begins - SECOND).verdict.verdict == DayVerdict.WAITING
    assert run(our, begins).verdict.verdict == DayVerdict.COMPLETE
    assert asked(our) == (6, 6) and all(reason.startswith("answered once") for reason in reasons(our))


@pytest.mark.parametrize(
    ("is_other_recorded", "status", "verdict"),
    [(False, "lost", DayVerdict.INCOMPLETE), (True, "not_recorded", DayVerdict.COMPLETE)],
    ids=["no recording of the day", "another one is listed"],
)
def test_one_answer_is_named_as_such_where_retention_is_over(
    memory_account: MakeAccount, is_other_recorded: bool, status: str, verdict: DayVerdict
) -> None:
    our = memory_account(now=datetime(2025, 4, 10, tzinfo=UTC))
    source = use_fake_source(our, "call_a", "call_b")
    if is_other_recorded:
        source.give("call_b")
    assert our.run_day().verdict.verdict == verdict
    row = our.archive.by_call("recordings", DAY)["call_a"]
    assert row["status"] == status and row["reason"].startswith("answered once: upstream")


# Settled calls.


def test_a_settled_call_costs_no_request_and_is_asked_again_when_the_list_shows_something(
    memory_account: MakeAccount,
) -> None:
    our = memory_account(SILENT, fresh=True)
    run(our, AFTER_GRACE)
    run(our, AFTER_GRACE + APART)
    assert statuses(our) == ({"not_recorded"}, {"none"})
    our.krosai.reset_counters()
    for days in (1, 2, 30):
        run(our, AFTER_GRACE + APART + timedelta(days=days))
    assert asked(our) == (0, 0)
    our.krosai.release_late()
    run(our, LAST_CHANCE)
    assert_archive_is_true(our.krosai, our.archive, DAY)


# Lists that the simulator cannot show.


def test_a_call_that_the_list_no_longer_shows_is_asked_for_twice(memory_account: MakeAccount) -> None:
    our = memory_account()
    source = use_fake_source(our, "call_a", "call_b")
    run(our, AFTER_GRACE)
    source.unlisted = {"call_a"}
    run(our, AFTER_GRACE + APART - SECOND)
    assert source.asked == Counter(recording=2, transcript=2)
    assert run(our, AFTER_GRACE + APART).verdict.verdict == DayVerdict.COMPLETE
    assert source.asked == Counter(recording=3, transcript=3)
    assert statuses(our) == ({"not_recorded"}, {"none"})


def test_a_late_recording_of_a_call_that_the_list_no_longer_shows_is_archived(memory_account: MakeAccount) -> None:
    our = memory_account()
    source = use_fake_source(our, "call_a")
    source.hidden = {"call_a"}
    run(our, AFTER_GRACE)
    assert statuses(our) == ({"pending"}, {"pending"})
    source.give("call_a")
    source.unlisted = {"call_a"}
    assert run(our, AFTER_GRACE + APART).verdict.verdict == DayVerdict.COMPLETE
    assert statuses(our) == ({"archived"}, {"kept"})
    assert source.asked == Counter(recording=2, transcript=2)


def test_a_list_that_was_not_proved_is_no_answer(memory_account: MakeAccount) -> None:
    our = memory_account(SILENT)
    run(our, AFTER_GRACE)
    our.krosai.set_faults(Faults(list_total_wrong=Fault()))
    assert run(our, AFTER_GRACE + APART).verdict.verdict == DayVerdict.INCOMPLETE
    assert asked(our) == (6, 6) and statuses(our) == ({"not_recorded"}, {"none"})


def test_rows_that_change_with_every_listing_do_not_postpone_the_second_answer(memory_account: MakeAccount) -> None:
    our = memory_account()
    source = use_fake_source(our, "call_a")
    source.is_volatile = True
    listed_at = []
    for hours in (0, 7, 14, 19):
        assert run(our, AFTER_GRACE + timedelta(hours=hours)).verdict.verdict == DayVerdict.WAITING
        listed_at += [row["listed_at"] for row in our.archive.table("calls", DAY)]
    assert len(set(listed_at)) == 4
    assert run(our, AFTER_GRACE + APART).verdict.verdict == DayVerdict.COMPLETE
    assert source.asked == Counter(recording=1, transcript=1)


def test_an_answer_before_the_end_of_the_call_does_not_count(memory_account: MakeAccount) -> None:
    our = memory_account(KROS_LOOKBACK_DAYS="0")
    source = use_fake_source(our, "call_a")
    first_run = datetime(2025, 1, 11, 4, 15, tzinfo=UTC)
    source.ends["call_a"] = first_run + timedelta(hours=3)
    assert run(our, first_run).verdict.verdict == DayVerdict.WAITING
    assert run(our, first_run + APART).verdict.verdict == DayVerdict.WAITING
    assert run(our, first_run + 2 * APART).verdict.verdict == DayVerdict.COMPLETE
    assert statuses(our) == ({"not_recorded"}, {"none"})


def test_a_call_that_ends_in_the_far_future_is_settled_all_the_same(memory_account: MakeAccount) -> None:
    our = memory_account()
    source = use_fake_source(our, "call_a")
    source.ends["call_a"] = datetime(2125, 1, 1, tzinfo=UTC)
    run(our, AFTER_GRACE)
    assert run(our, AFTER_GRACE + APART).verdict.verdict == DayVerdict.COMPLETE


def test_a_text_that_is_refused_when_its_second_answer_is_due_needs_a_person_and_is_due_at_once(
    memory_account: MakeAccount,
) -> None:
    our = memory_account(SILENT, fresh=True)
    run(our, WITHIN_GRACE)
    our.krosai.set_faults(Faults(api_gateway=Fault(routes=("transcript",), value="403 html")))
    problems = " ".join(run(our, AFTER_GRACE).row["problems"])
    assert "upstream has not answered for the pending transcripts" in problems
    assert "of 3 transcripts" not in problems and find_backlog(our.ctx, DAY, DAY) == [DAY]
