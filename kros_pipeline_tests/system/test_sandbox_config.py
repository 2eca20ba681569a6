"""A configuration and its faults are checked, and pass through JSON unchanged."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import pytest

from kros_pipeline.sandbox import Fault, Faults, SandboxConfig
from kros_pipeline.sandbox.config import CHANGEABLE
from kros_pipeline_tests.support.sandbox_client import DAY, VARIED


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"days": ()}, "days must name at least one day"),
        ({"days": ("10.01.2025",)}, "days must be written YYYY-MM-DD, not '10.01.2025'"),
        ({"days": {DAY: -1}}, "the number of calls of 2025-01-10 must not be negative, but is -1"),
        ({"dialect": "xml"}, "dialect must be one of 'offset', 'page', not 'xml'"),
        ({"order": "random"}, "order must be one of 'newest', 'oldest', 'shuffled', not 'random'"),
        ({"audio_seconds": (9, 3)}, "audio_seconds must be (shortest, longest), each at least 1, not (9, 3)"),
        ({"late_share": 2}, "late_share must be between 0 and 1, not 2"),
        ({"url_seconds": 0}, "url_seconds must be more than 0, not 0"),
        ({"total_cap": -1}, "total_cap must not be negative, but is -1"),
        ({"depth_cap": -2}, "depth_cap must not be negative, but is -2"),
        ({"depth_answer": "html"}, "depth_answer must be one of 'refused', 'empty', not 'html'"),
        ({"times": "unix"}, "times must be one of 'utc', 'local', 'naive', not 'unix'"),
        ({"zone_hours": 24}, "zone_hours must be more than -24 and less than 24, not 24"),
        ({"filter_shift_hours": -25}, "filter_shift_hours must be more than -24 and less than 24, not -25"),
        ({"api_key": ""}, "api_key must not be empty"),
        ({"bridge": "/api/v1"}, "the Bridge needs an organization_id"),
        ({"bridge": "/v2", "organization_id": "org-1"}, "bridge must be one of '', '/api/v1', '/v1', not '/v2'"),
    ],
)
def test_an_invalid_configuration_is_refused_in_one_sentence(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError) as raised:
        SandboxConfig(**changes)
    assert str(raised.value) == sentence


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"storage_on_fire": {"share": 1}}, "no such fault: storage_on_fire"),
        ({"api_error": {"share": 2}}, "a fault's share must be between 0 and 1, not 2"),
        ({"api_error": {"attempts": 0}}, "a fault's attempts must be at least 1, or None for every attempt, not 0"),
    ],
)
def test_an_invalid_fault_is_refused_in_one_sentence(data: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError) as raised:
        Faults.from_json(data)
    assert str(raised.value) == sentence


def test_a_configuration_is_equal_after_a_round_trip_through_json() -> None:
    faults = Faults(
        api_latency_seconds=0.5, api_error=Fault(share=0.5, attempts=2, calls=("a",), routes=("call",), value=503)
    )
    config = replace(VARIED, days={DAY: 3}, faults=faults, depth_cap=5, times="naive", filter_shift_hours=-8)
    assert SandboxConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_what_a_running_simulator_can_change_are_fields_of_the_configuration() -> None:
    assert {field.name for field in fields(SandboxConfig)} >= CHANGEABLE
