"""The job `export_evidence` through Dagster: a dry run first, then a package where it says; Dagster keeps no speech."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import bagit
import dagster as dg
import pytest

import kros_pipeline.steps.run_context
from kros_pipeline.definitions import defs
from kros_pipeline_tests.support.accounts import DAY
from kros_pipeline_tests.support.sealed_days import sealed_day

Launch = Callable[..., dg.ExecuteInProcessResult]


@pytest.fixture
def launch(monkeypatch: pytest.MonkeyPatch) -> Launch:
    day = sealed_day()
    monkeypatch.setattr(kros_pipeline.steps.run_context, "open_run_context", lambda _: day.open())

    def run(**config: Any) -> dg.ExecuteInProcessResult:
        with dg.DagsterInstance.ephemeral() as instance:
            job = defs().resolve_job_def("export_evidence")
            run_config = {"ops": {"export": {"config": config}}}
            return job.execute_in_process(instance=instance, run_config=run_config, raise_on_error=False)

    return run


def shown(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    [output] = [event for event in result.all_node_events if event.event_type_value == "STEP_OUTPUT"]
    return {name: value.value for name, value in output.step_output_data.metadata.items()}


def said(result: dg.ExecuteInProcessResult) -> str:
    [event] = [event for event in result.all_node_events if event.event_type_value == "STEP_FAILURE"]
    assert event.step_failure_data.user_failure_data is not None
    return str(event.step_failure_data.user_failure_data.description)


def test_it_writes_nothing_unless_it_is_asked_to_and_then_a_bag(launch: Launch, tmp_path: Path) -> None:
    config = {"call_ids": ["call_a", "call_b"], "reason": "case 12", "folder": str(tmp_path)}
    metadata = shown(launch(**config))
    assert (metadata["calls"], metadata["days"]) == (2, str(DAY)) and metadata["package"].startswith("dry run")
    assert not list(tmp_path.iterdir())
    result = launch(**config, dry_run=False)
    metadata = shown(result)
    bagit.Bag(metadata["package"]).validate()
    assert Path(metadata["package"]).parent == tmp_path and metadata["calls that no seal has yet"] == "none"
    assert "Hello" not in str(result.all_events), "what was said stays out of Dagster"


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"day": "10.01.2025"}, "day: '10.01.2025' is no day; write it like 2025-01-10."),
        ({"call_ids": ["call_nobody"]}, "are not in this archive, or were erased: call_nobody"),
        ({}, "needs either call_ids or a day"),
    ],
)
def test_what_cannot_be_exported_fails_it_in_a_sentence(launch: Launch, config: dict[str, Any], why: str) -> None:
    assert why in said(launch(reason="case 12", **config))
