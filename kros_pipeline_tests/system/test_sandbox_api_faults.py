"""Each fault of the API does what its name says, for the attempts, routes and calls it is meant for."""

from __future__ import annotations

import re
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from kros_pipeline.sandbox import Fault, Faults
from kros_pipeline_tests.support.sandbox_client import PLAIN, InProcessApi, inject


@pytest.mark.parametrize(
    ("faults", "status"),
    [
        ({"api_key_refused": Fault(attempts=1)}, 401),
        ({"api_rate_limited": Fault(attempts=1)}, 429),
        ({"api_error": Fault(attempts=1)}, 500),
        ({"api_error": Fault(attempts=1, value=503)}, 503),
    ],
)
def test_an_api_fault_applies_only_to_the_first_attempts_of_each_page(faults: dict[str, Fault], status: int) -> None:
    api = inject(**faults)
    queries = ["/calls", "/calls", "/calls?offset=40", "/calls?offset=40"]
    assert [api.answer("GET", query).status for query in queries] == [status, 200, status, 200]


def test_a_fault_can_be_limited_to_routes_and_calls() -> None:
    first, second = (call["id"] for call in inject().all_calls()[:2])
    api = inject(api_error=Fault(routes=("transcript",), calls=(first,)))
    asked = [f"/calls/{first}/transcript", f"/calls/{first}/recording", f"/calls/{second}/transcript", "/calls"]
    assert [api.answer("GET", path).status for path in asked] == [500, 200, 200, 200]


def test_a_share_selects_about_that_part_of_the_calls_and_always_the_same_ones() -> None:
    api = InProcessApi(replace(PLAIN, calls_per_day=1000, faults=Faults(api_error=Fault(share=0.2, routes=("call",)))))
    ids = [call["id"] for call in api.all_calls()]
    hit = [call_id for call_id in ids if api.answer("GET", f"/calls/{call_id}").status == 500]
    assert 150 < len(hit) < 250
    assert hit == [call_id for call_id in ids if api.answer("GET", f"/calls/{call_id}").status == 500]


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
def test_retry_after_is_sent_in_every_form(value: Any, pattern: str) -> None:
    answer = inject(api_rate_limited=Fault(value=value)).answer("GET", "/calls")
    assert re.fullmatch(pattern, answer.headers["Retry-After"])


def test_retry_after_can_be_absent() -> None:
    assert "Retry-After" not in inject(api_rate_limited=Fault(value="absent")).answer("GET", "/calls").headers


@pytest.mark.parametrize(
    ("value", "status", "has_header", "body"),
    [
        ("as-200", 200, False, b'"retry_after":0.2'),
        ("as-403", 403, False, b'"code":"RATE_LIMIT_EXCEEDED"'),
        ("as-503", 503, True, b"<!doctype html>"),
        ("reset", 429, False, b'"code":"RATE_LIMIT_EXCEEDED"'),
    ],
)
def test_a_rate_limit_is_sent_in_every_other_form(value: str, status: int, has_header: bool, body: bytes) -> None:
    answer = inject(api_rate_limited=Fault(value=value)).answer("GET", "/calls")
    assert (answer.status, "Retry-After" in answer.headers) == (status, has_header)
    assert body in bytes(answer.body).replace(b'": ', b'":')
    if value == "reset":
        sent_at = parsedate_to_datetime(answer.headers["Date"]).timestamp()
        assert 0 < int(answer.headers["X-RateLimit-Reset"]) - sent_at <= 3


@pytest.mark.parametrize(
    ("value", "status", "body"),
    [
        (None, 404, rb"<!doctype html>.*"),
        ("403 html", 403, rb"<!doctype html>.*"),
        ("410 empty", 410, rb""),
        ("404 message", 404, rb'\{"message": ?"no Route.*'),
        ("200 PLAN_LIMIT", 200, rb'\{"error": ?"Something.*"PLAN_LIMIT".*'),
    ],
)
def test_a_gateway_answers_in_place_of_the_api_and_nothing_is_done(value: Any, status: int, body: bytes) -> None:
    api = inject(api_gateway=Fault(value=value, routes=("delete", "extend", "recording")))
    call_id = api.all_calls()[0]["id"]
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/extend")):
        answer = api.answer(method, f"/calls/{call_id}/recording{path}", body=b'{"days": 30}')
        assert answer.status == status and re.fullmatch(body, bytes(answer.body))
    assert not api.world.deleted and not api.world.extended_days


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
    api = inject(**faults)
    call_id = api.all_calls()[0]["id"]
    answer = api.answer("POST", f"/calls/{call_id}/recording/extend", body=b'{"days": 30}')
    assert (answer.status, len(api.world.extended_days.get(call_id, []))) == (status, applied)
    assert api.answer("POST", f"/calls/{call_id}/recording/extend", body=b'{"days": 30}').status == 200


def test_a_minted_url_can_name_any_host() -> None:
    call = inject(url_foreign=Fault(value="http://169.254.169.254")).get("/calls")["calls"][0]
    assert call["recording_url"].startswith("http://169.254.169.254/recordings/call_")
    assert (
        inject(url_foreign=Fault())
        .get("/calls")["calls"][0]["recording_url"]
        .startswith("https://recordings.example.com/")
    )
