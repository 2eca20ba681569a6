"""A running sandbox serves, counts and delays as configured."""

from __future__ import annotations

import hashlib
import socket
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
import requests

from kros_pipeline.sandbox import Fault, Faults, Sandbox
from kros_pipeline_tests.support.sandbox_client import DAY, fetch, read_mp3, recorded_call_id, request_api


def test_every_recording_has_the_expected_hash_size_and_duration_and_is_counted(sandbox: Sandbox) -> None:
    calls = sandbox.krosai.expected_calls()
    assert len(calls) == 120
    recorded = [call for call in calls if call["recorded"]]
    for call in recorded:
        answer = requests.get(
            request_api(sandbox, f"/calls/{call['id']}/recording").json()["recording_url"], timeout=10
        )
        assert answer.headers["Content-Type"] == "audio/mpeg"
        assert hashlib.sha256(answer.content).hexdigest() == call["sha256"]
        assert len(answer.content) == call["size_bytes"]
        assert abs(read_mp3(answer.content).length - call["duration_seconds"]) < 1
    counters = sandbox.krosai.counters()
    assert counters["downloads_by_call"] == {call["id"]: 1 for call in recorded}
    assert counters["audio_bytes"] == sum(call["size_bytes"] for call in recorded)
    assert counters["requests_by_route"] == {"recording": len(recorded)}
    assert sandbox.krosai.audio(recorded[0]["id"])[:4] == b"\xff\xfb\x74\xc0"


def test_every_transcript_is_the_expected_one(sandbox: Sandbox) -> None:
    for call in sandbox.krosai.expected_calls(DAY, hashes=False):
        answer = request_api(sandbox, f"/calls/{call['id']}/transcript")
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


def test_a_reset_and_a_silent_answer_are_connection_errors_and_are_counted(sandbox: Sandbox) -> None:
    sandbox.krosai.set_faults(Faults(api_reset=Fault(attempts=1)))
    with pytest.raises(requests.ConnectionError):
        request_api(sandbox, "/calls")
    sandbox.krosai.set_faults(Faults(api_timeout=Fault(attempts=1, value=0.3)))
    started = time.monotonic()
    with pytest.raises(requests.ConnectionError):
        request_api(sandbox, "/calls")
    assert 0.25 < time.monotonic() - started < 3
    assert request_api(sandbox, "/calls").status_code == 200
    assert sandbox.krosai.counters()["responses_by_status"] == {"none": 2, "200": 1}


def test_an_extension_can_be_applied_without_an_answer(sandbox: Sandbox) -> None:
    sandbox.krosai.set_faults(Faults(extend_timeout=Fault(attempts=1, value=0.2)))
    path, key = f"/calls/{recorded_call_id(sandbox)}/recording/extend", {"Idempotency-Key": "decision-1"}
    with pytest.raises(requests.ConnectionError):
        request_api(sandbox, path, "POST", json={"days": 90}, headers=key)
    assert request_api(sandbox, path, "POST", json={"days": 90}, headers=key).json() == {"success": True}
    assert sandbox.krosai.extended_days() == {recorded_call_id(sandbox): [90]}
    counters = sandbox.krosai.counters()
    assert counters["extend_requests_by_call"] == {recorded_call_id(sandbox): 2}
    assert (counters["extends_applied_by_call"], counters["replayed"]) == ({recorded_call_id(sandbox): 1}, 1)


@pytest.mark.parametrize("side", ["api", "storage"])
def test_latency_delays_only_its_own_side(sandbox: Sandbox, url: str, side: str) -> None:
    sandbox.krosai.set_faults(Faults.from_json({f"{side}_latency_seconds": 0.2}))
    asks: dict[str, Callable[[], object]] = {
        "api": lambda: request_api(sandbox, "/calls"),
        "storage": lambda: fetch(url),
    }
    for asked, ask in asks.items():
        started = time.monotonic()
        ask()
        assert (time.monotonic() - started >= 0.2) is (asked == side)


def test_control_routes_refuse_a_request_without_the_token(sandbox: Sandbox) -> None:
    origin = sandbox.krosai.base_url.removesuffix("/v1")
    for headers in ({}, {"x-control-token": "guess"}, {"x-api-key": "kros_test_sandbox"}):
        assert requests.post(f"{origin}/__control__/release_late", headers=headers, timeout=10).status_code == 403


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [(b"nonsense\r\n\r\n", 400), (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 411), (b"G" * 70_000, 431)],
)
def test_an_invalid_request_is_refused(sandbox: Sandbox, request_bytes: bytes, status: int) -> None:
    parts = urlsplit(sandbox.krosai.base_url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
        connection.sendall(request_bytes)
        assert connection.recv(100).startswith(f"HTTP/1.1 {status} ".encode())


def test_requests_can_arrive_in_pieces_or_together(sandbox: Sandbox) -> None:
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
