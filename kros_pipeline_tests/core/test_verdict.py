"""A day is complete only where the source, the tables and the bucket agree."""

from collections import Counter
from dataclasses import fields, replace
from typing import Any

import pytest

from kros_pipeline.core.evidence import Evidence
from kros_pipeline.core.id_digests import digest_id, pack_digests
from kros_pipeline.core.listing import DIGEST_FIELDS, Listing
from kros_pipeline.core.statuses import DayVerdict
from kros_pipeline.core.verdict import (
    CALLS_CHECK,
    CHECKS,
    COUNTERS_CHECK,
    FORMAT_CHECK,
    HOLD_CHECK,
    OBJECTS_CHECK,
    RECORDINGS_CHECK,
    SHARED_CHECK,
    TRANSCRIPTS_CHECK,
    decide_verdict,
)

PROVED = Listing(proved=True, listed_total=3)
UNPROVED = Listing(proved=False, listed_total=3, problems=["The list is not proved (a to b): no total."])
NAMED = replace(PROVED, call_digests="AAAAAAAAAAA=")
CUT_SHORT = Listing(
    proved=False, listed_total=2, out_of_requests=True, problems=["The list was not read to its end: budget."]
)


def evidence(**changes: Any) -> Evidence:
    good = Evidence(
        listing=PROVED,
        calls=3,
        recordings=Counter(archived=2, not_recorded=1),
        transcripts=Counter(kept=2, none=1),
    )
    return replace(good, **changes)


# Complete.


@pytest.mark.parametrize(
    "changes",
    [
        {},
        # a day without calls
        {
            "listing": Listing(proved=True, listed_total=0),
            "calls": 0,
            "recordings": Counter(),
            "transcripts": Counter(),
        },
        # the table is a union: it may hold calls that the last list did not show
        {"calls": 4},
        {"unsafe": {"lost": [], "failed": [], "refused": []}},
    ],
)
def test_a_day_on_which_everything_agrees_is_complete(changes: dict[str, Any]) -> None:
    verdict = decide_verdict(evidence(**changes))
    assert (verdict.verdict, verdict.problems) == (DayVerdict.COMPLETE, [])
    assert verdict.failures == {check: [] for check in CHECKS}


def test_an_oddity_is_a_note_and_does_not_change_the_verdict() -> None:
    verdict = decide_verdict(evidence(listing=replace(PROVED, oddities=["the status filter is ignored"])))
    assert (verdict.verdict, verdict.problems) == (DayVerdict.COMPLETE, ["the status filter is ignored"])


# Waiting.


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"recordings": Counter(archived=1, pending=2)}, "2 recordings are pending."),
        ({"transcripts": Counter(kept=1, pending=2), "grace_is_over": False}, "2 transcripts are pending."),
        ({"listing": CUT_SHORT}, "The list was not read to its end: budget."),
    ],
)
def test_a_day_is_waiting_while_something_may_still_come_and_no_check_is_red(
    changes: dict[str, Any], sentence: str
) -> None:
    verdict = decide_verdict(evidence(**changes))
    assert (verdict.verdict, verdict.problems) == (DayVerdict.WAITING, [sentence])
    assert not any(verdict.failures.values())


# Incomplete.


@pytest.mark.parametrize(
    ("changes", "check", "sentence"),
    [
        # the list
        ({"listing": None}, CALLS_CHECK, "The day's calls were never listed: materialize `calls`."),
        ({"listing": UNPROVED}, CALLS_CHECK, "The list is not proved (a to b): no total."),
        ({"listing": replace(UNPROVED, problems=[])}, CALLS_CHECK, "The list is not proved."),
        ({"calls": 2}, CALLS_CHECK, "3 calls were listed, and the table `calls` has 2."),
        (
            {"listing": NAMED, "lost_calls": 3},
            CALLS_CHECK,
            "3 × call that was listed, and that the table `calls` has lost.",
        ),
        (
            {"unreadable_listing": "It cannot be read.", "listing": None},
            CALLS_CHECK,
            "It cannot be read.",
        ),
        ({"unreadable": ["tables/calls cannot be read."]}, CALLS_CHECK, "tables/calls cannot be read."),
        ({"missing_tables": ["calls"]}, CALLS_CHECK, "The table `calls` of the day is missing."),
        (
            {"recordings_without_call": ["a"]},
            CALLS_CHECK,
            "1 × row of `recordings` whose call the table `calls` does not have: a.",
        ),
        (
            {"transcripts_without_call": ["a"]},
            CALLS_CHECK,
            "1 × row of `transcripts` whose call the table `calls` does not have: a.",
        ),
        (
            {"listing": replace(PROVED, unparsed=["no id", "no time", "no id"])},
            CALLS_CHECK,
            "3 rows of the list are no calls, and are kept in state/unparsed/: 2 × no id; 1 × no time.",
        ),
        ({"listing": replace(CUT_SHORT, unparsed=["no id"])}, CALLS_CHECK, "1 rows of the list are no calls"),
        ({"calls_without_recording_row": ["b", "a"]}, CALLS_CHECK, "2 × call without a row in `recordings`: a, b."),
        ({"calls_without_transcript_row": ["a"]}, CALLS_CHECK, "1 × call without a row in `transcripts`: a."),
        (
            {"transcripts": Counter({"kept": 1, None: 2})},
            CALLS_CHECK,
            "2 × row of `transcripts` with no status that this version knows (none): materialize the whole day.",
        ),
        # the recordings
        *(
            ({"unsafe": {status: ["b", "a"]}}, RECORDINGS_CHECK, f"2 × recording {status}: a, b.")
            for status in ("lost", "failed", "refused")
        ),
        ({"objects_missing": ["k"]}, RECORDINGS_CHECK, "1 × archived recording that is not in the bucket: k."),
        (
            {"objects_of_other_size": ["k"]},
            RECORDINGS_CHECK,
            "1 × archived recording of another size in the bucket: k.",
        ),
        # the transcripts
        ({"texts_without_turns": ["a"]}, TRANSCRIPTS_CHECK, "1 × kept text without turns: a."),
        (
            {"texts_unlike_their_turns": ["a", "b"]},
            TRANSCRIPTS_CHECK,
            "2 × kept text whose turns are not as long as it is: a, b.",
        ),
        ({"turns_without_text": ["a"]}, TRANSCRIPTS_CHECK, "1 × call with turns and without a kept text: a."),
        # the bucket
        ({"objects_unknown": ["k"]}, OBJECTS_CHECK, "1 × object in the bucket that no row of the table names: k."),
    ],
)
@pytest.mark.parametrize("recordings", [Counter(archived=2, not_recorded=1), Counter(archived=1, pending=2)])
def test_any_mismatch_makes_the_day_incomplete_and_only_its_own_check_red(
    changes: dict[str, Any], check: str, sentence: str, recordings: Counter[str]
) -> None:
    verdict = decide_verdict(evidence(**changes, recordings=recordings))
    assert verdict.verdict == DayVerdict.INCOMPLETE
    assert [name for name, sentences in verdict.failures.items() if sentences] == [check]
    assert verdict.failures[check][0].startswith(sentence)
    assert verdict.problems[0] == verdict.failures[check][0]


def test_recordings_of_an_unknown_status_make_the_day_incomplete_and_their_statuses_are_named_redacted() -> None:
    statuses = {"archived": 1, "ARCHIVED": 1, "call +1 415 555 0100\n": 2, "x": 1, "y": 1, None: 1}
    verdict = decide_verdict(evidence(recordings=Counter(statuses)))
    assert verdict.verdict == DayVerdict.INCOMPLETE
    assert verdict.problems == [
        "6 × row of `recordings` with no status that this version knows ('ARCHIVED', 'call (number)', 'x', …): "
        "materialize the whole day."
    ]


def test_a_transcript_that_is_pending_after_the_grace_days_is_said_to_lack_an_answer() -> None:
    verdict = decide_verdict(evidence(transcripts=Counter(kept=1, pending=2), grace_is_over=True))
    assert verdict.verdict == DayVerdict.WAITING
    first, second = verdict.problems
    assert first == "2 transcripts are pending."
    assert second.startswith("The grace days are over, and upstream has not answered")
    recordings = decide_verdict(evidence(recordings=Counter(archived=1, pending=2), grace_is_over=True))
    assert recordings.problems == ["2 recordings are pending."]


def test_an_incomplete_day_also_says_what_may_still_come() -> None:
    verdict = decide_verdict(evidence(objects_unknown=["k"], transcripts=Counter(pending=1), grace_is_over=False))
    assert verdict.problems == [
        "1 × object in the bucket that no row of the table names: k.",
        "1 transcripts are pending.",
    ]


def test_every_problem_is_listed_and_none_hides_another() -> None:
    verdict = decide_verdict(
        evidence(
            listing=None, unsafe={"lost": ["a"], "failed": ["b"]}, texts_without_turns=["a"], objects_unknown=["k"]
        )
    )
    assert {check: len(sentences) for check, sentences in verdict.failures.items()} == {
        CALLS_CHECK: 1,
        RECORDINGS_CHECK: 2,
        TRANSCRIPTS_CHECK: 1,
        OBJECTS_CHECK: 1,
        HOLD_CHECK: 0,
        COUNTERS_CHECK: 0,
        FORMAT_CHECK: 0,
        SHARED_CHECK: 0,
    }


@pytest.mark.parametrize(
    ("count", "names"), [(5, "c0, c1, c2, c3, c4."), (6, "c0, c1, c2, c3, c4, …."), (9, "c0, c1, c2, c3, c4, ….")]
)
def test_the_count_is_exact_and_at_most_five_names_are_shown(count: int, names: str) -> None:
    lost = [f"c{index}" for index in reversed(range(count))]
    sentences = decide_verdict(evidence(unsafe={"lost": lost})).failures[RECORDINGS_CHECK]
    assert sentences == [f"{count} × recording lost: {names}"]


# A listing survives storage.


def test_a_listing_is_read_from_its_json_and_fields_of_another_version_are_ignored() -> None:
    a, b, c = (f"2025-01-10T0{hour}:00:00Z" for hour in range(3))
    stored = {"proved": True, "listed_total": 2, "windows": [[a, b], [b, c]], "of_tomorrow": 1}
    assert Listing.from_json(stored) == Listing(True, 2, windows=[(a, b), (b, c)])


@pytest.mark.parametrize(
    "damage",
    [
        {"proved": "false"},
        {"listed_total": "2"},
        {"listed_total": True},
        {"out_of_requests": "no"},
        {"windows": [["a", "b"]]},
        {"windows": "ab"},
        {"windows": [["2025-01-10T00:00:00Z"]]},
        {"problems": None},
        {"oddities": [1]},
        {"unparsed": 5},
        {"listed_at": 5},
        {"call_digests": "?"},
        {"call_digests": 5},
    ],
    ids=str,
)
def test_a_listing_that_no_version_wrote_is_refused(damage: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Listing.from_json({"proved": True, "listed_total": 2} | damage)


# Erased calls, and recordings without a legal hold.


def test_without_digests_erased_calls_are_not_missing_and_any_other_missing_call_is() -> None:
    assert decide_verdict(evidence(calls=2, erased=1)).verdict == DayVerdict.COMPLETE
    verdict = decide_verdict(evidence(calls=1, erased=1))
    assert verdict.failures[CALLS_CHECK] == ["3 calls were listed, and the table `calls` has 1, 1 were erased."]


def test_with_digests_the_number_of_erased_calls_masks_no_lost_one() -> None:
    verdict = decide_verdict(evidence(listing=NAMED, calls=1, lost_calls=2, erased=2))
    assert verdict.failures[CALLS_CHECK] == ["2 × call that was listed, and that the table `calls` has lost."]
    assert decide_verdict(evidence(listing=NAMED, calls=1, lost_calls=0, erased=2)).verdict == DayVerdict.COMPLETE


def test_an_object_of_an_erased_call_makes_the_day_incomplete() -> None:
    verdict = decide_verdict(evidence(objects_of_erased_calls=["audio/x.mp3"]))
    assert verdict.verdict == DayVerdict.INCOMPLETE
    assert verdict.failures[OBJECTS_CHECK] == ["1 × object of an erased call: audio/x.mp3."]


def test_a_missing_legal_hold_makes_its_check_red_and_the_day_stays_complete() -> None:
    verdict = decide_verdict(evidence(unheld=["The bucket has no Object Lock."]))
    assert verdict.verdict == DayVerdict.COMPLETE
    assert verdict.failures[HOLD_CHECK] == verdict.problems == ["The bucket has no Object Lock."]


# What only a person can change, and what was asked too late.


def test_a_step_that_only_a_person_can_unblock_makes_the_day_incomplete_and_comes_first() -> None:
    verdict = decide_verdict(evidence(blocked_by="status 401.", recordings=Counter(archived=2, pending=1)))
    assert verdict.verdict == DayVerdict.INCOMPLETE
    assert verdict.problems[0] == "A step could not do its work, and a person must act: status 401."
    assert verdict.failures[CALLS_CHECK] == verdict.problems[:1]


def test_calls_that_were_asked_about_too_late_are_named_and_change_no_verdict() -> None:
    verdict = decide_verdict(evidence(asked_too_late=["call_b", "call_a"]))
    assert verdict.verdict == DayVerdict.COMPLETE and not any(verdict.failures.values())
    assert verdict.problems == [
        "2 × call that was first asked about when upstream's retention was over: a deleted recording looks the same: "
        "call_a, call_b."
    ]


def test_a_counter_that_differs_makes_its_own_check_red_and_changes_no_verdict() -> None:
    verdict = decide_verdict(evidence(counter_differences=["A counter shows more."]))
    assert verdict.verdict == DayVerdict.COMPLETE and verdict.problems == ["A counter shows more."]
    assert [name for name, sentences in verdict.failures.items() if sentences] == [COUNTERS_CHECK]


@pytest.mark.parametrize("changes", [{}, {"grace_is_over": False}, {"blocked_by": "The key is refused."}])
def test_calls_that_only_webhook_deliveries_name_are_a_note(changes: dict[str, Any]) -> None:
    without, with_calls = (decide_verdict(evidence(witnessed_calls=count, **changes)) for count in (0, 2))
    assert (with_calls.verdict, with_calls.failures) == (without.verdict, without.failures)
    assert [sentence for sentence in with_calls.notes if sentence not in without.notes] == [
        "2 × call that a webhook delivery named is in no table, and the list does not show it: ask KrosAI why."
    ]


def test_a_listing_takes_calls_out_of_every_field_that_names_some() -> None:
    def naming(*call_ids: str) -> Listing:
        packed: dict[str, Any] = dict.fromkeys(DIGEST_FIELDS, pack_digests(map(digest_id, call_ids)))
        return replace(PROVED, **packed)

    assert naming("a", "b").without_calls({digest_id("a")}) == naming("b")
    assert PROVED.without_calls({digest_id("a")}) == PROVED
    assert set(DIGEST_FIELDS) == {item.name for item in fields(Listing) if item.name.endswith("_digests")}
