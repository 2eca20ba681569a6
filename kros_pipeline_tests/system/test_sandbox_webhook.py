"""The simulator's webhook deliveries: what was sent about each call, in each spelling and shape."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from kros_pipeline_tests.support.sandbox_client import DAY, PLAIN, VARIED, InProcessApi

CONFIG = replace(VARIED, days=(DAY,), calls_per_day=60, webhook=True)


def all_deliveries(api: InProcessApi, **query: Any) -> list[dict[str, Any]]:
    """List all deliveries, page by page."""
    rows: list[dict[str, Any]] = []
    while page := api.get("/webhook-deliveries", limit=100, page=len(rows) // 100 + 1, **query)["data"]:
        rows += page
        if len(page) < 100:
            break
    return rows


def test_without_a_webhook_there_is_no_list(plain: InProcessApi) -> None:
    assert plain.refusal("GET", "/webhook-deliveries") == (404, "NOT_FOUND")
    assert plain.refusal("GET", "/webhook-deliveries/del_1") == (404, "NOT_FOUND")


def test_every_call_that_ended_is_delivered_in_one_to_five_attempts() -> None:
    api = InProcessApi(CONFIG)
    rows = all_deliveries(api)
    delivered = {row["payload"]["data"]["call_id"] for row in rows if row["event"] == "call.completed"}
    assert delivered == {call["id"] for call in api.all_calls() if call["completed_at"]}
    attempts: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        attempts.setdefault(row["event_id"], []).append(row)
    assert {len(of_event) for of_event in attempts.values()} == {1, 2, 3, 4, 5}
    for of_event in attempts.values():
        assert [row["attempt"] for row in of_event] == list(range(len(of_event), 0, -1))  # the newest first
        assert [row["status"] for row in of_event] == ["success", *["failed"] * (len(of_event) - 1)]
        assert len({json.dumps(row["payload"]) for row in of_event}) == 1
    assert len({row["id"] for row in rows}) == len(rows)


@pytest.mark.parametrize(
    ("names", "events"),
    [
        ("completed", {"call.completed", "recording.ready", "transcript.ready"}),
        ("ended", {"call.ended", "call.recording.completed", "transcription.completed"}),
        ("upper", {"CALL_COMPLETED", "CALL_RECORDING_READY", "TRANSCRIPT_READY"}),
    ],
)
def test_the_events_have_a_spelling(names: Any, events: set[str]) -> None:
    api = InProcessApi(replace(CONFIG, webhook_names=names))
    assert {row["event"] for row in all_deliveries(api)} == events


@pytest.mark.parametrize("payload", ["object", "text", "detail"])
def test_the_list_or_the_detail_shows_what_was_sent(payload: Any) -> None:
    api = InProcessApi(replace(CONFIG, webhook_payload=payload))
    row = api.get("/webhook-deliveries", limit=1)["data"][0]
    assert {"object": dict, "text": str, "detail": type(None)}[payload] is type(row.get("payload"))
    detail = api.get(f"/webhook-deliveries/{row['id']}")
    assert sorted(detail["payload"]) == ["data", "event", "id", "timestamp"] and detail["response"]["status"] == 200
    assert api.refusal("GET", "/webhook-deliveries/del_unknown") == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("where", "path"), [("call_id", ("call_id",)), ("id", ("id",)), ("call", ("call", "id")), ("bare", ("call_id",))]
)
def test_the_data_has_the_calls_id(where: Any, path: tuple[str, ...]) -> None:
    api = InProcessApi(replace(PLAIN, webhook=True, webhook_data=where))
    call_ids = {call["id"] for call in api.all_calls()}
    for row in all_deliveries(api):
        if row["event"] == "call.completed":
            found = row["payload"]["data"]
            assert where != "bare" or sorted(found) == ["call_id"]
            for name in path:
                found = found[name]
            assert found in call_ids


def test_pages_and_filters_are_those_that_are_documented() -> None:
    api = InProcessApi(replace(CONFIG, webhook_list="deliveries"))
    answer = api.get("/webhook-deliveries", page=2, limit=500)
    assert (len(answer["deliveries"]), answer["page"], answer["limit"]) == (100, 2, 100)
    failed = api.get("/webhook-deliveries", status="failed", limit=100)["deliveries"]
    assert {row["status"] for row in failed} == {"failed"}
    assert api.get("/webhook-deliveries", webhook_id="another")["deliveries"] == []
    assert api.refusal("GET", "/webhook-deliveries?page=0") == (400, "VALIDATION_ERROR")
    silent = InProcessApi(replace(CONFIG, webhook_total=False))
    assert sorted(silent.get("/webhook-deliveries")) == ["data"]


def test_a_hidden_call_is_delivered_and_not_listed() -> None:
    api = InProcessApi(replace(PLAIN, webhook=True))
    call_id = api.world.add_call(f"{DAY}T12:00:00Z", hidden=True)
    assert call_id not in {call["id"] for call in api.all_calls()}
    assert api.get("/calls", limit=1)["total"] == 45 and api.get(f"/calls/{call_id}")["id"] == call_id
    assert call_id in {row["payload"]["data"]["call_id"] for row in all_deliveries(api)}
