"""Reconciliation: an archive that is broken in any way is never green, and says which check is red and why."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from kros_pipeline.core.errors import WrongArchive
from kros_pipeline.core.object_keys import audio_key, listing_key
from kros_pipeline.core.verdict import CALLS_CHECK, OBJECTS_CHECK, RECORDINGS_CHECK, TRANSCRIPTS_CHECK
from kros_pipeline.sandbox import Fault, Faults
from kros_pipeline_tests.support.accounts import DAY, PLAIN, WITHIN_GRACE, MakeAccount
from kros_pipeline_tests.support.archive_check import Archive, assert_archive_is_true, completed_of, table_key
from kros_pipeline_tests.support.steps import list_calls, reconcile_day

Rows = list[dict[str, Any]]
FEW = replace(PLAIN, days={"2025-01-10": 4})


def drop_first(rows: Rows) -> Rows:
    return rows[1:]


def drop_last(rows: Rows) -> Rows:
    return rows[:-1]


def with_first(**changes: Any) -> Callable[[Rows], Rows]:
    return lambda rows: [rows[0] | changes, *rows[1:]]


def delete_audio(archive: Archive) -> None:
    for key in archive.objects("audio/"):
        archive.delete(key)


def first_audio(archive: Archive) -> str:
    return min(archive.objects("audio/"))


# Every way to break an archive: the checks that go red, and what they say.
BREAKS: list[tuple[str, Callable[[Archive], object], set[str], str]] = [
    ("an object is gone", lambda a: a.delete(first_audio(a)), {RECORDINGS_CHECK},
     r"1 × archived recording that is not in the bucket: \S+\.mp3"),
    ("all objects are gone", delete_audio, {RECORDINGS_CHECK},
     r"4 × archived recording that is not in the bucket"),
    ("an object is another one", lambda a: a.write(first_audio(a), b"shorter"), {RECORDINGS_CHECK},
     r"1 × archived recording of another size in the bucket"),
    ("an object is empty", lambda a: a.write(first_audio(a), b""), {RECORDINGS_CHECK},
     r"1 × archived recording of another size"),
    ("a stranger", lambda a: a.write(audio_key(DAY, "call_stranger"), b"?"), {OBJECTS_CHECK},
     r"1 × object in the bucket that no row of the table names: \S+call_stranger\.mp3"),
    ("a file that is no recording", lambda a: a.write(f"audio/dt={DAY}/notes.txt", b"?"), {OBJECTS_CHECK},
     r"notes\.txt"),
    ("a recording's row is gone", lambda a: a.rewrite("recordings", DAY, drop_first), {CALLS_CHECK, OBJECTS_CHECK},
     r"1 × call without a row in `recordings`: call_\w+"),
    ("the recordings are gone", lambda a: a.delete(table_key("recordings", DAY)), {CALLS_CHECK, OBJECTS_CHECK},
     r"4 × call without a row in `recordings`"),
    ("a transcript's row is gone", lambda a: a.rewrite("transcripts", DAY, drop_first),
     {CALLS_CHECK, TRANSCRIPTS_CHECK},
     r"1 × call without a row in `transcripts`: call_\w+"),
    ("a call's row is gone", lambda a: a.rewrite("calls", DAY, drop_first), {CALLS_CHECK},
     r"1 × call that was listed, and that the table `calls` has lost\..*1 × row of `recordings` whose call"),
    ("a turn is gone", lambda a: a.rewrite("utterances", DAY, drop_last), {TRANSCRIPTS_CHECK},
     r"1 × kept text whose turns are not as long as it is: call_\w+"),
    ("a turn is longer", lambda a: a.rewrite("utterances", DAY, with_first(char_start=0, char_end=9_999)),
     {TRANSCRIPTS_CHECK},
     r"1 × kept text whose turns are not as long as it is: call_\w+"),
    ("no turns at all", lambda a: a.rewrite("utterances", DAY, lambda rows: []), {TRANSCRIPTS_CHECK},
     r"4 × kept text without turns: call_\w+"),
    ("a text is cut", lambda a: a.rewrite("transcripts", DAY, with_first(text="[Agent]: cut")), {TRANSCRIPTS_CHECK},
     r"1 × kept text whose turns are not as long as it is: call_\w+"),
    ("the proof is gone", lambda a: a.delete(listing_key(DAY)), {CALLS_CHECK}, r"never listed"),
    ("lost", lambda a: a.rewrite("recordings", DAY, with_first(status="lost")), {RECORDINGS_CHECK, OBJECTS_CHECK},
     r"1 × recording lost: call_\w+"),
    ("failed", lambda a: a.rewrite("recordings", DAY, with_first(status="failed")), {RECORDINGS_CHECK, OBJECTS_CHECK},
     r"1 × recording failed: call_\w+"),
    ("refused", lambda a: a.rewrite("recordings", DAY, with_first(status="refused")), {RECORDINGS_CHECK, OBJECTS_CHECK},
     r"1 × recording refused: call_\w+"),
]  # fmt: skip


FOR_A_HUMAN = {
    "an object is another one", "an object is empty", "a stranger", "a file that is no recording", "a text is cut",
}  # fmt: skip


@pytest.mark.parametrize(("name", "break_it", "red", "words"), BREAKS, ids=[case[0] for case in BREAKS])
def test_a_broken_archive_is_never_green(
    account: MakeAccount, name: str, break_it: Callable[[Archive], None], red: set[str], words: str
) -> None:
    our = account(FEW)
    our.run_day()
    break_it(our.archive)
    verdict = reconcile_day(our.ctx, DAY).verdict
    assert {check for check, sentences in verdict.failures.items() if sentences} == red
    assert verdict.verdict == "incomplete"
    assert re.search(words, " ".join(verdict.problems)), verdict.problems
    [row] = our.archive.table("reconciliation", DAY)
    assert row["verdict"] == "incomplete" and row["problems"] == verdict.problems
    # What upstream still has, and nobody else put something in the place of, is mended by running the day again.
    if name not in FOR_A_HUMAN:
        our.run_day()
        assert_archive_is_true(our.krosai, our.archive, DAY)


# What the source said, carried to the verdict.
@pytest.mark.parametrize(
    ("faults", "words"),
    [
        (Faults(list_total_wrong=Fault()), "is not proved"),
        (Faults(list_malformed=Fault(share=0.5, value="missing_id")), "rows of the list are no calls.*missing, empty"),
    ],
    ids=["unproved", "malformed"],
)
def test_a_list_that_was_not_read_whole_makes_no_complete_day(account: MakeAccount, faults: Faults, words: str) -> None:
    our = account(PLAIN)
    our.krosai.set_faults(faults)
    verdict = our.run_day().verdict
    assert verdict.verdict == "incomplete" and re.search(words, " ".join(verdict.failures[CALLS_CHECK]))
    our.krosai.set_faults(Faults())
    our.run_day()
    assert_archive_is_true(our.krosai, our.archive, DAY)


def test_late_data_makes_a_day_wait_and_lost_data_makes_it_incomplete(account: MakeAccount) -> None:
    our = account(replace(PLAIN, late_share=0.5), now=WITHIN_GRACE, fresh=True)
    truth = completed_of(our.krosai, DAY)
    late = sum(call["late"] for call in truth.values())
    verdict = our.run_day().verdict
    assert 0 < late < len(truth)
    assert verdict.verdict == "waiting" and not any(verdict.failures.values())
    assert verdict.problems == [f"{late} recordings are pending.", f"{late} transcripts are pending."]
    # One that is lost beside them is not made good by the waiting.
    our.archive.delete(first_audio(our.archive))
    assert reconcile_day(our.ctx, DAY).verdict.verdict == "incomplete"
    our.krosai.release_late()
    our.run_day()
    assert_archive_is_true(our.krosai, our.archive, DAY)


def test_an_exhausted_quota_makes_a_day_wait(account: MakeAccount) -> None:
    our = account(replace(PLAIN, days={"2025-01-10": 130}, audio_seconds=(1, 2)))
    verdict = our.run_day(KROSAI_REQUESTS_PER_RUN="1").verdict
    assert verdict.verdict == "waiting" and "budget" in " ".join(verdict.problems)
    our.run_day()
    assert_archive_is_true(our.krosai, our.archive, DAY)


def test_statistics_do_not_change_the_verdict(account: MakeAccount) -> None:
    our = account(FEW)
    our.krosai.set_faults(Faults(api_error=Fault(routes=("stats",))))
    assert our.run_day().row["stats_total"] is None
    assert_archive_is_true(our.krosai, our.archive, DAY)
    our.krosai.set_faults(Faults())
    assert reconcile_day(our.ctx, DAY).row["stats_total"] == 4


# Two accounts never mix. What is confirmed with the account's list is in `test_account_check.py`.

ORGANIZATION = "5c1f8a52-0000-4000-8000-000000000000"


@pytest.mark.parametrize(
    ("first", "then", "words"),
    [
        ({}, {"KROSAI_BASE_URL": "https://other.example.com/v1"}, "base_url"),
        ({"KROSAI_ORGANIZATION_ID": ORGANIZATION}, {"KROSAI_ORGANIZATION_ID": "another"}, "organization_id"),
    ],
)
def test_an_archive_refuses_a_second_account(
    account: MakeAccount, first: dict[str, str], then: dict[str, str], words: str
) -> None:
    our = account(FEW, **first)
    list_calls(our.ctx, DAY)
    before = our.archive.objects()
    with pytest.raises(WrongArchive, match="belongs to another account") as refused:
        our.open(**then)
    assert words in str(refused.value) and "KROS_ARCHIVE_URL" in str(refused.value)
    assert our.environment["KROSAI_API_KEY"] not in str(refused.value)
    assert our.archive.objects() == before


def test_of_two_accounts_that_begin_at_once_one_is_refused(account: MakeAccount) -> None:
    our = account(FEW)
    ctx, other = our.open(), our.open(KROSAI_ORGANIZATION_ID=ORGANIZATION)
    list_calls(ctx, DAY)
    before = our.archive.objects()
    with pytest.raises(WrongArchive):
        list_calls(other, DAY)
    assert our.archive.objects() == before
