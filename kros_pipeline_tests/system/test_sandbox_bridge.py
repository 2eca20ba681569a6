"""The Bridge accepts only Bearer, marks its answers, and shows other organizations' calls to those who name none."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest

from kros_pipeline.sandbox import Fault, Faults, KrosaiSimulator
from kros_pipeline.sandbox.world import OTHER_ORGANIZATION
from kros_pipeline_tests.support.sandbox_client import PLAIN, InProcessApi

OLD = replace(PLAIN, organization_id="org-1")
BRIDGE = replace(OLD, bridge="/api/v1")
OURS = {"organization_id": "org-1"}
BEARER = {"authorization": f"Bearer {PLAIN.api_key}"}


def organizations(calls: list[dict[str, Any]]) -> list[Any]:
    return [call.get("organization_id") for call in calls]


@pytest.mark.parametrize("auth", ["any", "x-api-key", "bearer"])
@pytest.mark.parametrize(("headers", "status"), [(BEARER, 200), ({"x-api-key": PLAIN.api_key}, 401), ({}, 401)])
def test_only_bearer_is_accepted_and_every_answer_is_marked(auth: Any, headers: dict[str, str], status: int) -> None:
    api = InProcessApi(replace(BRIDGE, auth=auth))
    first, second = (api.answer("GET", "/calls?organization_id=org-1", headers=headers) for _ in range(2))
    assert first.status == status and first.headers["x-routed-via"] == "bridge"
    assert first.headers["x-request-id"] != second.headers["x-request-id"]


def test_the_older_api_is_not_marked_and_ignores_the_query(plain: InProcessApi) -> None:
    answer = plain.answer("GET", "/calls?organization_id=org-2")
    assert answer.status == 200 and not {"x-routed-via", "x-request-id"} & answer.headers.keys()
    assert set(organizations(json.loads(bytes(answer.body))["calls"])) == {None}


def test_only_the_query_keeps_other_organizations_calls_away() -> None:
    api = InProcessApi(BRIDGE)
    assert organizations(api.all_calls(**OURS)) == ["org-1"] * 45
    everybodys = api.all_calls()
    assert sorted(organizations(everybodys)) == ["org-1"] * 45 + [OTHER_ORGANIZATION] * 3
    with_header = api.answer("GET", "/calls?limit=100", headers={**BEARER, "x-organization-id": "org-1"})
    assert json.loads(bytes(with_header.body))["total"] == 48
    assert (api.get("/calls/stats", **OURS)["total_calls"], api.get("/calls/stats")["total_calls"]) == (45, 48)
    theirs = next(call["id"] for call in everybodys if call["organization_id"] == OTHER_ORGANIZATION)
    assert api.get(f"/calls/{theirs}/recording")["recording_url"]
    assert api.refusal("GET", f"/calls/{theirs}/recording?organization_id=org-1") == (404, "NOT_FOUND")


@pytest.mark.parametrize("path", ["/calls", "/calls/stats", "/calls/x/recording"])
def test_another_organization_is_refused(path: str) -> None:
    assert InProcessApi(BRIDGE).refusal("GET", f"{path}?organization_id=org-2") == (403, "FORBIDDEN")


@pytest.mark.parametrize("config", [OLD, BRIDGE])
def test_foreign_rows_are_listed_even_where_the_organization_is_named(config: Any) -> None:
    api = InProcessApi(replace(config, faults=Faults(list_foreign_rows=Fault())))
    calls = api.all_calls(**OURS)
    assert len(calls) == 48 == api.get("/calls", **OURS)["total"]
    assert organizations(calls).count(OTHER_ORGANIZATION) == 3


@pytest.mark.parametrize("config", [BRIDGE, replace(BRIDGE, bridge="/v1")])
def test_the_environment_has_the_settings_for_the_bridge(config: Any) -> None:
    with KrosaiSimulator(config) as krosai:
        environment = krosai.environment
    assert urlsplit(environment["KROSAI_BASE_URL"]).path == config.bridge
    assert (environment["KROSAI_AUTH"], environment["KROSAI_ORGANIZATION_ID"]) == ("bearer", "org-1")
