"""The sandbox keeps to what KrosAI documents, and each knob does what it says.

What the API answers is asked of it in this process, without HTTP; what happens on the wire, of a running sandbox.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import mutagen.mp3
import pytest
import requests

from kros_pipeline.sandbox import Fault, Faults, KrosaiSimulator, Sandbox, SandboxConfig
from kros_pipeline.sandbox.api import Api
from kros_pipeline.sandbox.faults import MALFORMED
from kros_pipeline.sandbox.http_server import Answer, Request
from kros_pipeline.sandbox.mp3 import FRAME_BYTES, frames_in, mp3_audio
from kros_pipeline.sandbox.presigning import Signer
from kros_pipeline.sandbox.rate_limit import RateLimit
from kros_pipeline.sandbox.transcripts import HOSTILE_ODDITIES, ODDITIES, Script, write_transcript
from kros_pipeline.sandbox.world import World

DAY = "2025-01-10"
PLAIN = SandboxConfig(days=(DAY,), calls_per_day=45, variety=False, audio_seconds=(1, 2))
VARIED = SandboxConfig(days=("2025-01-09", DAY, "2025-01-11"), calls_per_day=200)


# The API, asked in this process.


@dataclass
class InProcess:
    """One world and its API, without HTTP."""

    config: SandboxConfig

    def __post_init__(self) -> None:
        self.world = World(self.config)
        self.world.storage_origin = "http://127.0.0.1:9"
        self.api = Api(self.world)

    def answer(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Answer:
        headers = {"x-api-key": self.config.api_key} if headers is None else headers
        path, _, query = path.partition("?")
        return self.api(Request(method, f"/v1{path}", query, headers, body))

    def get(self, path: str, **query: Any) -> Any:
        answer = self.answer("GET", f"{path}?{urlencode(query)}")
        assert answer.status == 200, bytes(answer.body)
        return json.loads(bytes(answer.body))

    def refusal(self, method: str, path: str, body: bytes = b"") -> tuple[int, str]:
        answer = self.answer(method, path, body)
        error = json.loads(bytes(answer.body))
        assert isinstance(error["error"], str)
        return answer.status, error["code"]

    def all_calls(self, **query: Any) -> list[dict[str, Any]]:
        calls: list[dict[str, Any]] = []
        while page := self.get("/calls", limit=100, offset=len(calls), **query)["calls"]:
            calls += page
        return calls


@pytest.fixture(scope="module")
def plain() -> InProcess:
    return InProcess(PLAIN)


@pytest.fixture(scope="module")
def varied() -> InProcess:
    return InProcess(VARIED)


def test_the_offset_dialect_is_calls_total_limit_offset(plain: InProcess) -> None:
    page = plain.get("/calls", offset=40)
    assert {name: page[name] for name in page if name != "calls"} == {"total": 45, "limit": 50, "offset": 40}
    assert len(page["calls"]) == 5


def test_the_page_dialect_is_data_total_page_limit_total_pages() -> None:
    page = InProcess(replace(PLAIN, dialect="page")).get("/calls", page=3)
    facts = {name: page[name] for name in page if name != "data"}
    assert facts == {"total": 45, "page": 3, "limit": 20, "total_pages": 3}
    assert len(page["data"]) == 5


@pytest.mark.parametrize(("asked", "given"), [(1, 1), (100, 100), (101, 100), (5000, 100)])
def test_a_limit_is_never_more_than_100(plain: InProcess, asked: int, given: int) -> None:
    assert plain.get("/calls", limit=asked)["limit"] == given


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=-1", "limit=many", "offset=-1", "offset=1.5", "from_date=yesterday", "to_date=2025-13-01"],
)
def test_a_query_that_makes_no_sense_is_a_400(plain: InProcess, query: str) -> None:
    assert plain.refusal("GET", f"/calls?{query}") == (400, "VALIDATION_ERROR")


def test_pages_cover_the_list_without_gap_or_overlap(plain: InProcess) -> None:
    pages = [plain.get("/calls", limit=10, offset=offset)["calls"] for offset in range(0, 50, 10)]
    assert [call["id"] for page in pages for call in page] == [call["id"] for call in plain.all_calls()]


@pytest.mark.parametrize("order", ["newest", "oldest", "shuffled"])
def test_the_list_has_one_stable_order(order: Any) -> None:
    times = [call["created_at"] for call in InProcess(replace(PLAIN, order=order)).all_calls()]
    assert times == [call["created_at"] for call in InProcess(replace(PLAIN, order=order)).all_calls()]
    assert (times == sorted(times), times == sorted(times, reverse=True)) == (order == "oldest", order == "newest")


@pytest.mark.parametrize("name", ["status", "direction", "phone_number_id", "endpoint_id"])
def test_filters_by_equality_partition_the_list(varied: InProcess, name: str) -> None:
    calls = varied.all_calls()
    values = {call[name] for call in calls}
    assert len(values) > 1
    for value in values:
        assert varied.all_calls(**{name: value}) and all(
            call[name] == value for call in varied.all_calls(**{name: value})
        )
    assert sum(len(varied.all_calls(**{name: value})) for value in values) == len(calls)


@pytest.mark.parametrize(
    ("changes", "to_date", "counts"),
    [
        ({}, "2025-01-10T23:59:59.500Z", True),  # to_date is inclusive, unless told otherwise
        ({"to_date_inclusive": False}, "2025-01-10T23:59:59.500Z", False),
        ({}, "2025-01-10T23:59:59Z", False),
        ({}, "2025-01-11T00:59:59.500+01:00", True),  # any offset
        ({"filter_by": "completed_at"}, "2025-01-10T23:59:59.500Z", False),  # it completed the next day
        ({"filter_reads_days_only": True}, "2025-01-10T01:00:00Z", True),
    ],
)
def test_the_last_half_second_of_a_day(changes: dict[str, Any], to_date: str, counts: bool) -> None:
    world = InProcess(replace(VARIED, days=(DAY,), **changes))
    times = [call["created_at"] for call in world.all_calls(from_date="2025-01-10T00:00:00Z", to_date=to_date)]
    assert ("2025-01-10T23:59:59.500Z" in times) is counts


def test_a_call_has_the_documented_fields(plain: InProcess) -> None:
    call = plain.get("/calls", limit=1)["calls"][0]
    assert set(call) == {
        *("id", "from_number", "to_number", "direction", "status", "duration", "cost_cents", "endpoint_id"),
        *("phone_number_id", "recording_url", "transcript", "created_at", "answered_at", "completed_at"),
    }
    assert re.fullmatch(r"call_[0-9a-f]{14}", call["id"])
    assert re.fullmatch(r"2025-01-10T\d\d:\d\d:\d\dZ", call["created_at"])
    answered, completed = (datetime.fromisoformat(call[name]) for name in ("answered_at", "completed_at"))
    assert completed - answered == timedelta(seconds=call["duration"])


def test_one_call_is_shown_as_the_list_shows_it(plain: InProcess) -> None:
    listed = plain.get("/calls", limit=1)["calls"][0]
    alone = plain.get(f"/calls/{listed['id']}")
    assert alone.pop("recording_url") != listed.pop("recording_url")  # every answer mints another URL
    assert alone == listed


def test_the_recording_and_transcript_routes_have_the_documented_fields(plain: InProcess) -> None:
    call = plain.get("/calls", limit=1)["calls"][0]
    recording = plain.get(f"/calls/{call['id']}/recording")
    assert sorted(recording) == ["duration_seconds", "expires_at", "format", "recording_url", "size_bytes"]
    assert recording["duration_seconds"] == call["duration"] and recording["format"] == "mp3"
    left = datetime.fromisoformat(recording["expires_at"]).timestamp() - time.time()
    assert 3590 < left <= 3600
    transcript = plain.get(f"/calls/{call['id']}/transcript")
    assert sorted(transcript) == ["confidence", "language", "transcript", "word_count"]
    assert transcript["transcript"] == call["transcript"]
    assert transcript["word_count"] == len(call["transcript"].split())


@pytest.mark.parametrize(
    ("auth", "headers", "status"),
    [
        ("any", {"x-api-key": "kros_test_sandbox"}, 200),
        ("any", {"authorization": "Bearer kros_test_sandbox"}, 200),
        ("any", {"x-api-key": "wrong"}, 401),
        ("any", {"host": "no key at all"}, 401),
        ("x-api-key", {"authorization": "Bearer kros_test_sandbox"}, 401),
        ("bearer", {"x-api-key": "kros_test_sandbox"}, 401),
        ("bearer", {"authorization": "Bearer kros_test_sandbox"}, 200),
        ("any", {"x-api-key": "kros_test_sandbox", "x-organization-id": "org-1"}, 200),
        ("any", {"x-api-key": "kros_test_sandbox", "x-organization-id": "org-2"}, 403),
    ],
)
def test_who_may_ask(auth: Any, headers: dict[str, str], status: int) -> None:
    world = InProcess(replace(PLAIN, auth=auth, organization_id="org-1"))
    answer = world.answer("GET", "/calls?limit=1", headers=headers)
    assert answer.status == status
    assert {"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"} <= set(answer.headers)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/calls/call_unknown"),
        ("GET", "/calls/call_unknown/recording"),
        ("GET", "/calls/call_unknown/transcript"),
        ("POST", "/calls/call_unknown/recording/extend"),
        ("DELETE", "/calls/call_unknown/recording"),
        ("GET", "/nothing"),
        ("PUT", "/calls"),
    ],
)
def test_what_is_unknown_is_not_found(plain: InProcess, method: str, path: str) -> None:
    assert plain.refusal(method, path) == (404, "NOT_FOUND")


def test_an_extension_is_applied_each_time_unless_its_idempotency_key_repeats() -> None:
    world = InProcess(PLAIN)
    call_id = world.all_calls()[0]["id"]
    for key in ("", "", "a", "a", "b"):
        headers = {"x-api-key": PLAIN.api_key, **({"idempotency-key": key} if key else {})}
        assert world.answer("POST", f"/calls/{call_id}/recording/extend", b'{"days": 30}', headers).status == 200
    assert world.world.extended_days == {call_id: [30, 30, 30, 30]}
    assert world.world.counters.replayed == 1


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        (b"", (400, "VALIDATION_ERROR")),
        (b"{}", (400, "VALIDATION_ERROR")),
        (b'{"days": 0}', (400, "VALIDATION_ERROR")),
        (b'{"days": "30"}', (400, "VALIDATION_ERROR")),
        (b'{"days": 366}', (403, "RETENTION_LIMIT")),
    ],
)
def test_an_extension_that_is_not_allowed_is_refused(plain: InProcess, body: bytes, refusal: tuple[int, str]) -> None:
    call_id = plain.all_calls()[0]["id"]
    assert plain.refusal("POST", f"/calls/{call_id}/recording/extend", body=body) == refusal
    assert plain.world.extended_days == {}


@pytest.mark.parametrize("status", [410, 404])
def test_a_deleted_recording_is_gone_for_good(status: Any) -> None:
    world = InProcess(replace(PLAIN, deleted_recording_status=status))
    call_id = world.all_calls()[0]["id"]
    assert world.answer("DELETE", f"/calls/{call_id}/recording").status == 200
    assert world.refusal("GET", f"/calls/{call_id}/recording") == (status, "RECORDING_DELETED")
    assert world.refusal("DELETE", f"/calls/{call_id}/recording") == (404, "NOT_FOUND")
    assert world.refusal("POST", f"/calls/{call_id}/recording/extend", body=b'{"days": 1}') == (404, "NOT_FOUND")
    assert world.get(f"/calls/{call_id}")["recording_url"] is None


def test_settings_are_patched_by_name() -> None:
    world = InProcess(PLAIN)
    answer = world.answer("PATCH", "/settings", body=b'{"recording_enabled": false}')
    assert json.loads(bytes(answer.body)) == {"recording_enabled": False, "transcription_enabled": True}
    assert world.refusal("PATCH", "/settings", body=b'{"colour": true}') == (400, "VALIDATION_ERROR")


def test_stats_count_what_the_list_counts(varied: InProcess) -> None:
    window = {"from_date": "2025-01-10T00:00:00Z", "to_date": "2025-01-10T23:59:59.999Z"}
    assert varied.get("/calls/stats", **window)["total_calls"] == len(varied.all_calls(**window)) == 200


def test_the_rate_limit_is_a_token_bucket() -> None:
    limit = RateLimit(per_second=2, per_day=None)
    assert [limit.take(100.0) for _ in range(3)] == [0, 0, 0.5]
    assert limit.take(100.5) == 0
    assert limit.headers(100.5) == {"X-RateLimit-Limit": "2", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "102"}


def test_the_daily_quota_renews_at_midnight() -> None:
    limit = RateLimit(per_second=None, per_day=2)
    assert [limit.take(86_000.0) for _ in range(3)] == [0, 0, 400]
    assert limit.take(86_400.0) == 0


def test_past_the_limit_comes_the_documented_429() -> None:
    world = InProcess(replace(PLAIN, requests_per_second=0.5))
    world.get("/calls")
    answer = world.answer("GET", "/calls")
    body = json.loads(bytes(answer.body))
    assert answer.status == 429 and body["code"] == "RATE_LIMIT_EXCEEDED" and body["error"] == "Rate limit exceeded"
    assert 1 < body["retry_after"] <= 2.001
    assert answer.headers["Retry-After"] == str(body["retry_after"])


# The calls.


def test_equal_seeds_give_equal_calls_and_other_seeds_others() -> None:
    def shown(seed: int) -> str:
        calls = InProcess(replace(VARIED, seed=seed)).all_calls()
        return json.dumps([{**call, "recording_url": bool(call.get("recording_url"))} for call in calls])

    assert shown(1) == shown(1) != shown(2)


def test_a_plain_day_has_nothing_missing(plain: InProcess) -> None:
    for call in plain.all_calls():
        assert call["status"] == "completed" and call["recording_url"] and call["transcript"].startswith("[Agent]: ")


def test_varied_days_have_what_an_archive_must_cope_with(varied: InProcess) -> None:
    calls = varied.all_calls()
    truth = {call.id: call for call in varied.world.truth()}
    assert {call["status"] for call in calls} == {"completed", "failed", "in_progress", "busy", "no_answer"}
    assert sum(call["status"] == "completed" for call in calls) > 0.8 * len(calls)
    completed = [call for call in calls if call["status"] == "completed"]
    assert {truth[call["id"]].listed_recording for call in completed} == {"url", "null", "absent"}
    assert {truth[call["id"]].recorded for call in completed} == {True, False}
    shown = {truth[call["id"]].listed_transcript for call in completed}
    assert shown >= {"whole", "shortened", "unlabelled", "null", "absent"}
    assert any("metadata" in call for call in calls) and any("sentiment" in call for call in calls)
    assert any("recording_url" not in call for call in completed) and any(
        "transcript" not in call for call in completed
    )
    assert any(len(call["transcript"] or "") >= 20_000 for call in completed if "transcript" in call)


def test_a_varied_day_reaches_its_very_edges(varied: InProcess) -> None:
    calls = varied.all_calls(from_date="2025-01-10T00:00:00Z", to_date="2025-01-10T23:59:59.999Z")
    times = {call["created_at"] for call in calls}
    assert {f"2025-01-10T{time}Z" for time in ("00:00:00", "00:00:01", "23:59:59", "23:59:59.500")} <= times
    assert any((call["completed_at"] or "").startswith("2025-01-11") for call in calls)


def test_what_the_list_does_not_show_is_behind_the_routes_of_the_call(varied: InProcess) -> None:
    for listed in varied.all_calls(status="completed"):
        call = next(call for call in [varied.world.find(listed["id"])] if call)
        recording = varied.answer("GET", f"/calls/{call.id}/recording")
        assert recording.status == (200 if call.recorded else 404)
        transcript = varied.answer("GET", f"/calls/{call.id}/transcript")
        assert transcript.status == (200 if call.script else 404)
        if call.script and listed.get("transcript"):
            text = json.loads(bytes(transcript.body))["transcript"]
            assert (text == listed["transcript"]) is (call.listed_transcript == "whole")
            assert call.listed_transcript == "whole" or listed["transcript"].endswith(("...", "…"))


def test_late_recordings_and_transcripts_appear_when_released() -> None:
    world = InProcess(replace(PLAIN, late_share=0.5))
    late = [call["id"] for call in world.all_calls() if call["recording_url"] is None]
    assert 10 < len(late) < 35
    assert world.refusal("GET", f"/calls/{late[0]}/recording") == (404, "NOT_FOUND")
    assert world.refusal("GET", f"/calls/{late[0]}/transcript") == (404, "NOT_FOUND")
    world.world.release_late()
    assert all(call["recording_url"] and call["transcript"] for call in world.all_calls())


def test_more_calls_can_come_in_later() -> None:
    world = InProcess(VARIED)
    before = {call["id"] for call in world.all_calls()}
    added = set(world.world.add_calls(DAY, 20))
    assert {call["id"] for call in world.all_calls()} == before | added and not before & added


def test_days_may_have_numbers_of_their_own_and_be_large() -> None:
    world = InProcess(SandboxConfig(days={DAY: 20_000, "2025-01-11": 3}))
    assert world.get("/calls", limit=100, offset=19_990)["total"] == 20_003


@pytest.mark.parametrize("style", ["uuid", "hostile"])
def test_every_id_is_asked_for_by_its_quoted_self(style: Any) -> None:
    world = InProcess(replace(PLAIN, id_style=style, days=(DAY, "2025-01-11")))
    ids = [call["id"] for call in world.all_calls()]
    assert len(set(ids)) == len(ids) == 90
    for call_id in ids:
        assert world.get(f"/calls/{quote(call_id, safe='')}")["id"] == call_id
    if style == "hostile":
        assert {"..", "../../etc/passwd", "%2F", "call_ABC", "call_abc", "x" * 600} <= set(ids)


@pytest.mark.parametrize("oddity", ["", *ODDITIES, *HOSTILE_ODDITIES])
def test_each_oddity_of_a_transcript_changes_it_and_is_the_same_each_time(oddity: str) -> None:
    script = Script("seed", turns=12, oddity=oddity)
    write_transcript.cache_clear()
    text = write_transcript(script)
    write_transcript.cache_clear()
    assert text == write_transcript(script)
    assert (text == write_transcript(Script("seed", turns=12))) is (oddity == "")


def test_odd_transcripts_are_a_minority_and_languages_many(varied: InProcess) -> None:
    scripts = [call.script for call in varied.world.truth() if call.script]
    assert 0.05 < sum(script.oddity != "" for script in scripts) / len(scripts) < 0.25
    assert {script.language_code for script in scripts} >= {"en", "yo", "ha", "ig", "fr", "es", "ar", "zh"}
    assert sum(script.language_code == "en" for script in scripts) > 0.7 * len(scripts)
    texts = [write_transcript(script) for script in scripts]
    assert any("lawyer" in text for text in texts) and any("refund" in text for text in texts)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"days": ()}, "days must name at least one day"),
        ({"days": ("10.01.2025",)}, "days must be written YYYY-MM-DD, not '10.01.2025'"),
        ({"days": {DAY: -1}}, "the number of calls of 2025-01-10 must not be negative, but is -1"),
        ({"dialect": "xml"}, "dialect must be one of 'offset', 'page', not 'xml'"),
        ({"order": "random"}, "order must be one of 'newest', 'oldest', 'shuffled', not 'random'"),
        ({"audio_seconds": (9, 3)}, "audio_seconds must be (shortest, longest), from 1 up, not (9, 3)"),
        ({"late_share": 2}, "late_share must be between 0 and 1, not 2"),
        ({"url_seconds": 0}, "url_seconds must be more than 0, not 0"),
        ({"api_key": ""}, "api_key must not be empty"),
    ],
)
def test_a_bad_configuration_is_one_clear_sentence(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError) as raised:
        SandboxConfig(**changes)
    assert str(raised.value) == sentence


def test_a_configuration_survives_the_pipe() -> None:
    faults = Faults(
        api_latency_seconds=0.5, api_error=Fault(share=0.5, attempts=2, calls=("a",), routes=("call",), value=503)
    )
    config = replace(VARIED, days={DAY: 3}, faults=faults)
    assert SandboxConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


# The audio.


def mp3_info(audio: bytes) -> Any:
    read: Any = mutagen.mp3.MP3  # it has no types
    return read(io.BytesIO(audio)).info


@pytest.mark.parametrize("seconds", [1, 5, 180.2, 600])
def test_audio_is_constant_bitrate_mp3_as_documented(seconds: float) -> None:
    audio = bytes(mp3_audio(7, "call_1", frames_in(seconds)))
    info = mp3_info(audio)
    assert (info.bitrate, info.sample_rate, info.channels, info.layer) == (96_000, 48_000, 1, 3)
    assert abs(info.length - seconds) < 0.1
    assert {audio[at : at + 4] for at in range(0, len(audio), FRAME_BYTES)} == {b"\xff\xfb\x74\xc0"}


def test_no_two_recordings_and_no_two_frames_are_alike() -> None:
    audio = bytes(mp3_audio(7, "call_1", 20_000))
    assert len({audio[at : at + FRAME_BYTES] for at in range(0, len(audio), FRAME_BYTES)}) == 20_000
    others = {bytes(mp3_audio(seed, call_id, 5)) for seed in (7, 8) for call_id in ("call_1", "call_2")}
    assert len(others) == 4 and bytes(mp3_audio(7, "call_1", 5)) in others


def test_a_presigned_url_expires_and_cannot_be_altered() -> None:
    signer = Signer(b"secret")
    parts = urlsplit(signer.presign("http://host", "/recordings/a%2Fb.mp3", now=1000.9, seconds=0.5))
    query = dict(pair.split("=") for pair in parts.query.replace("%2F", "/").split("&"))
    names = ["Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature"]
    assert list(query) == [f"X-Amz-{name}" for name in names]
    assert signer.refusal(parts.path, query, now=1001.39) is None
    assert signer.refusal(parts.path, query, now=1001.41) == "Request has expired"
    assert "signature" in str(signer.refusal("/recordings/other.mp3", query, now=1001))
    assert "signature" in str(signer.refusal(parts.path, query | {"X-Amz-Expires": "9999"}, now=1001))
    assert signer.refusal(parts.path, {}, now=1001) == "Access Denied"


# The faults of the API, asked in this process.


def faulty(**faults: Any) -> InProcess:
    return InProcess(replace(PLAIN, faults=Faults(**faults)))


@pytest.mark.parametrize(
    ("faults", "status"),
    [
        ({"api_key_refused": Fault(attempts=1)}, 401),
        ({"api_rate_limited": Fault(attempts=1)}, 429),
        ({"api_error": Fault(attempts=1)}, 500),
        ({"api_error": Fault(attempts=1, value=503)}, 503),
    ],
)
def test_an_api_fault_hits_the_first_attempts_of_each_page_alone(faults: dict[str, Fault], status: int) -> None:
    world = faulty(**faults)
    queries = ["/calls", "/calls", "/calls?offset=40", "/calls?offset=40"]
    assert [world.answer("GET", query).status for query in queries] == [status, 200, status, 200]


def test_a_fault_may_be_for_some_routes_and_some_calls() -> None:
    first, second = (call["id"] for call in faulty().all_calls()[:2])
    world = faulty(api_error=Fault(routes=("transcript",), calls=(first,)))
    asked = [f"/calls/{first}/transcript", f"/calls/{first}/recording", f"/calls/{second}/transcript", "/calls"]
    assert [world.answer("GET", path).status for path in asked] == [500, 200, 200, 200]


def test_a_share_is_about_that_part_and_always_the_same() -> None:
    world = InProcess(replace(PLAIN, calls_per_day=1000, faults=Faults(api_error=Fault(share=0.2, routes=("call",)))))
    ids = [call["id"] for call in world.all_calls()]
    hit = [call_id for call_id in ids if world.answer("GET", f"/calls/{call_id}").status == 500]
    assert 150 < len(hit) < 250
    assert hit == [call_id for call_id in ids if world.answer("GET", f"/calls/{call_id}").status == 500]


@pytest.mark.parametrize(
    ("value", "pattern"),
    [
        (None, r"0\.2"),
        ("1.5", r"1\.5"),
        (86400, "86400"),
        ("soon", "soon"),
        ("http-date", r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT"),
    ],
)
def test_retry_after_comes_in_every_form(value: Any, pattern: str) -> None:
    answer = faulty(api_rate_limited=Fault(value=value)).answer("GET", "/calls")
    assert re.fullmatch(pattern, answer.headers["Retry-After"])


def test_retry_after_may_be_absent() -> None:
    assert "Retry-After" not in faulty(api_rate_limited=Fault(value="absent")).answer("GET", "/calls").headers


def test_a_list_of_unknown_shape_has_neither_calls_nor_data() -> None:
    page = faulty(list_unknown_shape=Fault()).get("/calls")
    assert sorted(page) == ["count", "items"]


def test_a_list_may_be_no_json() -> None:
    answer = faulty(list_not_json=Fault()).answer("GET", "/calls")
    assert (answer.status, answer.content_type) == (200, "text/html")


MALFORMED_ROWS: dict[str, Callable[[Any], bool]] = {
    "missing_id": lambda row: "id" not in row,
    "id_not_text": lambda row: row["id"] == 12345,
    "missing_created_at": lambda row: "created_at" not in row,
    "unreadable_created_at": lambda row: row["created_at"] == "yesterday at noon",
    "not_an_object": lambda row: isinstance(row, str),
}


@pytest.mark.parametrize("how", MALFORMED)
def test_a_malformed_call_stands_among_good_ones(how: str) -> None:
    good = faulty().all_calls()
    world = faulty(list_malformed=Fault(calls=(good[3]["id"],), value=how))
    rows = world.get("/calls")["calls"]
    assert len(rows) == 45 and MALFORMED_ROWS[how](rows[3])
    assert [row["id"] for row in rows[:3] + rows[4:]] == [call["id"] for call in good[:3] + good[4:]]


def test_malformed_calls_are_of_every_kind_unless_one_is_named() -> None:
    rows = faulty(list_malformed=Fault()).get("/calls")["calls"]
    assert all(any(_is(row) for row in rows) for _is in map(_safely, MALFORMED_ROWS.values()))


def _safely(test: Callable[[Any], bool]) -> Callable[[Any], bool]:
    def holds(row: Any) -> bool:
        try:
            return test(row)
        except (KeyError, TypeError):
            return False

    return holds


def test_a_total_lies_for_whole_passes() -> None:
    world = faulty(list_total_wrong=Fault(attempts=2, value=-3))
    totals = [world.get("/calls", limit=20, offset=offset)["total"] for _ in range(3) for offset in (0, 20, 40)]
    assert totals == [42] * 6 + [45] * 3


def test_an_offset_may_be_ignored() -> None:
    world = faulty(list_offset_ignored=Fault())
    assert world.get("/calls", limit=5, offset=20)["calls"][0]["id"] == world.get("/calls", limit=5)["calls"][0]["id"]


def test_a_limit_may_be_ignored() -> None:
    page = faulty(list_limit_ignored=Fault()).get("/calls", limit=100)
    assert (len(page["calls"]), page["limit"], page["total"]) == (20, 20, 45)


def test_filters_may_be_ignored() -> None:
    world = faulty(list_dates_ignored=Fault(), list_status_ignored=Fault())
    assert world.get("/calls", from_date="2030-01-01T00:00:00Z", status="failed")["total"] == 45


def test_duplicates_stand_in_a_row_while_total_counts_distinct_calls() -> None:
    world = faulty(list_duplicates=Fault(share=0.3))
    ids = [call["id"] for call in world.all_calls()]
    assert len(ids) > 50 and len(set(ids)) == 45 == world.get("/calls")["total"]


def test_calls_that_complete_while_one_pages_shift_the_pages() -> None:
    world = faulty(list_completing=Fault(share=0.3))
    totals = [world.get("/calls", status="completed", limit=10)["total"] for _ in range(30)]
    assert totals[0] < 40 and totals[-1] == 45
    assert all(after - before in (0, 1) for before, after in pairwise(totals))


def test_calls_may_vanish_while_one_pages() -> None:
    world = faulty(list_vanishing=Fault(share=0.1))
    totals = [world.get("/calls", limit=10)["total"] for _ in range(30)]
    assert totals[0] == 45 and totals[-1] == len(world.world.truth()) < 45


def test_a_call_may_be_about_to_complete_and_vanish_instead() -> None:
    world = faulty(list_completing=Fault(), list_vanishing=Fault())
    for _ in range(60):
        world.get("/calls")
    assert world.get("/calls")["total"] == 0 == len(world.world.truth())


def test_a_url_may_point_anywhere() -> None:
    call = faulty(url_foreign=Fault(value="http://169.254.169.254")).get("/calls")["calls"][0]
    assert call["recording_url"].startswith("http://169.254.169.254/recordings/call_")
    assert (
        faulty(url_foreign=Fault())
        .get("/calls")["calls"][0]["recording_url"]
        .startswith("https://recordings.example.com/")
    )


@pytest.mark.parametrize(
    ("faults", "status", "applied"),
    [
        ({"extend_rate_limited": Fault(attempts=1)}, 429, 0),
        ({"extend_error": Fault(attempts=1)}, 500, 0),
        ({"extend_refused": Fault(attempts=1)}, 403, 0),
        ({"extend_lost": Fault(attempts=1)}, 502, 1),
    ],
)
def test_an_extension_fails_before_or_after_it_is_applied(faults: dict[str, Any], status: int, applied: int) -> None:
    world = faulty(**faults)
    call_id = world.all_calls()[0]["id"]
    answer = world.answer("POST", f"/calls/{call_id}/recording/extend", body=b'{"days": 30}')
    assert (answer.status, len(world.world.extended_days.get(call_id, []))) == (status, applied)
    assert world.answer("POST", f"/calls/{call_id}/recording/extend", body=b'{"days": 30}').status == 200


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"storage_on_fire": {"share": 1}}, "no such fault: storage_on_fire"),
        ({"api_error": {"share": 2}}, "a fault's share must be between 0 and 1, not 2"),
        ({"api_error": {"attempts": 0}}, "a fault's attempts must be at least 1, or None for every attempt, not 0"),
    ],
)
def test_a_bad_fault_is_one_clear_sentence(data: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError) as raised:
        Faults.from_json(data)
    assert str(raised.value) == sentence


# On the wire: one sandbox for all of these.


@pytest.fixture(scope="module")
def running() -> Iterator[Sandbox]:
    with Sandbox(replace(VARIED, calls_per_day=40, audio_seconds=(5, 9))) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running: Sandbox) -> Iterator[Sandbox]:
    running.krosai.set_faults(Faults())
    running.krosai.reset_counters()
    yield running


@pytest.fixture
def url(sandbox: Sandbox) -> str:
    """A fresh URL of the recording of `call_id(sandbox)`."""
    return str(api(sandbox, f"/calls/{call_id(sandbox)}/recording").json()["recording_url"])


def call_id(sandbox: Sandbox) -> str:
    calls = sandbox.krosai.expected_calls(DAY, hashes=False)
    return str(next(call["id"] for call in calls if call["recorded"]))


def api(sandbox: Sandbox, path: str, method: str = "GET", **options: Any) -> requests.Response:
    headers = {"x-api-key": sandbox.environment["KROSAI_API_KEY"], **options.pop("headers", {})}
    return requests.request(method, sandbox.krosai.base_url + path, headers=headers, timeout=10, **options)


@dataclass
class Wire:
    """What really came: the head, every byte of the body, and whether the connection was reset."""

    status: int
    headers: dict[str, str]
    body: bytes
    reset: bool


def fetch(url: str, *headers: str) -> Wire:
    parts = urlsplit(url)
    received, reset = b"", False
    with socket.create_connection((parts.hostname, parts.port or 80), timeout=10) as connection:
        lines = [f"GET {parts.path}?{parts.query} HTTP/1.1", "Host: storage", "Connection: close", *headers, "", ""]
        connection.sendall("\r\n".join(lines).encode())
        try:
            while data := connection.recv(1 << 20):
                received += data
        except ConnectionResetError:
            reset = True
    head, _, body = received.partition(b"\r\n\r\n")
    first, *rest = head.decode().split("\r\n")
    status = int(first.split(" ")[1]) if first else 0
    return Wire(
        status, {name.lower(): value for name, _, value in (line.partition(": ") for line in rest)}, body, reset
    )


def test_every_recording_is_the_one_that_the_truth_names(sandbox: Sandbox) -> None:
    calls = sandbox.krosai.expected_calls()
    assert len(calls) == 120
    recorded = [call for call in calls if call["recorded"]]
    for call in recorded:
        answer = requests.get(api(sandbox, f"/calls/{call['id']}/recording").json()["recording_url"], timeout=10)
        assert answer.headers["Content-Type"] == "audio/mpeg"
        assert hashlib.sha256(answer.content).hexdigest() == call["sha256"]
        assert len(answer.content) == call["size_bytes"]
        assert abs(mp3_info(answer.content).length - call["duration_seconds"]) < 1
    counters = sandbox.krosai.counters()
    assert counters["downloads_by_call"] == {call["id"]: 1 for call in recorded}
    assert counters["audio_bytes"] == sum(call["size_bytes"] for call in recorded)
    assert counters["requests_by_route"] == {"recording": len(recorded)}
    assert sandbox.krosai.audio(recorded[0]["id"])[:4] == b"\xff\xfb\x74\xc0"


def test_the_truth_names_every_transcript(sandbox: Sandbox) -> None:
    for call in sandbox.krosai.expected_calls(DAY, hashes=False):
        answer = api(sandbox, f"/calls/{call['id']}/transcript")
        if call["transcript"] is None:
            assert answer.status_code == 404
        else:
            assert answer.json() == {
                "transcript": call["transcript"],
                "word_count": len(call["transcript"].split()),
                "language": call["language"],
                "confidence": call["confidence"],
            }


def test_an_api_connection_is_kept_alive(sandbox: Sandbox) -> None:
    with requests.Session() as session:
        session.headers["x-api-key"] = sandbox.environment["KROSAI_API_KEY"]
        for _ in range(5):
            assert session.get(sandbox.krosai.base_url + "/calls", timeout=10).status_code == 200
    assert sandbox.krosai.counters()["api_connections"] == 1


@pytest.mark.parametrize("header", ["x-api-key: kros_test_sandbox", "Authorization: Basic bmV0cmM6bmV0cmM="])
def test_storage_refuses_credentials_and_counts_the_leak(sandbox: Sandbox, url: str, header: str) -> None:
    wire = fetch(url, header)
    assert wire.status == 400 and b"<Code>InvalidArgument</Code>" in wire.body
    assert sandbox.krosai.counters()["leaked_credentials"] == 1


def test_a_url_dies_when_its_time_is_over(sandbox: Sandbox, url: str) -> None:
    assert fetch(url).status == 200
    sandbox.krosai.advance_clock(3601)
    wire = fetch(url)
    assert wire.status == 403 and wire.headers["content-type"] == "application/xml"
    assert b"<Code>AccessDenied</Code><Message>Request has expired</Message>" in wire.body
    assert fetch(api(sandbox, f"/calls/{call_id(sandbox)}/recording").json()["recording_url"]).status == 200


def test_a_url_of_another_call_or_without_signature_is_refused(sandbox: Sandbox, url: str) -> None:
    assert fetch(url.replace(call_id(sandbox), "call_other")).status == 403
    assert fetch(url.partition("?")[0]).status == 403


STORAGE_FAULTS: list[tuple[str, Any, Callable[[Wire, bytes], bool]]] = [
    # Refused.
    ("storage_denied", None, lambda wire, audio: wire.status == 403 and b"Request has expired" in wire.body),
    ("storage_missing", None, lambda wire, audio: wire.status == 404 and b"NoSuchKey" in wire.body),
    ("storage_gone", None, lambda wire, audio: wire.status == 410),
    ("storage_error", None, lambda wire, audio: wire.status == 500 and b"InternalError" in wire.body),
    ("storage_error", 502, lambda wire, audio: wire.status == 502),
    ("storage_slow_down", None, lambda wire, audio: wire.status == 503 and b"SlowDown" in wire.body),
    ("storage_redirect", "http://10.0.0.1/", lambda wire, audio: wire.headers["location"] == "http://10.0.0.1/"),
    (
        "storage_redirect",
        None,
        lambda wire, audio: wire.status == 302 and fetch(wire.headers["location"]).body == audio,
    ),
    # Answered with something else.
    ("storage_html", None, lambda wire, audio: wire.status == 200 and wire.body.startswith(b"<!doctype html>")),
    ("storage_json", None, lambda wire, audio: wire.status == 200 and "error" in json.loads(wire.body)),
    ("storage_empty", None, lambda wire, audio: wire.status == 200 and wire.headers["content-length"] == "0"),
    ("storage_other_length", None, lambda wire, audio: 0 <= len(audio) - 2 * len(wire.body) <= FRAME_BYTES),
    ("storage_other_length", 3, lambda wire, audio: len(wire.body) == 3 * len(audio)),
    ("storage_wav", None, lambda wire, audio: wire.body.startswith(b"RIFF")),
    # The right audio, damaged on its way.
    ("storage_reset", None, lambda wire, audio: wire.reset),
    (
        "storage_truncated",
        None,
        lambda wire, audio: _is_half(wire, audio) and int(wire.headers["content-length"]) == len(audio),
    ),
    ("storage_cut_silently", None, lambda wire, audio: _is_half(wire, audio) and "content-length" not in wire.headers),
    ("storage_rubbish", None, lambda wire, audio: len(wire.body) == len(audio) and wire.body[:2000] == audio[:2000]),
    ("storage_longer", None, lambda wire, audio: len(wire.body) > int(wire.headers["content-length"]) == len(audio)),
    ("storage_slow", 0.5, lambda wire, audio: wire.body == audio),
    ("storage_gzip", None, lambda wire, audio: gzip.decompress(wire.body) == audio != wire.body),
]


def _is_half(wire: Wire, audio: bytes) -> bool:
    return not wire.reset and wire.body == audio[: len(audio) // 2]


@pytest.mark.parametrize(("knob", "value", "holds"), STORAGE_FAULTS, ids=lambda item: str(item) if item else "")
def test_a_storage_fault_hits_the_first_attempt(
    sandbox: Sandbox, url: str, knob: str, value: Any, holds: Callable[[Wire, bytes], bool]
) -> None:
    audio = sandbox.krosai.audio(call_id(sandbox))
    sandbox.krosai.set_faults(Faults.from_json({knob: {"attempts": 1, "value": value}}))
    wire = fetch(url)
    assert holds(wire, audio), (wire.status, wire.headers, len(wire.body))
    assert wire.body != audio or knob == "storage_slow"
    assert fetch(url).body == audio
    assert sandbox.krosai.counters()["faults"][knob] == 1


def test_a_slow_body_takes_its_time_and_lets_others_pass(sandbox: Sandbox, url: str) -> None:
    sandbox.krosai.set_faults(Faults(storage_slow=Fault(value=0.6)))
    started = time.monotonic()
    with requests.get(url, stream=True, timeout=10) as slow:
        assert api(sandbox, "/calls").status_code == 200
        assert time.monotonic() - started < 0.4
        assert len(slow.content) == len(sandbox.krosai.audio(call_id(sandbox)))
    assert 0.5 < time.monotonic() - started < 3


def test_a_redirect_carries_the_key_to_storage_if_the_client_lets_it(sandbox: Sandbox, url: str) -> None:
    sandbox.krosai.set_faults(Faults(storage_redirect=Fault(attempts=1)))
    with requests.Session() as careless:
        careless.headers["x-api-key"] = "kros_test_sandbox"
        assert careless.get(url, timeout=10).status_code == 400
    assert sandbox.krosai.counters()["leaked_credentials"] == 1


def test_a_reset_is_a_reset_and_silence_is_silence(sandbox: Sandbox) -> None:
    sandbox.krosai.set_faults(Faults(api_reset=Fault(attempts=1)))
    with pytest.raises(requests.ConnectionError):
        api(sandbox, "/calls")
    sandbox.krosai.set_faults(Faults(api_timeout=Fault(attempts=1, value=0.3)))
    started = time.monotonic()
    with pytest.raises(requests.ConnectionError):
        api(sandbox, "/calls")
    assert 0.25 < time.monotonic() - started < 3
    assert api(sandbox, "/calls").status_code == 200
    assert sandbox.krosai.counters()["responses_by_status"] == {"none": 2, "200": 1}


def test_an_extension_may_be_applied_and_never_answered(sandbox: Sandbox) -> None:
    sandbox.krosai.set_faults(Faults(extend_timeout=Fault(attempts=1, value=0.2)))
    path, key = f"/calls/{call_id(sandbox)}/recording/extend", {"Idempotency-Key": "decision-1"}
    with pytest.raises(requests.ConnectionError):
        api(sandbox, path, "POST", json={"days": 90}, headers=key)
    assert api(sandbox, path, "POST", json={"days": 90}, headers=key).json() == {"success": True}
    assert sandbox.krosai.extended_days() == {call_id(sandbox): [90]}
    counters = sandbox.krosai.counters()
    assert counters["extend_requests_by_call"] == {call_id(sandbox): 2}
    assert (counters["extends_applied_by_call"], counters["replayed"]) == ({call_id(sandbox): 1}, 1)


@pytest.mark.parametrize("side", ["api", "storage"])
def test_latency_is_of_one_side_and_holds_nobody_up(sandbox: Sandbox, url: str, side: str) -> None:
    sandbox.krosai.set_faults(Faults.from_json({f"{side}_latency_seconds": 0.2}))
    asks: dict[str, Callable[[], object]] = {"api": lambda: api(sandbox, "/calls"), "storage": lambda: fetch(url)}
    for asked, ask in asks.items():
        started = time.monotonic()
        ask()
        assert (time.monotonic() - started >= 0.2) is (asked == side)


def test_control_wants_its_token(sandbox: Sandbox) -> None:
    origin = sandbox.krosai.base_url.removesuffix("/v1")
    for headers in ({}, {"x-control-token": "guess"}, {"x-api-key": "kros_test_sandbox"}):
        assert requests.post(f"{origin}/__control__/release_late", headers=headers, timeout=10).status_code == 403


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [(b"nonsense\r\n\r\n", 400), (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 411), (b"G" * 70_000, 431)],
)
def test_what_is_no_request_is_refused(sandbox: Sandbox, request_bytes: bytes, status: int) -> None:
    parts = urlsplit(sandbox.krosai.base_url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
        connection.sendall(request_bytes)
        assert connection.recv(100).startswith(f"HTTP/1.1 {status} ".encode())


def test_a_request_may_come_in_pieces_and_two_at_once(sandbox: Sandbox) -> None:
    parts = urlsplit(sandbox.krosai.base_url)
    one = b"GET /v1/calls/x HTTP/1.1\r\nx-api-key: kros_test_sandbox\r\n\r\n"
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
        for piece in (one[:9], one[9:-2], one[-2:] + one):
            connection.sendall(piece)
            time.sleep(0.02)
        received = b""
        while received.count(b"NOT_FOUND") < 2:
            received += connection.recv(4096)
    assert received.count(b"HTTP/1.1 404 Not Found\r\n") == 2


# S3 and the environment.


def test_the_environment_names_everything_and_nothing_else(sandbox: Sandbox) -> None:
    environment = sandbox.environment
    assert set(environment) == {
        *("KROSAI_API_KEY", "KROSAI_BASE_URL", "KROS_RECORDING_HOSTS", "KROS_ARCHIVE_URL", "AWS_ENDPOINT_URL_S3"),
        *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ALLOW_HTTP"),
        "NO_PROXY",
    }
    assert environment["KROS_ARCHIVE_URL"] == "s3://kros-archive/krosai"
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/v1", environment["KROSAI_BASE_URL"])


def test_the_bucket_is_there_empty_and_unversioned(sandbox: Sandbox) -> None:
    s3 = sandbox.s3.client()
    assert s3.list_objects_v2(Bucket=sandbox.s3.bucket)["KeyCount"] == 0
    assert "Status" not in s3.get_bucket_versioning(Bucket=sandbox.s3.bucket)
    s3.put_object(Bucket=sandbox.s3.bucket, Key="a", Body=b"1", IfNoneMatch="*")
    with pytest.raises(s3.exceptions.ClientError, match="PreconditionFailed"):
        s3.put_object(Bucket=sandbox.s3.bucket, Key="a", Body=b"2", IfNoneMatch="*")


def test_a_bucket_may_keep_versions_and_locks_and_krosai_may_speak_tls() -> None:
    config = replace(PLAIN, versioning=True, object_lock=True, tls=True, auth="bearer", organization_id="org-1")
    with Sandbox(config) as sandbox:
        s3 = sandbox.s3.client()
        assert s3.get_bucket_versioning(Bucket=sandbox.s3.bucket)["Status"] == "Enabled"
        assert "ObjectLockConfiguration" in s3.get_object_lock_configuration(Bucket=sandbox.s3.bucket)
        environment = sandbox.environment
        assert (environment["KROSAI_AUTH"], environment["KROSAI_ORGANIZATION_ID"]) == ("bearer", "org-1")
        headers = {"Authorization": f"Bearer {config.api_key}"}
        trust = environment["REQUESTS_CA_BUNDLE"]
        page = requests.get(f"{environment['KROSAI_BASE_URL']}/calls", headers=headers, verify=trust, timeout=10).json()
        url = page["calls"][0]["recording_url"]
        assert url.startswith("https://127.0.0.1:")
        assert requests.get(url, verify=trust, timeout=10).content == sandbox.krosai.audio(page["calls"][0]["id"])


# Processes.


def test_no_process_outlives_its_parent_even_a_killed_one() -> None:
    script = (
        "from kros_pipeline.sandbox import Sandbox\n"
        "sandbox = Sandbox().__enter__()\n"
        "print(sandbox.krosai.pid, sandbox.s3.pid, flush=True)\n"
        "import time; time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        children = [int(pid) for pid in parent.stdout.readline().split()]
        assert all(_is_alive(pid) for pid in children) and len(children) == 2
        parent.send_signal(signal.SIGKILL)
    give_up_at = time.monotonic() + 5
    while any(map(_is_alive, children)):
        assert time.monotonic() < give_up_at, "a child outlived its parent"
        time.sleep(0.05)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")  # where there is one: a zombie that nobody has reaped yet is not alive
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_child_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kros_pipeline.sandbox.simulator._MODULE", "kros_pipeline.sandbox.nothing")
    with pytest.raises(RuntimeError, match=r"nothing did not start: .*No module named"), KrosaiSimulator(PLAIN):
        pass


def test_the_module_runs_a_command_in_its_environment_and_ends_with_its_exit_code() -> None:
    command = [sys.executable, "-c", "import os; print(os.environ['KROSAI_BASE_URL']); raise SystemExit(7)"]
    ran = subprocess.run(
        [sys.executable, "-m", "kros_pipeline.sandbox", "--days", DAY, "--calls-per-day", "3", "--", *command],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (ran.returncode, ran.stderr) == (7, "")
    assert ran.stdout.startswith("http://127.0.0.1:")


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_the_module_passes_a_termination_on_and_says_how_the_command_ended() -> None:
    sleep = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
    module = [sys.executable, "-m", "kros_pipeline.sandbox", "--plain", "--", *sleep]
    with subprocess.Popen(module, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None and running.stdout.readline() == "up\n"
        running.terminate()
        assert running.wait(10) == 128 + signal.SIGTERM


def test_a_command_that_does_not_exist_is_one_sentence() -> None:
    module = [sys.executable, "-m", "kros_pipeline.sandbox", "--plain", "--", "no-such-command"]
    ran = subprocess.run(module, capture_output=True, text=True, timeout=30)
    assert (ran.returncode, ran.stderr) == (127, "no such command: no-such-command\n")


def test_the_module_prints_its_environment_and_lasts_until_its_stdin_closes() -> None:
    module = [sys.executable, "-m", "kros_pipeline.sandbox", "--last-days", "2", "--plain"]
    with subprocess.Popen(module, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None and running.stdin is not None
        environment = dict(running.stdout.readline().rstrip("\n").split("=", 1) for _ in range(11))
        headers = {"x-api-key": environment["KROSAI_API_KEY"]}
        page = requests.get(f"{environment['KROSAI_BASE_URL']}/calls", headers=headers, timeout=10).json()
        assert page["total"] == 80
        running.stdin.close()
        assert running.wait(10) == 0


def test_the_module_refuses_bad_options_in_one_sentence() -> None:
    bad = [sys.executable, "-m", "kros_pipeline.sandbox", "--audio-seconds", "long"]
    ran = subprocess.run(bad, capture_output=True, text=True, timeout=30)
    assert ran.returncode == 2
    assert ran.stderr.endswith("--audio-seconds must be two whole numbers with a comma, not long\n")
