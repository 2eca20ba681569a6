"""Events of a call are parsed in every shape that is likely, and nothing of them is lost."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from kros_pipeline.core.errors import UnexpectedResponse
from kros_pipeline.source.call_events import parse_events
from kros_pipeline.source.call_source import CallEvent

AT = datetime(2025, 1, 10, 10, 3, 5, tzinfo=UTC)
TIME = "2025-01-10T10:03:05Z"


@pytest.mark.parametrize(
    "answer",
    [
        {"events": [{"type": "hangup", "timestamp": TIME, "hangup_cause": "user_hangup"}]},
        {"data": [{"event": "hangup", "created_at": TIME, "data": {"hangup_cause": "user_hangup"}}]},
        {"timeline": [{"name": "hangup", "at": TIME, "metadata": {"reason": "user_hangup"}}]},
        {"data": {"events": [{"event_type": "hangup", "time": TIME, "details": {"cause": "user_hangup"}}]}},
        {"items": [{"type": "hangup", "occurred_at": TIME, "hangup_cause": "user_hangup"}], "total": 1},
    ],
)
def test_an_event_is_read_in_every_likely_shape(answer: dict[str, Any]) -> None:
    [event] = parse_events(answer)
    assert (event.name, event.occurred_at, event.hangup_cause) == ("hangup", AT, "user_hangup")


@pytest.mark.parametrize(
    ("raw", "event"),
    [
        ({}, CallEvent("unnamed", None, None, None)),
        ("ringing", CallEvent("ringing", None, None, None)),
        (7, CallEvent("unnamed", None, None, '{"event":7}')),
        (None, CallEvent("unnamed", None, None, '{"event":null}')),
        ({"type": "dtmf", "digit": "5"}, CallEvent("dtmf", None, None, '{"digit":"5"}')),
        # A time that cannot be read, and a second name, are not lost.
        ({"type": "x", "timestamp": "soon"}, CallEvent("x", None, None, '{"timestamp":"soon"}')),
        ({"type": "x", "name": "y"}, CallEvent("x", None, None, '{"name":"y"}')),
        # Only documented causes are believed in a field that may mean something else.
        ({"type": "transfer", "reason": "asked"}, CallEvent("transfer", None, None, '{"reason":"asked"}')),
        ({"type": "hangup", "hangup_cause": "NEW_ONE"}, CallEvent("hangup", None, "NEW_ONE", None)),
        ({"type": 5}, CallEvent("unnamed", None, None, '{"type":5}')),
    ],
)
def test_what_is_not_understood_is_kept(raw: object, event: CallEvent) -> None:
    assert parse_events({"events": [raw]}) == [event]


def test_no_url_of_a_recording_is_kept() -> None:
    url = "https://storage.krosai.com/recordings/a.mp3?X-Amz-Signature=abc"
    raw = {"type": "recorded", "recording_url": url, "note": f"see {url}", "data": {"recording_url": url}}
    [event] = parse_events({"events": [raw]}, recording_hosts=("storage.krosai.com",))
    assert event.extra is not None and "X-Amz" not in event.extra and "recording_url" not in event.extra
    assert json.loads(event.extra)["note"] == "see https://storage.krosai.com/recordings/a.mp3"


@pytest.mark.parametrize(
    "raw",
    ["{}", {"type": "see {}"}, {"type": "hangup", "hangup_cause": "{}"}, {"type": "x", "data": {"hangup_cause": "{}"}}],
)
def test_no_url_of_a_recording_is_kept_as_a_name_or_a_cause(raw: object) -> None:
    url = "https://storage.krosai.com/recordings/a.mp3?X-Amz-Signature=abc"
    answer = json.loads(json.dumps({"events": [raw]}).replace("{}", url))
    [event] = parse_events(answer, recording_hosts=("storage.krosai.com",))
    assert "storage.krosai.com/recordings/a.mp3" in f"{event}" and "X-Amz" not in f"{event}"


@pytest.mark.parametrize("answer", [{}, {"events": None}, {"events": "none"}, {"call": {"events": []}}])
def test_an_answer_without_a_list_is_reported_with_its_fields(answer: dict[str, Any]) -> None:
    with pytest.raises(UnexpectedResponse, match="the events of a call are in no known field"):
        parse_events(answer)


def test_no_events_are_no_error() -> None:
    assert parse_events({"events": []}) == []
