"""Recordings: verified before they are kept, fetched once, and never lost for a fault that somebody else has."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from math import ceil
from typing import Any

import pytest

from kros_pipeline.archive.s3_bodies import S3Bodies
from kros_pipeline.archive.tables import PartitionTransaction
from kros_pipeline.core.errors import ApiUnauthorized, TooManyRequests, UrlRefused
from kros_pipeline.core.object_keys import audio_key
from kros_pipeline.sandbox import Fault, Faults, SandboxConfig
from kros_pipeline.sandbox.answers import HTML_PAGE
from kros_pipeline.source import downloads, transfer_progress
from kros_pipeline.steps import recordings
from kros_pipeline.steps.report import Report
from kros_pipeline.steps.run_context import RunContext
from kros_pipeline_tests.support.accounts import (
    DAY,
    PLAIN,
    UNTIL_SECOND_ANSWER,
    VARIED,
    WITHIN_GRACE,
    Account,
    MakeAccount,
    faults_by_name,
)
from kros_pipeline_tests.support.archive_check import Archive, assert_nothing_is_false, completed_of, table_key
from kros_pipeline_tests.support.steps import archive_recordings, list_calls

FEW = replace(PLAIN, days={"2025-01-10": 5}, audio_seconds=(14, 18))


@pytest.fixture
def account(s3_account: MakeAccount) -> MakeAccount:
    """Makes accounts with an archive in S3: the client that puts audio is tested, too."""
    return s3_account


def move(our: Account, call_ids: Collection[str] = (), **settings: str) -> Report:
    """One more run of the step, on a day whose calls are listed."""
    return archive_recordings(our.open(**settings) if settings else our.ctx, DAY, call_ids)


def listed(our: Account) -> Account:
    list_calls(our.ctx, DAY)
    our.krosai.reset_counters()
    return our


def statuses(our: Account) -> dict[str, str]:
    return {row["call_id"]: row["status"] for row in our.archive.table("recordings", DAY)}


def quarantined(archive: Archive) -> list[bytes]:
    return [archive.read(key) for key in archive.objects("quarantine/")]


# What every fault of the storage comes to is the fault matrix's to show. Here: what is kept of a body that arrived.
KEEPS: dict[str, Callable[[bytes, bytes], bool] | None] = {
    "storage_cut_silently": lambda kept, true: kept == true[: len(true) // 2],
    "storage_html": lambda kept, _: kept == HTML_PAGE,
    "storage_json": lambda kept, _: b"UNAVAILABLE" in kept,
    "storage_rubbish": lambda kept, true: len(kept) == len(true) and kept != true,
    "storage_other_length": lambda kept, true: 0 < len(kept) < len(true) and true.startswith(kept),
    "storage_wav": lambda kept, _: kept.startswith(b"RIFF"),
    # Nothing arrived whole, or nothing at all:
    "storage_reset": None,
    "storage_truncated": None,
    "storage_empty": None,
    "storage_error": None,
    "storage_denied": None,
    "storage_missing": None,
}
# What is archived all the same, as the bytes of the audio.
MENDS = ("storage_gzip", "storage_longer")


@pytest.mark.parametrize("attempts", [1, None], ids=["first attempt", "every attempt"])
def test_a_whole_but_invalid_body_is_quarantined_at_once_and_downloaded_again(
    account: MakeAccount, attempts: int | None
) -> None:
    our = listed(account(replace(FEW, days={"2025-01-10": len(KEEPS) + len(MENDS) + 2})))
    completed = sorted(completed_of(our.krosai, DAY))
    calls, mended = dict(zip(completed, KEEPS, strict=False)), zip(reversed(completed), MENDS, strict=False)
    our.krosai.set_faults(
        faults_by_name({knob: Fault(calls=(call,), attempts=attempts) for call, knob in (*calls.items(), *mended)})
    )
    report = move(our)
    assert_nothing_is_false(our.krosai, our.archive, DAY)
    first = our.archive.by_call("recordings", DAY)
    kept = {key: our.archive.read(key) for key in our.archive.objects("quarantine/")}
    unsafe = {call for call, row in first.items() if row["status"] != "archived"}
    assert unsafe == {call for call, knob in calls.items() if attempts is None}
    assert dict(report.problems) == {call: f"{first[call]['status']}: {first[call]['reason']}" for call in unsafe}
    for call, knob in calls.items():
        is_right, bodies = KEEPS[knob], [body for key, body in kept.items() if call in key]
        assert [bool(is_right and is_right(body, our.krosai.audio(call))) for body in bodies] == (
            [True] if is_right else []
        ), knob

    our.krosai.set_faults(Faults())  # the fault gone
    our.krosai.reset_counters()
    if unsafe:
        move(our, call_ids=unsafe)
    assert_nothing_is_false(our.krosai, our.archive, DAY)
    assert set(statuses(our).values()) == {"archived"}
    assert our.krosai.counters()["downloads_by_call"] == dict.fromkeys(unsafe, 1)
    assert our.krosai.counters()["leaked_credentials"] == 0
    assert {key: our.archive.read(key) for key in our.archive.objects("quarantine/")} == kept  # it stays


# Hosts and forms of a URL that nobody follows, without asking anybody.
@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://recordings.example.com/a.mp3", "'recordings.example.com' is not in KROS_RECORDING_HOSTS"),
        ("https://storage.krosai.com.evil.example/a.mp3", "is not in KROS_RECORDING_HOSTS"),
        ("https://storage.krosai.com@evil.example/a.mp3", "user name"),
        ("https://evil.example\\@127.0.0.1/a.mp3", "backslash"),
        ("http://storage.krosai.com/a.mp3", "not https"),
        ("http://169.254.169.254/latest/meta-data", "not https"),
        ("https://169.254.169.254/latest/meta-data", "is not in"),
        ("https://2130706433/a.mp3", "is not in"),
        ("https://0x7f.1/a.mp3", "is not in"),
        ("https://0177.0.0.1/a.mp3", "is not in"),
        ("https://127.1/a.mp3", "is not in"),
        ("https://127.0.0.1./a.mp3", "is not in"),
        ("https://[::ffff:127.0.0.1]/a.mp3", "is not in"),
        ("https://[64:ff9b::7f00:1]/a.mp3", "is not in"),
        ("https://100.64.0.1/a.mp3", "is not in"),
        ("https://xn--storage-.krosai.com/a.mp3", "is not in"),
        ("https://127.0.0.1@evil.example/a.mp3", "user name"),
        ("https://evil.example#@127.0.0.1/a.mp3", "is not in"),
        ("https://evil.example?@127.0.0.1/a.mp3", "is not in"),
        # read in one way here, and maybe in another by what connects
        ("https://127.0.0.1;.evil.example/a.mp3", "names its host"),
        ("https:///127.0.0.1/a.mp3", "names its host"),
        ("https://127.0.0.1:/a.mp3", "names its host"),
        (" https://127.0.0.1/a.mp3", "names its host"),
        ("https://127.0.0.1\t.evil.example/a.mp3", "names its host"),
        ("https://127.0\n.0.1/a.mp3", "names its host"),
        ("https://１２７.0.0.1/a.mp3", "names its host"),
        ("https://[fe80::1%25lo]/a.mp3", "names its host"),
        ("https://127.0.0%2e1/a.mp3", "names its host"),
        ("https://127。0.0.1/a.mp3", "names its host"),
        ("https://127.0.0.1:80:443/a.mp3", "cannot be read"),
        ("https://127.0.0.1:99999/a.mp3", "cannot be read"),
        ("https://[::1", "cannot be read"),
        ("https://127.0.0.1:notaport/a.mp3", "cannot be read"),
        ("ftp://127.0.0.1/a.mp3", "ftp, not https"),
        ("file:///etc/passwd", "file, not https"),
        ("/recordings/a.mp3", "without a scheme"),
    ],
)
def test_audio_comes_from_allowed_hosts_only(run_context: RunContext, url: str, words: str) -> None:
    with (
        pytest.raises(UrlRefused, match=re.escape(words)),
        run_context.source.open_recording(f"{url}?X-Amz-Signature=abc") as _,
    ):
        pass  # pragma: no cover


def test_a_body_that_makes_too_little_progress_is_dropped(
    account: MakeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer_progress, "_WINDOW_SECONDS", 0.05)
    monkeypatch.setattr(transfer_progress, "_LEAST_BYTES", 1e12)
    our = listed(account(FEW))
    call_id = min(completed_of(our.krosai, DAY))
    our.krosai.set_faults(Faults(storage_slow=Fault(calls=(call_id,), value=1.0)))
    move(our, KROS_DOWNLOAD_WORKERS="1")
    row = our.archive.by_call("recordings", DAY)[call_id]
    assert row["status"] == "failed" and "came in 0.05 seconds" in row["reason"]


def test_storage_never_sees_the_key_and_no_row_shows_a_url(account: MakeAccount) -> None:
    for auth in ("x-api-key", "bearer"):
        our = listed(account(replace(FEW, auth=auth)))
        our.krosai.set_faults(Faults(storage_denied=Fault(attempts=1)))
        move(our)
        assert our.krosai.counters()["leaked_credentials"] == 0
        assert_nothing_is_false(our.krosai, our.archive, DAY)


# URLs die: before their time or after it, a new one costs one request for each call that needs it.


def test_a_url_that_is_refused_before_its_time_costs_one_request(account: MakeAccount) -> None:
    our = listed(account(FEW))
    hit = sorted(completed_of(our.krosai, DAY))[:2]
    our.krosai.set_faults(Faults(storage_denied=Fault(calls=tuple(hit), attempts=1)))
    move(our)
    assert set(statuses(our).values()) == {"archived"}
    assert our.requests() == {"list": 1, "recording": 2}


def test_urls_that_expire_between_listing_and_download_cost_one_request_each(
    account: MakeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    our = listed(account(FEW))
    fetched, first, lock = downloads.RecordingDownloads.open, [True], threading.Lock()

    @contextmanager
    def an_hour_later(self: Any, url: str) -> Iterator[Any]:
        with lock:
            if first:
                first.clear()
                our.krosai.advance_clock(3_601)
        with fetched(self, url) as body:
            yield body

    monkeypatch.setattr(downloads.RecordingDownloads, "open", an_hour_later)
    move(our)
    assert set(statuses(our).values()) == {"archived"}
    assert our.requests() == {"list": 1, "recording": 5}
    assert set(our.krosai.counters()["downloads_by_call"].values()) == {1}


# Resume, not repeat.


def test_a_second_run_downloads_nothing_and_asks_the_api_nothing(account: MakeAccount) -> None:
    our = listed(account(FEW))
    move(our)
    before = our.archive.objects()
    our.krosai.reset_counters()
    assert move(our).counts["archived_now"] == 0
    assert our.krosai.counters()["storage_requests"] == 0 and our.requests() == {}
    assert our.archive.objects() == before


def test_a_stored_object_without_a_row_is_adopted_and_not_downloaded_again(
    account: MakeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    our = listed(account(FEW))
    ctx = our.open()
    with monkeypatch.context() as crash:
        crash.setattr(PartitionTransaction, "commit", _crash)
        with pytest.raises(_Crash):
            archive_recordings(ctx, DAY)
    assert len(our.archive.objects("audio/")) == 5 and not our.archive.table("recordings", DAY)
    our.krosai.reset_counters()
    report = move(our)
    assert report.counts["adopted"] == 5 and report.counts["archived_now"] == 0
    assert our.krosai.counters()["storage_requests"] == 0
    assert set(statuses(our).values()) == {"archived"}
    assert_nothing_is_false(our.krosai, our.archive, DAY)


class _Crash(BaseException):
    """As a signal would end the process, but here."""


def _crash(*_: Any, **__: Any) -> Any:
    raise _Crash


@pytest.mark.parametrize("survivors", [0, 1, 3])
def test_a_run_that_crashes_is_finished_by_the_next_without_a_second_download(
    account: MakeAccount, monkeypatch: pytest.MonkeyPatch, survivors: int
) -> None:
    our = listed(account(FEW))
    fetched, left, lock = downloads.RecordingDownloads.open, [survivors], threading.Lock()

    @contextmanager
    def dying(self: Any, url: str) -> Iterator[Any]:
        with lock:
            left[0] -= 1
            if left[0] < 0:
                raise _Crash
        with fetched(self, url) as body:
            yield body

    with monkeypatch.context() as crash:
        crash.setattr(downloads.RecordingDownloads, "open", dying)
        with pytest.raises(_Crash):
            move(our)
    assert len(our.archive.objects("audio/")) == survivors
    move(our)
    assert set(statuses(our).values()) == {"archived"}
    assert set(our.krosai.counters()["downloads_by_call"].values()) == {1}
    assert_nothing_is_false(our.krosai, our.archive, DAY)


def test_a_missing_table_is_rebuilt_from_the_objects(account: MakeAccount) -> None:
    our = listed(account(FEW))
    move(our)
    before = our.archive.by_call("recordings", DAY)
    our.archive.delete(table_key("recordings", DAY))
    our.krosai.reset_counters()
    move(our)
    after = our.archive.by_call("recordings", DAY)
    assert our.krosai.counters()["storage_requests"] == 0
    for call_id, row in before.items():
        known = {name: value for name, value in row.items() if name not in ("archived_at", "attempts")}
        assert {name: after[call_id][name] for name in known} == known


def test_only_an_object_that_vanished_is_downloaded_again(account: MakeAccount) -> None:
    our = listed(account(FEW))
    move(our)
    call_id = min(statuses(our))
    our.archive.delete(audio_key(DAY, call_id))
    our.krosai.reset_counters()
    move(our)
    assert our.krosai.counters()["downloads_by_call"] == {call_id: 1}
    assert_nothing_is_false(our.krosai, our.archive, DAY)


def test_an_unknown_object_at_a_recordings_key_is_never_overwritten(account: MakeAccount) -> None:
    our = listed(account(FEW))
    call_id = min(completed_of(our.krosai, DAY))
    our.archive.write(audio_key(DAY, call_id), b"somebody else's")
    move(our)
    row = our.archive.by_call("recordings", DAY)[call_id]
    assert row["status"] == "failed"
    assert row["reason"] == (
        "the object at the recording's key was not written by this pipeline: move it out of audio/, then materialize "
        "the day"
    )
    assert our.archive.read(audio_key(DAY, call_id)) == b"somebody else's"
    assert sorted(statuses(our).values()) == ["archived"] * 4 + ["failed"]


def test_two_runs_at_once_end_with_one_archive(account: MakeAccount) -> None:
    our = listed(account(replace(PLAIN, audio_seconds=(14, 18))))
    works = [our.open(), our.open()]
    failures: list[BaseException] = []

    def run(ctx: RunContext) -> None:
        try:
            archive_recordings(ctx, DAY)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(ctx,)) for ctx in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert set(statuses(our).values()) == {"archived"} and len(statuses(our)) == 8
    assert_nothing_is_false(our.krosai, our.archive, DAY)


def test_an_object_that_another_run_created_first_is_adopted(account: MakeAccount) -> None:
    our = listed(account(FEW))
    ctx, other = our.open(), our.open()

    def second(key: str, body: Any, **options: Any) -> Any:
        if key.startswith("audio/"):
            other.store.put(key, body, **options)
        return put(key, body, **options)

    put, ctx.store.put = ctx.store.put, second  # type: ignore[method-assign]
    archive_recordings(ctx, DAY)
    assert set(statuses(our).values()) == {"archived"}
    assert_nothing_is_false(our.krosai, our.archive, DAY)


# No status but `archived` is final; and `archived` is.


def test_an_archived_recording_stays_archived_when_upstream_deletes_its_own(account: MakeAccount) -> None:
    our = listed(account(FEW, fresh=True))
    move(our)
    for call_id in completed_of(our.krosai, DAY):
        our.krosai.delete_recording(call_id)
    list_calls(our.ctx, DAY)
    move(our)
    assert set(statuses(our).values()) == {"archived"}


@pytest.mark.parametrize(
    ("gone_status", "was_seen", "status"),
    # A null in the list proves nothing, nor does a 404 of a call of which a recording was never seen.
    [(410, True, "lost"), (404, True, "lost"), (410, False, "lost"), (404, False, "not_recorded")],
)
def test_a_recording_that_upstream_deleted_first_is_lost(
    account: MakeAccount, gone_status: Any, was_seen: bool, status: str
) -> None:
    our = account(replace(FEW, deleted_recording_status=gone_status), fresh=True, now=datetime(2025, 6, 1, tzinfo=UTC))
    call_id = min(completed_of(our.krosai, DAY))
    if was_seen:
        list_calls(our.ctx, DAY)
    our.krosai.delete_recording(call_id)
    list_calls(our.ctx, DAY)
    move(our)
    row = our.archive.by_call("recordings", DAY)[call_id]
    assert row["status"] == status
    assert sorted(statuses(our).values()) == sorted(["archived"] * 4 + [status])
    # KrosAI's retention had long passed by then: the row must say that a deleted one would look the same.
    assert status != "not_recorded" or "retention" in row["reason"]


def test_a_late_recording_is_pending_without_a_request_until_the_grace_days_are_over(
    account: MakeAccount,
) -> None:
    our = account(replace(FEW, late_share=0.5), now=WITHIN_GRACE, fresh=True)
    truth = completed_of(our.krosai, DAY)
    late = {call_id for call_id, call in truth.items() if call["late"]}
    assert late and late != set(truth)
    listed(our)
    move(our)
    assert statuses(our) == {call_id: "pending" if call_id in late else "archived" for call_id in truth}
    assert our.requests().get("recording", 0) == 0
    our.krosai.release_late()
    listed(our)
    move(our)
    assert set(statuses(our).values()) == {"archived"}
    assert set(our.krosai.counters()["downloads_by_call"]) == late


def test_after_the_grace_days_one_request_and_the_list_decide_and_a_later_recording_is_archived(
    account: MakeAccount,
) -> None:
    our = listed(account(replace(FEW, late_share=0.5), fresh=True))
    truth = completed_of(our.krosai, DAY)
    late = {call_id for call_id, call in truth.items() if call["late"]}
    move(our)
    assert {call_id for call_id, status in statuses(our).items() if status == "pending"} == late
    assert our.requests()["recording"] == len(late)
    our.krosai.reset_counters()
    move(our)
    assert our.requests() == {}  # not asked again
    assert {call_id for call_id, status in statuses(our).items() if status == "pending"} == late
    our.now += UNTIL_SECOND_ANSWER
    listed(our)
    move(our)
    assert our.requests() == {}  # the list has answered
    assert {call_id for call_id, status in statuses(our).items() if status == "not_recorded"} == late
    our.krosai.release_late()
    list_calls(our.ctx, DAY)
    move(our)
    assert set(statuses(our).values()) == {"archived"}
    assert_nothing_is_false(our.krosai, our.archive, DAY)


def test_recordings_that_the_list_hides_are_asked_for_one_by_one(account: MakeAccount) -> None:
    our = listed(account(replace(VARIED, calls_per_day=120, days=("2025-01-10",))))
    truth = completed_of(our.krosai, DAY)
    hidden = [call for call in truth.values() if call["listed_recording"] != "url"]
    assert any(call["recorded"] for call in hidden) and any(not call["recorded"] for call in hidden)
    move(our)
    assert statuses(our) == {call_id: "archived" if call["recorded"] else "pending" for call_id, call in truth.items()}
    assert our.requests()["recording"] == len(hidden)
    our.now += UNTIL_SECOND_ANSWER
    listed(our)
    move(our)
    assert statuses(our) == {
        call_id: "archived" if call["recorded"] else "not_recorded" for call_id, call in truth.items()
    }
    assert our.requests() == {}


def test_an_id_of_dots_that_no_path_can_hold_is_taken_from_the_list(account: MakeAccount) -> None:
    our = listed(account(replace(VARIED, id_style="hostile", days=("2025-01-10",), calls_per_day=45)))
    hit = tuple(call for call in completed_of(our.krosai, DAY) if call == "..")
    assert hit
    our.krosai.set_faults(Faults(storage_html=Fault(calls=hit)))
    move(our)
    assert statuses(our)[".."] == "failed"
    our.krosai.set_faults(Faults())
    move(our)  # now it is the only one that is wanted
    assert statuses(our)[".."] == "archived"


# Closed doors: the rest is pending, and nothing is burnt against them.


def test_a_budget_that_ends_in_the_middle_leaves_the_rest_pending(account: MakeAccount) -> None:
    our = listed(account(FEW))
    our.krosai.set_faults(Faults(storage_denied=Fault(attempts=1)))  # so that each call needs a request of its own
    report = move(our, KROSAI_REQUESTS_PER_RUN="3")
    assert isinstance(report.error, TooManyRequests)
    assert Counter(statuses(our).values()) == {"archived": 2, "pending": 3}
    pending = [row["reason"] for row in our.archive.table("recordings", DAY) if row["status"] == "pending"]
    assert all("not tried" in reason and "budget" in reason for reason in pending)
    assert sum(our.requests().values()) == 3
    move(our)
    assert set(statuses(our).values()) == {"archived"}


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Faults(storage_denied=Fault(), api_rate_limited=Fault(routes=("recording",), value="3600")), TooManyRequests),
        (Faults(storage_denied=Fault(), api_key_refused=Fault(routes=("recording",))), ApiUnauthorized),
    ],
    ids=["quota", "key"],
)
def test_a_refusal_that_concerns_all_calls_stops_further_requests(
    account: MakeAccount, fault: Faults, error: type
) -> None:
    our = listed(account(FEW))
    our.krosai.set_faults(fault)
    report = move(our, KROS_DOWNLOAD_WORKERS="1")
    assert isinstance(report.error, error)
    assert set(statuses(our).values()) == {"pending"}
    assert our.requests() == {"list": 1, "recording": 1}


def test_an_api_fault_of_one_call_affects_only_that_call(account: MakeAccount) -> None:
    our = listed(account(FEW))
    hit = min(completed_of(our.krosai, DAY))
    our.krosai.set_faults(
        Faults(storage_denied=Fault(calls=(hit,)), api_error=Fault(calls=(hit,), routes=("recording",)))
    )
    report = move(our)
    assert statuses(our) == {call_id: "failed" if call_id == hit else "archived" for call_id in statuses(our)}
    assert report.error is None and "status 500" in report.problems[0][1]


def test_a_list_that_cannot_be_read_again_is_replaced_by_one_request_per_call(account: MakeAccount) -> None:
    our = listed(account(FEW))
    our.krosai.set_faults(Faults(list_unknown_shape=Fault()))
    move(our)
    assert set(statuses(our).values()) == {"archived"}
    assert our.requests() == {"list": 1, "recording": 5}


# Frugal and flat.


def test_the_requests_of_a_day_stay_within_their_budget(account: MakeAccount) -> None:
    n = 230
    our = account(SandboxConfig(days={str(DAY): n}, variety=False, audio_seconds=(1, 2)))
    most_on = {"first": (2 * ceil(n / 100) + 12, 1.1 * n + 60), "again": (ceil(n / 100) + 10, 0.01 * n + 60)}
    for most_api, most_s3 in most_on.values():
        our.krosai.reset_counters()
        our.ctx = ctx = our.open()  # a run of its own
        our.run_day()
        assert sum(our.requests().values()) == ctx.source.requests_made <= most_api
        assert ctx.store.requests_made <= most_s3
    assert our.krosai.counters()["storage_requests"] == 0


def test_bodies_too_large_for_memory_go_through_a_file(account: MakeAccount, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "IN_MEMORY_BYTES", 1_000)
    our = listed(account(FEW))
    bad = min(completed_of(our.krosai, DAY))
    our.krosai.set_faults(Faults(storage_rubbish=Fault(calls=(bad,))))
    ctx = our.open()
    monkeypatch.setattr(S3Bodies, "create", _crash)  # the way of what is held in memory
    archive_recordings(ctx, DAY)
    assert sorted(statuses(our).values()) == ["archived"] * 4 + ["failed"]
    [kept] = quarantined(our.archive)
    assert len(kept) == len(our.krosai.audio(bad))
    assert_nothing_is_false(our.krosai, our.archive, DAY)


def test_bytes_in_flight_stay_below_the_limit_whatever_the_number_of_workers(
    account: MakeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    our = listed(account(replace(PLAIN, days={"2025-01-10": 24}, audio_seconds=(14, 18))))
    largest = max(call["size_bytes"] for call in completed_of(our.krosai, DAY).values())
    limit = 3 * largest
    monkeypatch.setattr(downloads, "IN_FLIGHT_BYTES", limit)
    fetched, lock, held, peaks = downloads.RecordingDownloads.open, threading.Lock(), [0], []

    @contextmanager
    def weighed(self: Any, url: str) -> Iterator[Any]:
        with fetched(self, url) as body:
            with lock:
                held[0] += body.size_bytes
                peaks.append(held[0])
            try:
                yield body
            finally:
                with lock:
                    held[0] -= body.size_bytes

    monkeypatch.setattr(downloads.RecordingDownloads, "open", weighed)
    move(our, KROS_DOWNLOAD_WORKERS="16")
    assert set(statuses(our).values()) == {"archived"}
    assert 0 < max(peaks) <= limit


def test_the_day_snapshot_is_loaded_concurrently_and_nothing_is_read_twice(
    account: MakeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    our = listed(account(FEW))
    ctx = our.open()
    together = threading.Barrier(4)  # two tables, the account of the list, the listing of the audio
    for name in ("copy_into", "read", "list"):
        true = getattr(ctx.store, name)

        def asked(key: str, *rest: Any, true: Callable[..., Any] = true) -> Any:
            if not key.startswith(("state/erased/", "state/moved/", "state/quota/")):
                together.wait(timeout=20)  # one after the other, it would break
            return true(key, *rest)

        monkeypatch.setattr(ctx.store, name, asked)
    before = ctx.store.requests_made
    report = archive_recordings(ctx, DAY)
    assert report.counts["archived"] == 5
    assert (
        ctx.store.requests_made - before == 5 + 11
    )  # beside those four: the erased and their marker, the account's PUT, the table's, the quota's GET and PUT


def test_one_connection_to_the_storage_serves_all_recordings(account: MakeAccount) -> None:
    our = listed(account(FEW))
    ctx = our.open(KROS_DOWNLOAD_WORKERS="1")
    our.krosai.reset_counters()
    archive_recordings(ctx, DAY)
    counters = our.krosai.counters()
    assert (counters["storage_requests"], counters["storage_connections"]) == (5, 1)


def test_the_number_of_checkpoints_is_limited_however_many_calls_a_day_has(
    account: MakeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recordings, "_SAVE_EVERY_CALLS", 1)
    monkeypatch.setattr(recordings, "_MAX_CHECKPOINTS", 4)
    our = listed(account(replace(PLAIN, days={"2025-01-10": 24}, audio_seconds=(1, 2))))
    step: Any = recordings._Step  # noqa: SLF001 - the calls of each checkpoint are counted
    saves, save = [], step.save

    def count_and_save(self: Any) -> None:
        saves.append(len(self._unsaved))
        save(self)

    monkeypatch.setattr(step, "save", count_and_save)
    move(our)
    assert sum(saves) == 24 and 2 <= len(saves) <= 4 + 1
    assert set(statuses(our).values()) == {"archived"}
