"""Webhook deliveries are parsed in every form that is documented or likely, and no form raises."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kros_pipeline.core.errors import ApiUnauthorized, CallNotFound, NotOffered, RequestRefused, UnexpectedResponse
from kros_pipeline.source.call_source import Delivery
from kros_pipeline.source.webhook_deliveries import parse_delivery, parse_detail
from kros_pipeline_tests.support.scripted_api import HTML, ScriptedApi, error

CREATED, SENT = "2025-01-10T23:50:00Z", "2025-01-11T00:10:00Z"
CREATED_AT, SENT_AT = datetime.fromisoformat(CREATED), datetime.fromisoformat(SENT)
DATA = {"call_id": "call_a", "created_at": CREATED, "status": "completed"}
EVENT = {"id": "evt_1", "event": "call.completed", "timestamp": SENT, "data": DATA}
ROW = {"id": "del_1", "webhook_id": "wh_1", "event": "call.completed", "status": "failed", "created_at": SENT}


def event_with(**changes: Any) -> dict[str, Any]:
    return EVENT | changes


def row_with(payload: Any, **changes: Any) -> dict[str, Any]:
    return ROW | {"payload": payload} | changes


def said_by(row: object) -> tuple[str, str, datetime | None, datetime | None] | None:
    event = parse_delivery(row).event
    return (event.event_id, event.call_id, event.created_at, event.sent_at) if event else None


@pytest.mark.parametrize(
    "row",
    [
        row_with(EVENT),
        row_with(json.dumps(EVENT)),
        row_with(json.dumps(event_with(data=json.dumps(DATA)))),
        ROW | {"request_body": EVENT},
        ROW | {"request": {"headers": {"x-webhook-signature": "sha256=00"}, "body": json.dumps(EVENT)}},
        {**ROW, "event": EVENT},
        EVENT,  # the row is the event itself
        {**EVENT, "event": None, "event_type": "call.completed"},
        {**EVENT, "event": None, "type": "call.completed"},
        row_with(event_with(data={"call": {"id": "call_a", "started_at": CREATED}})),
        row_with(event_with(data={"id": "call_a", "created_at": CREATED})),
        row_with(event_with(data={"callId": "call_a", "created_at": CREATED})),
        row_with(event_with(timestamp=SENT_AT.timestamp())),
        row_with(event_with(timestamp=int(SENT_AT.timestamp() * 1_000))),
        row_with(event_with(timestamp="2025-01-11T01:10:00+01:00")),
        row_with(event_with(timestamp=None)),  # the row has a time, too
        row_with(EVENT, response_body='{"call_id": "call_b"}'),
    ],
)
def test_an_event_is_read_wherever_it_lies(row: Any) -> None:
    assert said_by(row) == ("evt_1", "call_a", CREATED_AT, SENT_AT)


@pytest.mark.parametrize(
    "name",
    ["call.completed", "call.ended", "CALL_COMPLETED", "call-ended", "Call Completed", "callCompleted"],
)
def test_every_spelling_of_a_call_event_may_have_the_calls_id_as_id(name: str) -> None:
    assert said_by(row_with(event_with(event=name, data={"id": "call_a"}))) == ("evt_1", "call_a", None, SENT_AT)


@pytest.mark.parametrize(
    "name",
    [
        "recording.ready", "call.recording.completed", "call.recording.ready", "transcript.ready",
        "transcription.completed", "RECORDING_READY", "call-recording-ready",
    ],
)  # fmt: skip
def test_the_id_of_a_recording_is_not_taken_for_its_calls(name: str) -> None:
    data = {"id": "rec_1", "call_id": "call_a", "created_at": SENT}
    assert said_by(row_with(event_with(event=name, data=data))) == ("evt_1", "call_a", None, SENT_AT)
    parsed = parse_delivery(row_with(event_with(event=name, data={"id": "rec_1"})))
    assert parsed.event is None and parsed.problem == "the event names no call"


def test_a_payload_that_is_the_data_alone_has_its_name_in_the_row() -> None:
    assert said_by(row_with({"call_id": "call_a"}, event_id="evt_1")) == ("evt_1", "call_a", None, SENT_AT)
    assert said_by(row_with({"call_id": "call_a"})) == ("del_1", "call_a", None, SENT_AT)


@pytest.mark.parametrize("status", ["failed", "busy", "no_answer", "No-Answer", "in_progress"])
def test_a_call_that_did_not_complete_is_no_witness(status: str) -> None:
    for data in ({**DATA, "status": status}, {"call": {"id": "call_a", "status": status}}):
        parsed = parse_delivery(row_with(event_with(event="call.ended", data=data)))
        assert (parsed.event, parsed.problem, parsed.needs_detail) == (None, "", False)


@pytest.mark.parametrize("name", ["call.started", "number.purchased", "call.failed", "ping", "recording.deleted"])
def test_other_events_say_nothing(name: str) -> None:
    for row in (row_with(event_with(event=name), event=name), {**ROW, "event": name}):
        assert parse_delivery(row) == Delivery("del_1", None, SENT_AT)


@pytest.mark.parametrize("payload", [None, "", "sent", '{"id": "evt_1", "ev', [], {}, {"url": "https://example.com"}])
def test_what_the_list_does_not_show_has_to_be_asked_for(payload: Any) -> None:
    assert parse_delivery(row_with(payload)) == Delivery("del_1", None, SENT_AT, needs_detail=True)
    assert parse_delivery({"id": 17, "payload": payload}) == Delivery("17", None, None, needs_detail=True) or payload


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("del_1", "a webhook delivery is a str, not an object"),
        (None, "a webhook delivery is a NoneType, not an object"),
        ({}, "neither what was sent nor an id"),
        ({"event": "call.completed", "id": True}, "neither what was sent nor an id"),
        (row_with({"id": "evt_1", "data": DATA}, event=None), "the event has no name"),
        (row_with(event_with(data={"id": 7})), "the event names no call"),
        (row_with(event_with(data={"call_id": " "})), "the event names no call"),
        (row_with(event_with(data={"call_id": "\ud800"})), "the event names no call"),
        (row_with(event_with(data={"id": "evt_1"})), "the event names no call"),
    ],
)
def test_what_cannot_be_read_is_a_problem_that_shows_no_value(row: Any, problem: str) -> None:
    parsed = parse_delivery(row)
    assert parsed.event is None and not parsed.needs_detail and problem in parsed.problem


@pytest.mark.parametrize("time", ["yesterday", 1e300, -1e20, float("nan"), True, [], {}, "", 10**400])
def test_a_time_that_cannot_be_read_is_unknown(time: Any) -> None:
    row = {"id": "del_1", "created_at": time, "payload": event_with(timestamp=time, data={"call_id": "a"})}
    assert said_by(row) == ("evt_1", "a", None, None)


def test_times_without_a_zone_are_meant_in_the_settings_zone() -> None:
    row = row_with(event_with(timestamp="2025-01-11T01:10:00", data={"call_id": "a"}))
    event = parse_delivery(row, zone=timezone(timedelta(hours=1))).event
    assert event is not None and event.sent_at == SENT_AT and event.sent_at.tzinfo is UTC


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("call.completed"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "event", "payload", "data", "call", "call_id", "timestamp", "body", "status"]), inner
        )
    ),
    max_leaves=12,
)


@given(values)
def test_nothing_raises(row: Any) -> None:
    parse_delivery(row)
    parse_delivery({"payload": json.dumps(row)})
    if isinstance(row, dict):
        parse_detail(row)


def test_deeply_nested_texts_end() -> None:
    payload: Any = EVENT
    for _ in range(8):
        payload = {"payload": json.dumps(payload)}
    assert parse_delivery({"id": "del_1", **payload}).event is None
    assert said_by({"payload": '{"data":' + "[" * 5_000 + "]" * 5_000 + "}"}) is None


# The answers of the API.


def api(*bodies: object, status: int = 200) -> ScriptedApi:
    return ScriptedApi(
        *((status, {}, body if isinstance(body, bytes) else json.dumps(body).encode()) for body in bodies)
    )


@pytest.mark.parametrize("name", ["data", "deliveries", "webhook_deliveries"])
@pytest.mark.parametrize("facts", [{}, {"total": 1, "page": 1, "limit": 100}])
def test_the_list_may_have_any_likely_name(name: str, facts: dict[str, int]) -> None:
    page = api({name: [row_with(EVENT), "?"], **facts}).source.webhook_deliveries(1)
    assert [bool(row.event) for row in page.deliveries] == [True, False]
    assert (page.total, page.limit) == (facts.get("total"), facts.get("limit"))


def test_a_list_of_another_shape_fails_loudly() -> None:
    with pytest.raises(UnexpectedResponse, match="in no known field: the answer has items"):
        api({"items": []}).source.webhook_deliveries(1)


@pytest.mark.parametrize("wrap", [None, "delivery", "webhook_delivery", "data"])
def test_the_detail_may_be_wrapped(wrap: str | None) -> None:
    row = row_with(EVENT, response={"status": 200})
    detail = api({wrap: row} if wrap else row).source.webhook_delivery("del_1")
    assert detail.event is not None and detail.event.call_id == "call_a" and not detail.needs_detail


@pytest.mark.parametrize("answer", [{}, {"id": "del_1"}, {"delivery": ROW}, {"delivery": "?"}])
def test_a_detail_that_does_not_show_what_was_sent_is_a_problem(answer: Any) -> None:
    assert api(answer).source.webhook_delivery("del_1") == Delivery(problem="the answer does not show what was sent")


def test_the_detail_of_another_event_says_nothing() -> None:
    row = row_with(event_with(event="call.failed"), event="call.failed")
    assert api({"delivery": row}).source.webhook_delivery("del_1") == Delivery("del_1", None, SENT_AT)


@pytest.mark.parametrize("status", [403, 404, 410])
def test_the_apis_own_refusal_means_that_there_is_no_such_list(status: int) -> None:
    client = api(error("FORBIDDEN"), status=status)
    with pytest.raises(NotOffered, match=f"status {status}"):
        client.source.webhook_deliveries(1)
    assert len(client.sent) == 1


def test_other_refusals_are_errors() -> None:
    with pytest.raises(RequestRefused):
        api(error("VALIDATION_ERROR"), status=400).source.webhook_deliveries(1)
    with pytest.raises(RequestRefused):  # a gateway's
        api(HTML, status=403).source.webhook_deliveries(1)
    with pytest.raises(ApiUnauthorized):
        api(error("KEY_EXPIRED"), status=403).source.webhook_deliveries(1)
    with pytest.raises(CallNotFound, match=r"GET /webhook-deliveries/\{id\}: status 404"):
        api(error("NOT_FOUND"), status=404).source.webhook_delivery("del_secret")
