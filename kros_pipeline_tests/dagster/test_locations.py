"""The code locations: everything in one, or the jobs that need other rights in one of their own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest

from kros_pipeline import definitions, operator_location, pipeline_location
from kros_pipeline.run_outcomes import read_run_outcomes

OPERATORS_JOBS = {"erase_calls", "turn_on_recording"}


def names_in(load: Callable[..., Any]) -> dict[str, set[str]]:
    repository = load().get_repository_def()
    return {
        "jobs": {job.name for job in repository.get_all_jobs() if not job.name.startswith("__")},
        "assets": {key.to_user_string() for key in repository.asset_graph.get_all_asset_keys()},
        "checks": {key.name for key in repository.asset_graph.asset_check_keys},
        "schedules": {schedule.name for schedule in repository.schedule_defs},
        "sensors": {sensor.name for sensor in repository.sensor_defs},
    }


@pytest.fixture
def whole() -> dict[str, set[str]]:
    return names_in(definitions.defs)


def test_the_two_locations_are_the_whole_one_split_by_what_their_jobs_may_do(whole: dict[str, set[str]]) -> None:
    pipeline, operators = names_in(pipeline_location.location), names_in(operator_location.location)
    assert operators["jobs"] == OPERATORS_JOBS
    assert pipeline["jobs"] == whole["jobs"] - OPERATORS_JOBS and whole["jobs"] > OPERATORS_JOBS
    for kind in ("assets", "checks", "schedules", "sensors"):
        assert pipeline[kind] == whole[kind] and not operators[kind]


def test_the_pipelines_sensor_sees_the_runs_of_the_operators_location() -> None:
    job = operator_location.location().resolve_job_def("turn_on_recording")
    with dg.DagsterInstance.ephemeral() as instance:
        assert job.execute_in_process(instance=instance).success  # a dry run
        assert "job turn_on_recording" in read_run_outcomes(instance, None, datetime.now(UTC)).observations


@pytest.mark.parametrize(
    ("of_the_deployment", "of_operators"),
    [("kros", "kros-operator"), ("staging", "staging-operator"), ("", "kros-operator")],
)
def test_only_the_operators_location_sends_its_jobs_to_workers_of_its_own(
    monkeypatch: pytest.MonkeyPatch, of_the_deployment: str, of_operators: str
) -> None:
    """Two deployments may share a Redis: the erasures of one must not reach the workers of the other."""
    monkeypatch.setenv("DAGSTER_CELERY_QUEUE", of_the_deployment)
    for load, queue in ((operator_location.location, of_operators), (definitions.defs, None)):
        repository: dg.RepositoryDefinition = load().get_repository_def()
        for name in OPERATORS_JOBS:
            assert repository.get_job(name).tags.get("dagster-celery/queue") == queue
