"""The Bridge: the organization is in every query, however the Bridge was found, and no change is sent twice for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from kros_pipeline.core.errors import ApiServerError, ApiUnauthorized, CallNotFound
from kros_pipeline.sandbox import Fault, KrosaiSimulator, SandboxConfig
from kros_pipeline.sandbox.config import Bridge
from kros_pipeline.source.call_source import Page, Window
from kros_pipeline.source.krosai import KrosAI
from kros_pipeline.steps.settings import parse_settings
from kros_pipeline_tests.support.accounts import faults_by_name
from kros_pipeline_tests.support.clocks import clock_without_waits
from kros_pipeline_tests.support.scripted_api import NOW, SETTINGS, Scripted, ScriptedApi, error

ORGANIZATION = "org-1"
OURS = {"organization_id": ORGANIZATION}
OLD = replace(SETTINGS, organization_id=ORGANIZATION)
BRIDGE = replace(OLD, base_url="https://api.krosai.com/api/v1", auth="bearer")
VIA_BRIDGE = {"x-routed-via": "bridge"}
WINDOW = Window(NOW - timedelta(days=1), NOW)
LIST: dict[str, Any] = {"calls": [], "total": 0, "limit": 100, "offset": 0}
METHODS: dict[str, tuple[Callable[[KrosAI], object], dict[str, Any]]] = {
    "list_page": (lambda source: source.list_page(WINDOW, 0, 1), LIST),
    "recording": (lambda source: source.recording("call_a"), {"recording_url": None}),
    "transcript": (lambda source: source.transcript("call_a"), {"transcript": "x"}),
    "statistics": (lambda source: source.statistics(WINDOW), {"total": 1}),
    "trends": (lambda source: source.trends(NOW.date()), {"trends": []}),
    "extend": (lambda source: source.extend("call_a", 30, idempotency_key="k"), {}),
    "delete_recording": (lambda source: source.delete_recording("call_a"), {}),
    "turn_on_recording": (lambda source: source.turn_on_recording(), {}),
}
CHANGES = ("extend", "delete_recording", "turn_on_recording")
GETS = tuple(name for name in METHODS if name not in CHANGES)


def ok(value: Mapping[str, Any], **headers: str) -> Scripted:
    return 200, {name.replace("_", "-"): text for name, text in headers.items()}, json.dumps(value).encode()


def via_bridge(value: Mapping[str, Any]) -> Scripted:
    return 200, VIA_BRIDGE, json.dumps(value).encode()


@pytest.mark.parametrize("name", METHODS)
def test_every_request_to_the_bridge_names_the_organization(name: str) -> None:
    ask, answer = METHODS[name]
    api = (
        ScriptedApi((503, {}, b""), ok(answer), settings=BRIDGE)
        if name in GETS
        else ScriptedApi(ok(answer), settings=BRIDGE)
    )
    ask(api.source)
    assert [query["organization_id"] for query in api.queries] == [ORGANIZATION] * (2 if name in GETS else 1)


@pytest.mark.parametrize("name", METHODS)
def test_the_older_api_is_asked_without_it(name: str) -> None:
    ask, answer = METHODS[name]
    api = ScriptedApi(ok(answer), settings=OLD)
    ask(api.source)
    assert [query.get("organization_id") for query in api.queries] == [None]


@pytest.mark.parametrize("name", GETS)
def test_a_get_whose_answer_reveals_the_bridge_is_sent_once_more_before_anything_of_it_is_used(name: str) -> None:
    ask, answer = METHODS[name]
    theirs = via_bridge({"calls": "not a list", "recording_url": 1, "transcript": 1, "total": 9})
    api = ScriptedApi(theirs, via_bridge(answer), settings=OLD)
    expected = ask(ScriptedApi(ok(answer), settings=OLD).source)
    assert ask(api.source) == expected
    assert [query.get("organization_id") for query in api.queries] == [None, ORGANIZATION]
    ask(api.source)
    assert [query.get("organization_id") for query in api.queries] == [None, ORGANIZATION, ORGANIZATION]


@pytest.mark.parametrize("status", [401, 404, 500])
def test_an_error_reveals_the_bridge_too(status: int) -> None:
    api = ScriptedApi((status, VIA_BRIDGE, error("X")), via_bridge({"transcript": "x"}), settings=OLD)
    assert api.source.transcript("call_a").text == "x"
    assert len(api.sent) == 2


def test_a_rate_limit_that_reveals_the_bridge_is_waited_for() -> None:
    limited = (429, {**VIA_BRIDGE, "Retry-After": "3"}, error("RATE_LIMIT_EXCEEDED"))
    api = ScriptedApi(limited, via_bridge({"transcript": "x"}), settings=OLD)
    assert api.source.transcript("call_a").text == "x"
    assert [query.get("organization_id") for query in api.queries] == [None, ORGANIZATION]
    assert api.slept_seconds >= 3


def test_the_answer_to_the_repeated_request_stands() -> None:
    api = ScriptedApi(via_bridge({"transcript": "x"}), (404, VIA_BRIDGE, error("NOT_FOUND")), settings=OLD)
    with pytest.raises(CallNotFound):
        api.source.transcript("call_a")
    assert len(api.sent) == 2


@pytest.mark.parametrize("route", ["", "legacy", "bridge-2"])
def test_another_route_is_not_the_bridge(route: str) -> None:
    api = ScriptedApi(ok({"transcript": "x"}, x_routed_via=route), settings=OLD)
    api.source.transcript("call_a")
    assert api.queries == [{}] and not api.is_bridge


@pytest.mark.parametrize("organization_id", [ORGANIZATION, None])
@pytest.mark.parametrize("name", CHANGES)
def test_a_change_that_reveals_the_bridge_is_never_repeated(name: str, organization_id: str | None) -> None:
    ask, answer = METHODS[name]
    api = ScriptedApi(via_bridge(answer), settings=replace(OLD, organization_id=organization_id))
    ask(api.source)  # it was done: an error would say that it had no effect
    assert len(api.sent) == 1 and api.is_bridge


def test_a_change_that_fails_and_reveals_the_bridge_is_as_uncertain_as_any_other() -> None:
    api = ScriptedApi((502, VIA_BRIDGE, error("X")), settings=OLD)
    with pytest.raises(ApiServerError):
        api.source.extend("call_a", 30, idempotency_key="k")
    assert len(api.sent) == 1


@pytest.mark.parametrize("name", METHODS)
def test_without_an_organization_the_bridge_is_asked_for_nothing_more(name: str) -> None:
    api = ScriptedApi(via_bridge(LIST), settings=SETTINGS)
    for ask in (METHODS["list_page"][0], METHODS[name][0]):
        with pytest.raises(ApiUnauthorized, match="set KROSAI_ORGANIZATION_ID to your organization, and KROSAI_AUTH"):
            ask(api.source)
    assert len(api.sent) == 1 == api.requests_made


class NamedOrNot(ScriptedApi):
    """Answers whether the request named the organization."""

    def _exchange(self, what: str, method: str, path: str, query: Mapping[str, Any] | None, *_: Any) -> Scripted:
        return via_bridge({"is_named": query == OURS})


def test_threads_that_find_the_bridge_together_use_no_answer_without_the_organization() -> None:
    api = NamedOrNot(settings=replace(OLD, requests_per_second=None, requests_per_run=None))
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda number: api.get(f"/calls/{number}"), range(200)))
    assert answers == [{"is_named": True}] * 200
    assert 201 <= api.requests_made <= 216


# The dialect, in words.


@pytest.mark.parametrize(
    ("answer", "settings", "dialect"),
    [
        (ok(LIST), OLD, "offset"),
        (ok({"data": [], "total": 0, "page": 1, "limit": 20}), OLD, "page"),
        (ok(LIST), BRIDGE, "offset, Bridge"),
        (via_bridge({"data": [], "total": 0, "page": 1}), OLD, "page, Bridge"),
    ],
)
def test_the_dialect_is_found_by_the_first_answer(answer: Scripted, settings: Any, dialect: str) -> None:
    source = ScriptedApi(answer, settings=settings).source
    assert source.dialect == "unknown"
    source.list_page(WINDOW, 0, 1)
    assert source.dialect == dialect


# Over the wire.


@contextmanager
def opened(bridge: Bridge) -> Iterator[tuple[KrosaiSimulator, KrosAI]]:
    config = SandboxConfig(days={"2025-01-10": 5}, variety=False, bridge=bridge, organization_id=ORGANIZATION)
    with KrosaiSimulator(config) as krosai:
        texts = krosai.environment | {"KROS_ARCHIVE_URL": "s3://bucket/p"}
        source = KrosAI(parse_settings(texts).source, clock_without_waits(lambda: NOW))
        try:
            yield krosai, source
        finally:
            source.close()


def list_all(source: KrosAI) -> Page:
    return source.list_page(Window(NOW - timedelta(days=2), NOW + timedelta(days=2)), 0, 1)


@pytest.mark.parametrize("bridge", ["/api/v1", "/v1"])
def test_only_our_calls_are_listed_by_the_bridge(bridge: Bridge) -> None:
    with opened(bridge) as (krosai, source):
        page = list_all(source)
        assert {listed.call.call_id for listed in page.calls} == {call["id"] for call in krosai.expected_calls()}
        assert {listed.call.organization_id for listed in page.calls} == {ORGANIZATION}
        assert page.foreign_ids == [] and source.dialect == "offset, Bridge"
        assert source.requests_made == (1 if bridge == "/api/v1" else 2)


def test_rows_of_another_organization_count_and_are_not_parsed() -> None:
    with opened("/api/v1") as (krosai, source):
        krosai.set_faults(faults_by_name({"list_foreign_rows": Fault()}))
        page = list_all(source)
        ours = {call["id"] for call in krosai.expected_calls()}
        assert {listed.call.call_id for listed in page.calls} == ours
        assert len(page.foreign_ids) == 3 and not page.unparsed
        assert page.row_count == len(page.identities) == page.total == 8
        assert page.identities - set(page.foreign_ids) == ours
