"""A running storage checks URLs and credentials, and each of its faults does what its name says."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
import requests

from kros_pipeline.sandbox import Fault, Faults, Sandbox
from kros_pipeline.sandbox.mp3 import FRAME_BYTES
from kros_pipeline_tests.support.sandbox_client import WireResponse, fetch, recorded_call_id, request_api


@pytest.mark.parametrize("header", ["x-api-key: kros_test_sandbox", "Authorization: Basic bmV0cmM6bmV0cmM="])
def test_storage_refuses_credentials_and_counts_the_leak(sandbox: Sandbox, url: str, header: str) -> None:
    wire = fetch(url, header)
    assert wire.status == 400 and b"<Code>InvalidArgument</Code>" in wire.body
    assert sandbox.krosai.counters()["leaked_credentials"] == 1


def test_an_expired_url_is_refused_and_a_new_one_works(sandbox: Sandbox, url: str) -> None:
    assert fetch(url).status == 200
    sandbox.krosai.advance_clock(3601)
    wire = fetch(url)
    assert wire.status == 403 and wire.headers["content-type"] == "application/xml"
    assert b"<Code>AccessDenied</Code><Message>Request has expired</Message>" in wire.body
    assert (
        fetch(request_api(sandbox, f"/calls/{recorded_call_id(sandbox)}/recording").json()["recording_url"]).status
        == 200
    )


def test_a_url_for_another_call_or_without_signature_is_refused(sandbox: Sandbox, url: str) -> None:
    assert fetch(url.replace(recorded_call_id(sandbox), "call_other")).status == 403
    assert fetch(url.partition("?")[0]).status == 403


STORAGE_FAULTS: list[tuple[str, Any, Callable[[WireResponse, bytes], bool]]] = [
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


def _is_half(wire: WireResponse, audio: bytes) -> bool:
    return not wire.reset and wire.body == audio[: len(audio) // 2]


@pytest.mark.parametrize(
    ("name", "value", "holds"), STORAGE_FAULTS, ids=[f"{name}-{value}" for name, value, _ in STORAGE_FAULTS]
)
def test_a_storage_fault_applies_to_the_first_attempt_only(
    sandbox: Sandbox, url: str, name: str, value: Any, holds: Callable[[WireResponse, bytes], bool]
) -> None:
    audio = sandbox.krosai.audio(recorded_call_id(sandbox))
    sandbox.krosai.set_faults(Faults.from_json({name: {"attempts": 1, "value": value}}))
    wire = fetch(url)
    assert holds(wire, audio), (wire.status, wire.headers, len(wire.body))
    assert wire.body != audio or name == "storage_slow"
    assert fetch(url).body == audio
    assert sandbox.krosai.counters()["faults"][name] == 1


def test_a_slow_body_does_not_delay_other_requests(sandbox: Sandbox, url: str) -> None:
    sandbox.krosai.set_faults(Faults(storage_slow=Fault(value=0.6)))
    started = time.monotonic()
    with requests.get(url, stream=True, timeout=10) as slow:
        assert request_api(sandbox, "/calls").status_code == 200
        assert time.monotonic() - started < 0.4
        assert len(slow.content) == len(sandbox.krosai.audio(recorded_call_id(sandbox)))
    assert 0.5 < time.monotonic() - started < 3


def test_a_redirect_leaks_the_key_of_a_careless_client(sandbox: Sandbox, url: str) -> None:
    sandbox.krosai.set_faults(Faults(storage_redirect=Fault(attempts=1)))
    with requests.Session() as careless:
        careless.headers["x-api-key"] = "kros_test_sandbox"
        assert careless.get(url, timeout=10).status_code == 400
    assert sandbox.krosai.counters()["leaked_credentials"] == 1
