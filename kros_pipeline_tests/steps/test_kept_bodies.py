"""Nothing that came is thrown away, nothing is downloaded again for nothing, and what plays is archived as it came."""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from kros_pipeline.core.errors import (
    AudioGone,
    DownloadBroken,
    ExternalError,
    LocalFault,
    TooManyRequests,
    UnknownCalls,
    UrlExpired,
)
from kros_pipeline.core.object_keys import audio_key
from kros_pipeline.core.verdict import FORMAT_CHECK, RECORDINGS_CHECK, SHARED_CHECK
from kros_pipeline.operations.acceptance import AcceptanceRefused, open_accepter
from kros_pipeline.operations.erasure_request import ErasureRequest
from kros_pipeline.sandbox.mp3 import mp3_audio
from kros_pipeline_tests.support.accounts import DAY, WITHIN_GRACE
from kros_pipeline_tests.support.fake_days import FakeDay
from kros_pipeline_tests.support.memory_bucket import objects_of
from kros_pipeline_tests.support.steps import erase_calls, find_backlog, verify_days

AUDIO = Path(__file__).parents[1] / "data" / "audio"
CASES = {path.stem.split("-")[0]: path.read_bytes() for path in sorted(AUDIO.iterdir())}
CUT = CASES.pop("80")
NOISE = b"\1" * 5_000
PAGE = b"<html>503 Service Unavailable</html>"
MakeDay = Callable[..., FakeDay]


def audio(name: str, frames: int = 600) -> bytes:
    return bytes(mp3_audio(1, name, frames))


@pytest.fixture
def make() -> Iterator[MakeDay]:
    with ExitStack() as stack:

        def make_day(bodies: dict[str, bytes], **options: Any) -> FakeDay:
            day = FakeDay(bodies, **options)
            stack.callback(day.archive.forget)
            return day

        yield make_day


def audit_of(day: FakeDay) -> list[dict[str, Any]]:
    keys = day.archive.objects("audit/")
    return [json.loads(line) for key in keys for line in day.archive.read(key).splitlines()]


# A day in which every recording has another defect.


def test_a_day_of_defects_is_archived_byte_for_byte_and_says_what_it_saw(make: MakeDay) -> None:
    bodies = {f"call_{name}": body for name, body in CASES.items()}
    day = make(bodies | {"call_empty": b""}, seconds=dict.fromkeys(bodies, None) | {"call_empty": 0.0})
    day.source.states["call_empty"] = {"size_bytes": 0}
    found = day.run()
    assert found.verdict.verdict == "complete", found.row["problems"]
    rows = day.rows()
    for call_id, body in {**bodies, "call_empty": b""}.items():
        assert rows[call_id]["status"] == "archived" and rows[call_id]["reason"] is None, call_id
        assert day.archive.read(audio_key(DAY, call_id)) == body
        assert rows[call_id]["sha256"] == hashlib.sha256(body).hexdigest()
    assert rows["call_44"]["defects"] == "1 byte at byte 36288, behind the frames, is no audio"
    assert rows["call_22"]["defects"] is None
    assert found.verdict.failures[FORMAT_CHECK] == [
        "1 × recording that is no MP3 (Ogg, Opus): upstream's format changed: call_73."
    ]
    [note] = [problem for problem in found.row["problems"] if "with a defect" in problem]
    assert note.startswith("7 × recording archived with a defect (")
    assert not day.quarantined()

    rebuilt = day.rows()
    day.archive.delete(f"tables/recordings/dt={DAY}/part-0.parquet")  # the objects are adopted as they are
    assert day.run().verdict.verdict == "complete" and not day.source.downloads
    for call_id, row in day.rows().items():
        same = {name: row[name] for name in row if name not in ("attempts", "archived_at", "declared_size_bytes")}
        assert {name: rebuilt[call_id][name] for name in same} == same, call_id


def test_an_object_says_what_it_is(make: MakeDay) -> None:
    day = make({"call_73": CASES["73"], "call_44": CASES["44"]})
    day.run()
    audio = f"{day.archive.prefix}/audio/"
    stored = {key: value.metadata for key, value in objects_of(day.archive.bucket).items() if key.startswith(audio)}
    assert [metadata.get("defects", "")[:8] for _, metadata in sorted(stored.items())] == ["1 byte a", "upstream"]


# Whole or cut: exact facts.


@pytest.mark.parametrize(
    ("states", "has_length", "seconds", "status", "words"),
    [
        ({}, True, 14.4, "archived", None),
        ({"size_bytes": None}, False, 14.4, "archived", "nothing says how many bytes it must have"),
        ({"size_bytes": 190_000}, False, 14.4, "failed", "172,800 bytes came, and upstream says 190,000"),
        ({"duration_seconds": 14.4}, True, 0.0, "archived", None),
        ({"duration_seconds": 14.4}, True, 30.0, "archived", None),
        (
            {"duration_seconds": None, "size_bytes": None},
            True,
            30.0,
            "archived",
            "for a call of 30 s (upstream did not",
        ),
        ({"size_bytes": 360_000}, True, 30.0, "failed", "172,800 bytes came, and upstream says 360,000"),
        ({"size_bytes": None}, True, 30.0, "failed", "14.4 s of audio for a call of 30 s, and upstream says 30 s"),
    ],
)
def test_whole_or_cut_is_decided_by_exact_facts(
    make: MakeDay, states: dict[str, Any], has_length: bool, seconds: float, status: str, words: str | None
) -> None:
    day = make({"call_a": audio("a"), "call_b": audio("b")}, seconds={"call_a": seconds})  # two: their URLs are listed
    day.source.states["call_a"] = states
    if not has_length:
        day.source.has_no_length.add("call_a")
    found = day.run()
    row = day.rows()["call_a"]
    assert row["status"] == status
    text = row["defects"] if status == "archived" else row["reason"]
    assert (words in text) if words else text is None
    assert found.verdict.verdict == ("complete" if status == "archived" else "incomplete")
    assert row["declared_size_bytes"] == (None if has_length and seconds == 14.4 else states.get("size_bytes", 172_800))
    assert bool(day.source.questions["call_a"]) == (not has_length or seconds != 14.4)


def test_a_question_that_nobody_answers_loses_no_recording(make: MakeDay) -> None:
    day = make({name: audio(name) for name in ("call_a", "call_b")}, seconds={"call_a": 30.0, "call_b": 30.0})
    day.source.question_error = TooManyRequests("the run's share is used up (budget)")
    assert day.run().verdict.verdict == "complete"
    assert day.source.questions.total() == 1, "what every question would meet is asked once"
    for row in day.rows().values():
        assert "14.4 s of audio for a call of 30 s (upstream" in row["defects"] and "budget" in row["defects"]


def test_a_body_that_is_cut_at_the_source_is_kept_and_not_fetched_again(make: MakeDay) -> None:
    day = make({"call_a": CUT})
    assert day.run().verdict.verdict == "incomplete"
    row = day.rows()["call_a"]
    assert row["reason"].startswith("cut at the source: its Info header says 126 frames, and 87 came")
    assert day.source.downloads["call_a"] == 1 and day.quarantined() == {row["quarantine_key"]: CUT}
    for _ in range(3):
        day.run(hours_later=200)
        assert not day.source.downloads and day.rows()["call_a"] == row
    day.source.calls["call_a"].duration_seconds = 3.0  # something changed
    day.source.calls["call_a"].audio = CASES["40"]
    day.run()
    assert day.rows()["call_a"]["status"] == "archived"


# Nothing that came is thrown away.


@pytest.mark.parametrize(
    "then",
    [
        AudioGone("the storage has no such recording (status 404)"),
        UrlExpired("the storage does not accept the URL (status 403)"),
        DownloadBroken("the storage answered 503"),
        TooManyRequests("budget"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_rejected_body_is_kept_and_named_whatever_follows(make: MakeDay, then: ExternalError) -> None:
    day = make({"call_a": NOISE})
    day.source.fails["call_a"] = lambda number: then if number > 1 else None
    day.run()
    row = day.rows()["call_a"]
    assert row["status"] == "failed" and "kept in quarantine" in row["reason"]
    assert day.quarantined() == {row["quarantine_key"]: NOISE}
    assert [line["bytes"] for line in audit_of(day) if line["event"] == "quarantined"] == [5_000]

    day.source.calls["call_a"].is_deleted = True  # upstream deletes it
    day.source.fails.clear()
    day.run(hours_later=300)
    after = day.rows()["call_a"]
    assert (after["status"], after["quarantine_key"]) == ("failed", row["quarantine_key"])


def test_a_rejected_body_is_named_although_the_next_one_is_right(make: MakeDay) -> None:
    day = make({"call_a": audio("a")})
    day.source.serves["call_a"] = lambda number: NOISE if number == 1 else audio("a")
    assert day.run().verdict.verdict == "complete"
    row = day.rows()["call_a"]
    assert row["status"] == "archived" and day.quarantined() == {row["quarantine_key"]: NOISE}


def test_the_same_bytes_are_downloaded_again_after_days_only_and_not_after_retention(make: MakeDay) -> None:
    day = make({"call_a": NOISE})
    day.run()
    assert day.source.downloads["call_a"] == 2, "the second time shows that they stay the same"
    days_of_downloads = []
    for number in range(1, 50):
        day.run(hours_later=48)
        if day.source.downloads["call_a"]:
            days_of_downloads.append(number)
    assert len(days_of_downloads) < 15 and days_of_downloads[0] == 1
    waits = [later - earlier for earlier, later in pairwise(days_of_downloads)]
    assert waits[:-1] == sorted(waits[:-1]), "the last one is a day before upstream may delete it"
    assert len(day.quarantined()) == 1


def test_a_page_in_place_of_a_recording_is_tried_again_at_once_and_then_after_days(make: MakeDay) -> None:
    day = make({"call_a": PAGE})
    downloads = []
    for _ in range(5):
        day.run(hours_later=1)
        downloads.append(day.source.downloads["call_a"])
    assert downloads == [4, 4, 4, 0, 0]
    day.source.calls["call_a"].audio = audio("a")
    day.run(hours_later=24)
    assert day.rows()["call_a"]["status"] == "archived"


def test_an_operator_has_one_call_tried_again_at_once(make: MakeDay) -> None:
    day = make({"call_a": NOISE, "call_b": NOISE + b"\2"})
    day.run()
    day.source.calls["call_a"].audio = audio("a")
    day.source.calls["call_b"].audio = audio("b")
    day.run(call_ids=["call_a"])
    assert {call_id: row["status"] for call_id, row in day.rows().items()} == {"call_a": "archived", "call_b": "failed"}
    assert day.source.downloads.keys() == {"call_a"}
    with pytest.raises(UnknownCalls, match="1 of them are no calls of 2025-01-10: call_x"):
        day.run(call_ids=["call_x", "call_a"])


@pytest.mark.parametrize("error", [AudioGone("status 404"), UrlExpired("status 403")], ids=["404", "403"])
def test_a_recording_that_is_not_there_in_the_grace_days_is_pending(make: MakeDay, error: ExternalError) -> None:
    day = make({"call_a": audio("a")}, now=WITHIN_GRACE)
    day.source.fails["call_a"] = lambda _: error
    assert day.run().verdict.verdict == "waiting" and day.rows()["call_a"]["status"] == "pending"
    day.run(hours_later=100)
    assert day.rows()["call_a"]["status"] in ("lost", "failed")
    day.source.fails.clear()
    assert day.run().verdict.verdict == "complete"


def test_a_rejected_body_is_named_though_the_disk_is_full_then(make: MakeDay) -> None:
    def full(number: int) -> ExternalError | None:
        if number == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return None

    day = make({"call_a": NOISE})
    day.source.fails["call_a"] = full
    day.run()
    assert day.rows()["call_a"]["quarantine_key"] in day.quarantined()


def test_a_transfer_that_breaks_does_not_put_the_next_try_off(make: MakeDay) -> None:
    day = make({"call_a": NOISE})
    day.run()
    day.source.fails["call_a"] = lambda _: DownloadBroken("the storage answered 503")
    day.run(hours_later=21)
    assert "503; kept in quarantine, rejected in 1 run" in day.rows()["call_a"]["reason"]
    day.source.fails.clear()
    day.source.calls["call_a"].audio = audio("a")
    assert day.run(hours_later=1).verdict.verdict == "complete"


# An operator accepts a kept body.


def accept(day: FakeDay, *call_ids: str, of_day: bool = False, dry_run: bool = False) -> Any:
    accepter = open_accepter(day.open())
    return accepter.accept(call_ids, DAY if of_day else None, "heard it", dry_run=dry_run)


@pytest.mark.parametrize("of_day", [False, True])
def test_an_accepted_body_is_the_calls_recording_and_counts(make: MakeDay, of_day: bool) -> None:
    day = make({"call_a": CUT, "call_b": audio("b")})
    red = day.run()
    assert "accept_quarantined" in " ".join(red.verdict.failures[RECORDINGS_CHECK])
    before = day.archive.objects()
    names = () if of_day else ("call_a",)
    assert [body.call_id for body in accept(day, *names, of_day=of_day, dry_run=True).bodies] == ["call_a"]
    assert day.archive.objects() == before, "a dry run changes nothing"

    result = accept(day, *names, of_day=of_day)
    assert result.days == [DAY] and result.problems == []
    row = day.rows()["call_a"]
    assert (row["status"], row["size_bytes"], row["reason"]) == ("archived", len(CUT), None)
    assert row["defects"].startswith("accepted by an operator, and rejected before: cut at the source: its Info header")
    assert "kept in quarantine" not in row["defects"]
    assert day.archive.read(audio_key(DAY, "call_a")) == CUT
    [verdict] = day.archive.table("reconciliation", DAY)
    assert verdict["verdict"] == "complete" and verdict["recordings_archived"] == 2
    [line] = [line for line in audit_of(day) if line["event"] == "accepted"]
    assert (line["call"], line["reason"], line["sha256"]) == ("call_a", "heard it", row["sha256"])
    assert verify_days(day.open(), [DAY]).is_sound

    assert day.run().verdict.verdict == "complete" and not day.source.downloads
    with pytest.raises(AcceptanceRefused, match="call_a is archived already"):
        accept(day, "call_a")
    day.archive.delete(f"tables/recordings/dt={DAY}/part-0.parquet")  # as if the run had ended before the row
    assert day.run().verdict.verdict == "complete" and not day.source.downloads
    assert day.rows()["call_a"]["defects"].startswith("accepted by an operator")


def test_bytes_that_are_no_audio_can_be_accepted_too(make: MakeDay) -> None:
    day = make({"call_a": NOISE})
    day.run()
    accept(day, "call_a")
    row = day.rows()["call_a"]
    assert row["status"] == "archived" and row["duration_seconds"] is None
    assert "no MP3 frame at byte 0 of 5000" in row["defects"]
    assert day.run().verdict.verdict == "complete"


@pytest.mark.parametrize(
    ("names", "reason", "words"),
    [
        ((), "why", "Name the calls in `call_ids`, or a day"),
        (("call_a",), " ", "Say why"),
        (("call_a", "call_x"), "why", "1 of the calls have no row in `recordings`: call_x"),
        (("call_b",), "why", "There is no body to accept. call_b is archived already."),
    ],
)
def test_what_cannot_be_accepted_is_refused_before_anything_is_changed(
    make: MakeDay, names: tuple[str, ...], reason: str, words: str
) -> None:
    day = make({"call_a": NOISE, "call_b": audio("b")})
    day.run()
    before = day.archive.objects()
    with pytest.raises(AcceptanceRefused) as refused:
        open_accepter(day.open()).accept(names, None, reason, dry_run=False)
    assert words in str(refused.value) and day.archive.objects() == before


def test_a_changed_body_or_a_foreign_object_is_not_accepted(make: MakeDay) -> None:
    day = make({"call_a": NOISE, "call_b": NOISE + b"\2"})
    day.run()
    key = next(key for key in day.archive.objects("quarantine/") if "call_a" in key)
    day.archive.write(key, b"another")
    day.archive.write(audio_key(DAY, "call_b"), b"somebody else's")
    with pytest.raises(AcceptanceRefused) as refused:
        accept(day, of_day=True)
    assert "call_a: the body in quarantine was changed" in str(refused.value)
    assert "call_b: another object is at the recording's key" in str(refused.value)


def test_erasure_deletes_what_is_kept_and_what_was_accepted(make: MakeDay) -> None:
    day = make({"call_a": NOISE, "call_b": NOISE + b"\2", "call_c": audio("c")})
    day.run()
    accept(day, "call_a")
    erase_calls(day.open(), ErasureRequest(("call_a", "call_b"), "", "a request of the person", False))
    assert not [key for key in day.archive.objects() if "call_a" in key or "call_b" in key]
    assert day.rows().keys() == {"call_c"}


# One body for several calls.


def test_a_cache_that_gives_one_body_to_all_calls_archives_none_of_them_silently(make: MakeDay) -> None:
    names = ("call_a", "call_b", "call_c")
    day = make(dict.fromkeys(names, audio("same")), seconds=dict.fromkeys(names, 14.4))
    found = day.run()
    assert found.verdict.verdict == "complete"
    assert found.verdict.failures[SHARED_CHECK] == [
        "3 × archived recording with the same bytes as another call's: call_a, call_b, call_c."
    ]
    assert day.source.downloads == dict.fromkeys(names, 2), "each is fetched once more"
    day.run()
    assert not day.source.downloads


def test_one_body_for_calls_of_which_upstream_declares_others_is_a_red_day(make: MakeDay) -> None:
    names = ("call_a", "call_b", "call_c")
    day = make(dict.fromkeys(names, audio("same")), seconds=dict.fromkeys(names, 14.4))
    day.source.states |= {"call_b": {"size_bytes": 100_000}, "call_c": {"duration_seconds": 60.0, "size_bytes": None}}
    found = day.run()
    assert found.verdict.verdict == "incomplete"
    assert {call_id: row["status"] for call_id, row in day.rows().items()}["call_b"] == "failed"
    # Upstream declares something else of the one that was archived first, too.
    day = make(dict.fromkeys(names[:2], audio("same")), seconds=dict.fromkeys(names, 14.4))
    day.source.states |= {name: {"size_bytes": 100_000} for name in names[:2]}
    found = day.run()
    assert found.verdict.verdict == "incomplete"
    assert "though upstream declares another size or length" in " ".join(found.verdict.failures[RECORDINGS_CHECK])
    assert day.run().verdict.verdict == "incomplete", "it stays red"


def test_a_fresh_url_brings_the_right_body_of_each_call(make: MakeDay) -> None:
    names = ("call_a", "call_b")
    day = make({name: audio(name) for name in names}, seconds=dict.fromkeys(names, 14.4))
    for name in names:
        day.source.serves[name] = lambda number, name=name: audio("cached") if number == 1 else audio(name)  # type: ignore[misc]
    assert day.run().verdict.verdict == "complete"
    for name in names:
        assert day.archive.read(audio_key(DAY, name)) == audio(name)
        assert day.rows()[name]["sha256"] == hashlib.sha256(audio(name)).hexdigest()
    assert audio("cached") in day.quarantined().values(), "the bytes that were replaced are kept"
    assert verify_days(day.open(), [DAY]).is_sound


def test_a_fault_in_the_second_look_leaves_no_replaced_object_without_its_row(make: MakeDay) -> None:
    names = ("call_a", "call_b", "call_c", "call_d")  # newest first: `b` and `d` have others' bytes at first
    day = make({name: audio(name) for name in names}, seconds=dict.fromkeys(names, 14.4))
    for name, cached in zip(names, ("ab", "ab", "cd", "cd"), strict=True):
        day.source.serves[name] = lambda n, name=name, cached=cached: audio(cached if n == 1 else name)  # type: ignore[misc]
    full = LocalFault("the disk is full")
    day.source.fails["call_d"] = lambda number: full if number == 2 else None
    day.run()
    assert day.report.error is full
    assert day.rows()["call_b"]["sha256"] == hashlib.sha256(audio("call_b")).hexdigest()
    assert verify_days(day.open(), [DAY]).is_sound


def test_one_body_of_several_calls_is_noticed_where_their_rows_were_lost(make: MakeDay) -> None:
    names = ("call_a", "call_b")
    day = make(dict.fromkeys(names, audio("same")), seconds=dict.fromkeys(names, 14.4))
    day.run()
    day.archive.delete(f"tables/recordings/dt={DAY}/part-0.parquet")
    assert "2 × archived recording with the same bytes" in day.run().verdict.failures[SHARED_CHECK][0]


def test_many_defects_do_not_hide_that_another_call_has_the_same_bytes(make: MakeDay) -> None:
    body = b"x".join([audio("same", 60)] * 12)
    day = make(dict.fromkeys(("call_a", "call_b"), body), seconds={"call_a": 17.3, "call_b": 17.3})
    found = day.run()
    assert found.verdict.failures[SHARED_CHECK][0].startswith("2 × ")
    assert "and 4 more" in day.rows()["call_a"]["defects"]


def test_short_recordings_may_be_equal(make: MakeDay) -> None:
    day = make(dict.fromkeys(("call_a", "call_b"), audio("same", 200)))
    found = day.run()
    assert not found.verdict.failures[SHARED_CHECK] and day.source.downloads.total() == 2


def test_a_day_with_a_kept_body_stays_owed_until_it_is_accepted(make: MakeDay) -> None:
    day = make({"call_a": NOISE})
    day.run()
    assert find_backlog(day.open(), DAY, DAY) == [DAY]
    accept(day, "call_a")
    assert find_backlog(day.open(), DAY, DAY) == []


# A fault of this machine is not the storage's.


def test_a_full_disk_ends_the_step_with_its_own_words(make: MakeDay) -> None:
    def full(_: int) -> ExternalError | None:
        raise OSError(errno.ENOSPC, "No space left on device")

    day = make({name: audio(name) for name in ("call_a", "call_b", "call_c")})
    day.source.fails = dict.fromkeys(day.bodies, full)
    day.run()
    assert isinstance(day.report.error, LocalFault) and "is full" in str(day.report.error)
    assert day.source.downloads.total() == 1, "every further call would meet the same"
    assert {row["status"] for row in day.rows().values()} == {"pending"}
    day.source.fails.clear()
    assert day.run().verdict.verdict == "complete"
