"""Transcripts: the list's text where it will do, upstream's answer where it will not, and nobody asked twice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kros_pipeline.core.errors import ApiUnauthorized, TooManyRequests
from kros_pipeline.core.transcripts import is_whole
from kros_pipeline.sandbox import Fault, Faults
from kros_pipeline.steps.report import Report
from kros_pipeline_tests.support.accounts import (
    AFTER_GRACE,
    DAY,
    LAST_CHANCE,
    UNTIL_SECOND_ANSWER,
    VARIED,
    WITHIN_GRACE,
    Account,
    MakeAccount,
    faults_by_name,
)
from kros_pipeline_tests.support.archive_check import as_stored, assert_nothing_is_false, completed_of, table_key
from kros_pipeline_tests.support.steps import fetch_transcripts, list_calls, split_utterances

MANY = replace(VARIED, days={"2025-01-10": 260}, audio_seconds=(1, 2), longest_transcript_characters=5_000)
KINDS = {"whole", "shortened", "shortened…", "unlabelled", "null", "absent"}


def listed(our: Account) -> Account:
    list_calls(our.ctx, DAY)
    our.krosai.reset_counters()
    return our


def keep(our: Account, **settings: str) -> Report:
    report = fetch_transcripts(our.open(**settings) if settings else our.ctx, DAY)
    split_utterances(our.ctx, DAY)
    return report


def asked(our: Account) -> int:
    return our.requests().get("transcript", 0)


def rows(our: Account) -> dict[str, dict[str, Any]]:
    return our.archive.by_call("transcripts", DAY)


def list_will_do(call: dict[str, Any]) -> bool:
    """Whether the list shows the whole, labelled text."""
    return call["listed_transcript"] == "whole" and is_whole(call["transcript"])


# What the list shows × what upstream answers × when × which details are wanted.
@pytest.mark.parametrize("details", ["missing", "always"])
@pytest.mark.parametrize(
    "now", [WITHIN_GRACE, AFTER_GRACE, LAST_CHANCE], ids=["within grace", "after grace", "last chance"]
)
def test_a_transcript_that_the_list_lacks_is_requested_once(account: MakeAccount, details: str, now: Any) -> None:
    our = listed(account(MANY, now=now, KROS_TRANSCRIPT_DETAILS=details))
    truth = completed_of(our.krosai, DAY)
    keep(our)
    got = rows(our)
    assert got.keys() == truth.keys()
    assert {call["listed_transcript"] for call in truth.values() if call["transcript"]} == KINDS
    to_ask, expected = 0, tuple[Any, ...]()
    for call_id, call in truth.items():
        row, by_list = got[call_id], list_will_do(call) and details == "missing"
        to_ask += not by_list
        if call["transcript"] is None:
            expected = ("none" if now == LAST_CHANCE else "pending", "call", None, None, None)
        elif by_list:
            expected = ("kept", "list", as_stored(call["transcript"]), None, None)
        else:
            expected = ("kept", "call", as_stored(call["transcript"]), call["language"], call["confidence"])
        assert tuple(row[name] for name in ("status", "source", "text", "language", "confidence")) == expected, call_id
    assert asked(our) == to_ask
    assert_nothing_is_false(our.krosai, our.archive, DAY)

    # Again: nobody is asked, and not a byte changes.
    before = our.archive.objects("tables/")
    our.krosai.reset_counters()
    keep(our)
    assert our.requests() == {} and our.archive.objects("tables/") == before


def test_a_missing_transcript_is_requested_once_more_after_the_grace_days_and_never_again(account: MakeAccount) -> None:
    our = listed(account(MANY, now=WITHIN_GRACE))
    silent = {call_id for call_id, call in completed_of(our.krosai, DAY).items() if call["transcript"] is None}
    keep(our)
    assert silent == {call_id for call_id, row in rows(our).items() if row["status"] == "pending"}
    our.now = AFTER_GRACE
    our.krosai.reset_counters()
    keep(our)
    assert asked(our) == len(silent)
    assert silent == {call_id for call_id, row in rows(our).items() if row["status"] == "none"}
    keep(our)
    assert asked(our) == len(silent)


@pytest.mark.parametrize("when", [WITHIN_GRACE, AFTER_GRACE], ids=["from the list", "by the last question"])
def test_late_transcripts_are_kept(account: MakeAccount, when: Any) -> None:
    our = listed(account(replace(MANY, days={"2025-01-10": 40}, late_share=0.5), now=WITHIN_GRACE, fresh=True))
    truth = completed_of(our.krosai, DAY)
    late = {call_id for call_id, call in truth.items() if call["late"]}
    keep(our)
    assert late and all(rows(our)[call_id]["status"] == "pending" for call_id in late)
    our.krosai.release_late()
    our.now = when
    if when == WITHIN_GRACE:
        list_calls(our.ctx, DAY)
    keep(our)
    for call_id in late:
        by_list = list_will_do(truth[call_id])
        expected = "kept" if truth[call_id]["transcript"] is not None else "pending" if when == WITHIN_GRACE else "none"
        if when == AFTER_GRACE or by_list or expected == "pending":
            assert rows(our)[call_id]["status"] == expected, call_id
    assert_nothing_is_false(our.krosai, our.archive, DAY)
    # What the list shows in part, or not at all, is taken by the question after the grace days at the latest.
    our.now = AFTER_GRACE
    keep(our)
    assert {row["status"] for row in rows(our).values()} <= {"kept", "none"}
    assert all((rows(our)[call_id]["text"] or "") == as_stored(truth[call_id]["transcript"] or "") for call_id in truth)


def test_the_lists_text_is_kept_where_upstream_has_no_better_one(account: MakeAccount) -> None:
    our = listed(account(MANY, now=WITHIN_GRACE))
    our.krosai.set_faults(Faults(api_error=Fault(routes=("transcript",), value=404)))
    keep(our)
    poor = {
        call_id: call["listed_transcript"]
        for call_id, call in our.archive.by_call("calls", DAY).items()
        if call["listed_transcript"] and not is_whole(call["listed_transcript"])
    }
    assert poor and all(rows(our)[call_id]["status"] == "pending" for call_id in poor)  # a better one may yet come
    our.now = AFTER_GRACE
    keep(our)
    for call_id, text in poor.items():
        assert (rows(our)[call_id]["status"], rows(our)[call_id]["source"], rows(our)[call_id]["text"]) == (
            "kept",
            "list",
            text,
        )
    before = asked(our)
    keep(our)
    assert asked(our) == before


def poor_of(our: Account) -> dict[str, str]:
    """The texts that the list shows shortened or without labels, by call."""
    return {
        call_id: call["listed_transcript"]
        for call_id, call in our.archive.by_call("calls", DAY).items()
        if call["listed_transcript"] and not is_whole(call["listed_transcript"])
    }


@pytest.mark.parametrize(
    "value", ["403 html", "403 FORBIDDEN", "404 html", "404 message", "410 empty", "302 html", "400 BAD", "200 BUSY"]
)
def test_a_refusal_never_makes_a_shortened_text_the_transcript(account: MakeAccount, value: str) -> None:
    our = listed(account(replace(MANY, days={"2025-01-10": 60})))
    truth = completed_of(our.krosai, DAY)
    our.krosai.set_faults(Faults(api_gateway=Fault(routes=("transcript",), value=value)))
    for _ in range(2):
        report = keep(our)
        poor = poor_of(our)
        assert poor and {rows(our)[call_id]["status"] for call_id in poor} == {"pending"}
        assert poor.keys() <= {call_id for call_id, _ in report.problems}
        assert not any(row["status"] == "none" for row in rows(our).values())
    our.krosai.set_faults(Faults())
    keep(our)
    assert {rows(our)[call_id]["text"] for call_id in poor} == {
        as_stored(truth[call_id]["transcript"]) for call_id in poor
    }
    assert_nothing_is_false(our.krosai, our.archive, DAY)


def test_a_day_whose_transcripts_are_refused_for_good_waits_and_says_so(account: MakeAccount) -> None:
    our = account(replace(MANY, days={"2025-01-10": 20}))
    our.krosai.set_faults(Faults(api_gateway=Fault(routes=("transcript",), value="403 html")))
    for _ in range(2):
        verdict = our.run_day().verdict
        assert verdict.verdict == "waiting"
        assert "upstream has not answered for the pending transcripts" in " ".join(verdict.problems)
    our.krosai.set_faults(Faults(api_gateway=Fault(routes=("transcript",), value="404 NOT_FOUND")))
    assert our.run_day().verdict.verdict == "waiting"  # upstream's own answer, for the first time
    our.now += UNTIL_SECOND_ANSWER
    assert our.run_day().verdict.verdict == "complete"
    assert all(rows(our)[call_id]["text"] == text for call_id, text in poor_of(our).items())


def test_a_text_that_the_list_begins_to_show_is_pending_until_upstream_answers(account: MakeAccount) -> None:
    our = listed(account(replace(MANY, days={"2025-01-10": 40}, late_share=1.0), now=LAST_CHANCE, fresh=True))
    keep(our)
    assert {row["status"] for row in rows(our).values()} == {"none"}
    our.krosai.release_late()
    list_calls(our.ctx, DAY)
    our.krosai.set_faults(Faults(api_gateway=Fault(routes=("transcript",), value="403 html")))
    keep(our)
    poor = poor_of(our)
    assert poor and {rows(our)[call_id]["status"] for call_id in poor} == {"pending"}
    our.krosai.set_faults(Faults())
    keep(our)
    assert {rows(our)[call_id]["status"] for call_id in poor} == {"kept"}


# Doors and faults: what was answered is kept, the rest is pending, and the next run goes on.


def test_a_quota_that_ends_in_the_middle_leaves_the_rest_pending(account: MakeAccount) -> None:
    our = listed(account(MANY, now=LAST_CHANCE))
    to_ask = {call_id for call_id, call in completed_of(our.krosai, DAY).items() if not list_will_do(call)}
    report = keep(our, KROSAI_REQUESTS_PER_RUN="7")
    assert isinstance(report.error, TooManyRequests) and report.counts["answered"] == asked(our) == 7
    pending = {call_id for call_id, row in rows(our).items() if row["status"] == "pending"}
    assert pending <= to_ask and len(pending) == len(to_ask) - 7
    keep(our)
    assert asked(our) == len(to_ask)  # each once, over both runs
    assert all(row["status"] in ("kept", "none") for row in rows(our).values())


@pytest.mark.parametrize(
    ("faults", "error", "most_asked"),
    [
        (Faults(api_key_refused=Fault(routes=("transcript",))), ApiUnauthorized, 8),
        (Faults(api_rate_limited=Fault(routes=("transcript",), value="3600")), TooManyRequests, 8),
    ],
    ids=["key", "quota"],
)
def test_a_refused_key_or_a_used_quota_stops_further_requests(
    account: MakeAccount, faults: Faults, error: type, most_asked: int
) -> None:
    our = listed(account(MANY))
    our.krosai.set_faults(faults)
    report = keep(our)
    assert isinstance(report.error, error)
    assert asked(our) <= most_asked  # one for each worker that had begun
    assert all(row["status"] in ("kept", "pending") for row in rows(our).values())
    assert_nothing_is_false(our.krosai, our.archive, DAY)


@pytest.mark.parametrize("attempts", [1, None], ids=["first attempt", "every attempt"])
@pytest.mark.parametrize("knob", ["api_error", "api_reset"])
def test_a_fault_of_one_call_affects_no_other_call(account: MakeAccount, knob: str, attempts: int | None) -> None:
    our = listed(account(MANY, now=LAST_CHANCE))
    truth = completed_of(our.krosai, DAY)
    hit = sorted(call_id for call_id, call in truth.items() if not list_will_do(call) and call["transcript"])[:3]
    our.krosai.set_faults(faults_by_name({knob: Fault(calls=tuple(hit), routes=("transcript",), attempts=attempts)}))
    report = keep(our)
    assert report.error is None
    assert {call_id for call_id, row in rows(our).items() if row["status"] == "pending"} == set(
        hit if attempts is None else ()
    )
    assert sorted(call_id for call_id, _ in report.problems) == (hit if attempts is None else [])
    our.krosai.set_faults(Faults())
    keep(our)
    assert all(rows(our)[call_id]["text"] == as_stored(truth[call_id]["transcript"]) for call_id in hit)


def test_utterances_are_a_pure_function_of_the_texts(s3_account: MakeAccount) -> None:
    our = listed(s3_account(MANY))
    keep(our)
    before = our.archive.objects("tables/")
    our.krosai.reset_counters()
    our.archive.delete(table_key("utterances", DAY))
    report = split_utterances(our.ctx, DAY)
    assert our.archive.objects("tables/") == before  # made anew: the same bytes
    assert our.requests() == {}
    assert report.counts["utterances"] == len(our.archive.table("utterances", DAY))
