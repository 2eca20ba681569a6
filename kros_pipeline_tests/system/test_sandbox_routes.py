"""The routes of a call, authentication, settings and rate limit behave as documented."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from kros_pipeline.sandbox.rate_limit import RateLimit
from kros_pipeline_tests.support.sandbox_client import PLAIN, InProcessApi


def test_the_recording_and_transcript_routes_answer_the_documented_fields(plain: InProcessApi) -> None:
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
def test_only_a_valid_key_for_the_organization_is_accepted(auth: Any, headers: dict[str, str], status: int) -> None:
    api = InProcessApi(replace(PLAIN, auth=auth, organization_id="org-1"))
    answer = api.answer("GET", "/calls?limit=1", headers=headers)
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
def test_an_unknown_call_or_route_is_answered_with_404(plain: InProcessApi, method: str, path: str) -> None:
    assert plain.refusal(method, path) == (404, "NOT_FOUND")


def test_an_extension_is_applied_each_time_unless_its_idempotency_key_repeats() -> None:
    api = InProcessApi(PLAIN)
    call_id = api.all_calls()[0]["id"]
    for key in ("", "", "a", "a", "b"):
        headers = {"x-api-key": PLAIN.api_key, **({"idempotency-key": key} if key else {})}
        assert api.answer("POST", f"/calls/{call_id}/recording/extend", b'{"days": 30}', headers).status == 200
    assert api.world.extended_days == {call_id: [30, 30, 30, 30]}
    assert api.world.counters.replayed == 1


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
def test_an_invalid_extension_is_refused_and_not_applied(
    plain: InProcessApi, body: bytes, refusal: tuple[int, str]
) -> None:
    call_id = plain.all_calls()[0]["id"]
    assert plain.refusal("POST", f"/calls/{call_id}/recording/extend", body=body) == refusal
    assert plain.world.extended_days == {}


@pytest.mark.parametrize("status", [410, 404])
def test_a_deleted_recording_cannot_be_fetched_deleted_or_extended(status: Any) -> None:
    api = InProcessApi(replace(PLAIN, deleted_recording_status=status))
    call_id = api.all_calls()[0]["id"]
    assert api.answer("DELETE", f"/calls/{call_id}/recording").status == 200
    assert api.refusal("GET", f"/calls/{call_id}/recording") == (status, "RECORDING_DELETED")
    assert api.refusal("DELETE", f"/calls/{call_id}/recording") == (404, "NOT_FOUND")
    assert api.refusal("POST", f"/calls/{call_id}/recording/extend", body=b'{"days": 1}') == (404, "NOT_FOUND")
    assert api.get(f"/calls/{call_id}")["recording_url"] is None


def test_settings_are_patched_by_name_and_unknown_names_are_refused() -> None:
    api = InProcessApi(PLAIN)
    answer = api.answer("PATCH", "/settings", body=b'{"recording_enabled": false}')
    assert json.loads(bytes(answer.body)) == {"recording_enabled": False, "transcription_enabled": True}
    assert api.refusal("PATCH", "/settings", body=b'{"colour": true}') == (400, "VALIDATION_ERROR")


def test_the_rate_limit_is_a_token_bucket() -> None:
    limit = RateLimit(per_second=2, per_day=None)
    assert [limit.take(100.0) for _ in range(3)] == [0, 0, 0.5]
    assert limit.take(100.5) == 0
    assert limit.headers(100.5) == {"X-RateLimit-Limit": "2", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "102"}


def test_the_daily_quota_renews_at_midnight() -> None:
    limit = RateLimit(per_second=None, per_day=2)
    assert [limit.take(86_000.0) for _ in range(3)] == [0, 0, 400]
    assert limit.take(86_400.0) == 0


def test_a_request_beyond_the_rate_limit_is_answered_with_the_documented_429() -> None:
    api = InProcessApi(replace(PLAIN, requests_per_second=0.5))
    api.get("/calls")
    answer = api.answer("GET", "/calls")
    body = json.loads(bytes(answer.body))
    assert answer.status == 429 and body["code"] == "RATE_LIMIT_EXCEEDED" and body["error"] == "Rate limit exceeded"
    assert 1 < body["retry_after"] <= 2.001
    assert answer.headers["Retry-After"] == str(body["retry_after"])
