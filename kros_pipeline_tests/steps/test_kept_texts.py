"""Kept texts: cut ones are found by facts, longer ones replace them, and no answer is thrown away."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

from kros_pipeline.core.object_keys import other_answers_prefix
from kros_pipeline.core.statuses import DayVerdict
from kros_pipeline.core.transcript_changes import LACKS_WORDS, NOT_UNDERSTOOD, OTHER_TEXT
from kros_pipeline.operations.erasure_request import ErasureRequest
from kros_pipeline.sandbox.mp3 import mp3_audio
from kros_pipeline.source.call_parsing import parse_transcript_answer
from kros_pipeline.source.call_source import ListedCall, TranscriptAnswer
from kros_pipeline_tests.support.accounts import AFTER_GRACE, DAY, PLAIN, WITHIN_GRACE, Account, MakeAccount
from kros_pipeline_tests.support.fake_call_source import FakeCall, FakeCallSource
from kros_pipeline_tests.support.steps import erase_calls

FEW = replace(PLAIN, days={"2025-01-10": 3}, audio_seconds=(1, 2))
LONG = "[Agent]: " + " ".join(f"word{number}" for number in range(150)) + "\n[Caller]: " + "yes " * 50


class Texts(FakeCallSource):
    """A source whose list and whose answers about one call may show different texts."""

    def __init__(self, our: Account) -> None:
        super().__init__([], our.clock)
        self.listed: dict[str, str | None] = {}
        self.answers: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []

    def show(self, call_id: str, listed: str | None, **answer: Any) -> None:
        """Show a text in the list, and answer with these fields."""
        audio = bytes(mp3_audio(1, call_id, 50))
        self.calls[call_id] = FakeCall(call_id, datetime.combine(DAY, time(12), UTC), audio, duration_seconds=1.2)
        self.listed[call_id], self.answers[call_id] = listed, answer

    def transcript(self, call_id: str) -> TranscriptAnswer:
        self.asked.append(call_id)
        return parse_transcript_answer(self.answers[call_id]) if self.answers[call_id] else super().transcript(call_id)

    def _list(self, call: FakeCall) -> ListedCall:
        listed = super()._list(call)
        return replace(listed, call=replace(listed.call, listed_transcript=self.listed[call.call_id]))


def texts(our: Account) -> Texts:
    our.ctx.source.close()
    our.ctx.source = source = Texts(our)
    return source


def row(our: Account, call_id: str = "a") -> dict[str, Any]:
    return our.archive.by_call("transcripts", DAY)[call_id]


def others(our: Account) -> list[dict[str, Any]]:
    """The answers that are kept beside the table."""
    return [json.loads(our.archive.read(key)) for key in our.archive.objects(other_answers_prefix(DAY))]


def speech(our: Account) -> list[tuple[str, str]]:
    return [(turn["speaker"], turn["text"]) for turn in our.archive.table("utterances", DAY)]


def test_texts_that_are_all_cut_at_one_length_are_asked_for_once(memory_account: MakeAccount) -> None:
    our = memory_account(FEW)
    source = texts(our)
    whole = {name: LONG.replace("word1", f"{name * 4}1") for name in "abc"}
    for name, text in whole.items():
        source.show(name, text[:437], transcript=text, word_count=len(text.split()))
    source.show("d", "[Agent]: short\n[Caller]: and whole", transcript="never asked for")
    our.run_day()
    assert sorted(source.asked) == ["a", "b", "c"]
    assert {name: row(our, name)["text"] for name in "abc"} == whole and row(our, "d")["source"] == "list"
    our.run_day()
    assert len(source.asked) == 3


def test_a_single_text_of_exactly_500_characters_is_compared_with_upstreams_answer(memory_account: MakeAccount) -> None:
    our = memory_account(FEW, now=WITHIN_GRACE)
    source = texts(our)
    source.show("a", LONG[:500])  # upstream has no text of its own yet
    our.run_day()
    assert (row(our)["text"], source.asked) == (LONG[:500], ["a"])
    our.run_day()
    assert source.asked == ["a"]
    source.show("a", LONG[:500], transcript=LONG)
    our.now = AFTER_GRACE  # it is asked about once more
    our.run_day()
    our.run_day()
    assert (row(our)["text"], row(our)["source"], source.asked) == (LONG, "call", ["a", "a"])


def test_marks_of_a_cut_that_an_older_version_did_not_know_are_asked_about_in_an_old_archive(
    memory_account: MakeAccount,
) -> None:
    our = memory_account(FEW)
    source = texts(our)
    cut = "[Agent]: Hello ... [truncated]"
    source.show("a", cut, transcript="[Agent]: Hello there, friend.\n[Caller] : Hi")
    our.run_day()
    assert (row(our)["text"], source.asked) == ("[Agent]: Hello there, friend.\n[Caller] : Hi", ["a"])
    assert speech(our) == [("agent", "Hello there, friend."), ("caller", "Hi")]


def test_a_longer_text_that_begins_with_the_kept_one_replaces_it(memory_account: MakeAccount) -> None:
    our = memory_account(FEW)
    source = texts(our)
    source.show("a", "[Agent]: Hello, who is there?")
    our.run_day()
    source.show("a", LONG.replace("[Agent]: ", "[Agent]: Hello, who is there? ", 1))
    our.now += timedelta(days=1)
    result = our.run_day()
    assert row(our)["text"] == source.listed["a"] and others(our) == [] and source.asked == []
    assert our.reports["fetch_transcripts"].counts["replaced_by_longer"] == 1
    assert result.verdict.verdict == DayVerdict.COMPLETE and speech(our)[1][0] == "caller"


def test_a_shorter_text_or_one_without_labels_changes_nothing(memory_account: MakeAccount) -> None:
    our = memory_account(FEW)
    source = texts(our)
    source.show("a", "[Agent]: Hello there.\n[Caller]: Hi. Bye.")
    our.run_day()
    before = our.archive.objects("tables/")
    for poorer in ("[Agent]: Hello there.", "Hello there. Hi...", None):
        source.show("a", poorer)
        our.run_day()
        assert row(our)["text"] == "[Agent]: Hello there.\n[Caller]: Hi. Bye." and others(our) == []
    assert source.asked == []
    assert our.archive.objects("tables/transcripts/").items() <= before.items()


def test_any_other_change_is_kept_beside_the_table_and_reported(memory_account: MakeAccount) -> None:
    our = memory_account(FEW)
    source = texts(our)
    source.show("a", "[Agent]: Hello.\n[Caller]: I will pay.")
    our.run_day()
    source.show("a", "[Agent]: Hello.\n[Caller]: I will not pay anything.")
    our.now += timedelta(days=1)
    for _ in range(2):
        result = our.run_day()
        assert row(our)["text"] == "[Agent]: Hello.\n[Caller]: I will pay." and row(our)["reason"] == OTHER_TEXT
        assert [other["answer"] for other in others(our)] == [source.listed["a"]]
        assert result.verdict.verdict == DayVerdict.COMPLETE
        assert f"1 × kept text: {OTHER_TEXT}." in result.verdict.problems
    before = our.archive.objects("tables/")
    our.run_day()
    assert our.archive.objects("tables/transcripts/").items() <= before.items()


def test_a_text_with_fewer_words_than_upstream_counts_is_kept_and_reported(memory_account: MakeAccount) -> None:
    our = memory_account(FEW)
    source = texts(our)
    source.show("a", None, transcript="[Agent]: " + "word " * 50, word_count=156)
    result = our.run_day()
    assert row(our)["status"] == "kept" and f"1 × kept text: {LACKS_WORDS}." in result.verdict.problems


def test_a_transcript_that_is_no_text_is_read_where_its_shape_is_clear(memory_account: MakeAccount) -> None:
    our = memory_account(FEW)
    source = texts(our)
    turns = [{"speaker": "agent", "text": "Hello"}, {"speaker": "user", "text": "Hi"}]
    answers: dict[str, dict[str, Any]] = {
        "a": {"transcript": turns},
        "b": {"transcript": {"text": "[Agent]: Hello\n[Caller]: Hi"}},
        "c": {"data": {"transcript": "[Agent]: Hello\n[Caller]: Hi", "word_count": 4, "language": "en"}},
        "d": {"turns": turns},
    }
    for name, answer in answers.items():
        source.show(name, None, **answer)
    assert our.run_day().verdict.verdict == DayVerdict.COMPLETE
    assert speech(our) == [("agent", "Hello"), ("caller", "Hi")] * 4
    assert row(our, "c")["language"] == "en"


def test_an_answer_that_is_not_understood_is_kept_and_makes_the_day_incomplete_after_the_grace_days(
    memory_account: MakeAccount,
) -> None:
    our = memory_account(FEW, now=WITHIN_GRACE)
    source = texts(our)
    answer = {"transcript": {"blocks": [[1, "Hello"]], "v": 7}}
    source.show("a", None, **answer)
    assert our.run_day().verdict.verdict == DayVerdict.WAITING
    our.now = AFTER_GRACE
    for _ in range(2):  # asked each time, and kept once
        result = our.run_day()
        assert result.verdict.verdict == DayVerdict.INCOMPLETE
        assert "1 × transcript in a form that is not understood" in " ".join(result.verdict.problems)
        assert (row(our)["status"], row(our)["reason"]) == ("pending", NOT_UNDERSTOOD)
        assert [json.loads(other["answer"]) for other in others(our)] == [answer]
    source.show("a", None, transcript="[Agent]: Hello")
    assert our.run_day().verdict.verdict == DayVerdict.COMPLETE and row(our)["reason"] is None


def test_the_days_problems_name_the_labels_that_are_not_known_and_no_speech(memory_account: MakeAccount) -> None:
    our = memory_account(FEW)
    source = texts(our)
    source.show("a", "[Agent]: a\n[Maria]: b\n[Supervisor]: c\n[Speaker 2]: d\n[my card is 4111 1111 1111]: e")
    problems = " ".join(our.run_day().verdict.problems)
    assert (
        "3 turns have a label that is neither the agent's nor the caller's: Maria (1), Speaker 2 (1), 1 more"
        in problems
    )
    assert "4111" not in problems and "Supervisor" not in problems


def test_labels_of_the_settings_name_the_two_roles(memory_account: MakeAccount) -> None:
    our = memory_account(FEW, KROS_AGENT_LABELS="Maria", KROS_CALLER_LABELS="Speaker 2")
    texts(our).show("a", "[Maria]: b\n[Speaker 2]: d")
    assert our.run_day().verdict.problems == [] and speech(our) == [("agent", "b"), ("caller", "d")]


def test_nothing_of_the_other_answers_of_an_erased_call_is_left(account: MakeAccount) -> None:
    key = "an erasure key of the tests, of more than 32 characters"
    our = account(FEW, bucket="plain", KROS_ERASURE_KEY=key)
    source = texts(our)
    for name in "ab":
        source.show(f"call_{name}", "[Agent]: Hello.", transcript="")
    our.run_day()
    for name in "ab":
        source.show(f"call_{name}", f"[Agent]: Another text of {name}.")
    our.now += timedelta(days=1)
    our.run_day()
    assert len(others(our)) == 2
    erase_calls(our.ctx, ErasureRequest(("call_a",), "", "request 1", False))
    assert [other["call_id"] for other in others(our)] == ["call_b"]
