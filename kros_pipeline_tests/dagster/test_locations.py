"""The code locations: everything in one, or the jobs that need other rights in one of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest

from kros_pipeline import definitions, operator_location, pipeline_location

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
    for kind in ("assets", "checks", "schedules"):
        assert pipeline[kind] == whole[kind] and not operators[kind]


def test_failures_of_every_location_are_reported(whole: dict[str, set[str]]) -> None:
    for load in (pipeline_location.location, operator_location.location):
        assert names_in(load)["sensors"] == whole["sensors"]


def test_only_the_operators_location_sends_its_jobs_to_workers_of_its_own() -> None:
    for load, queue in ((operator_location.location, "kros-operator"), (definitions.defs, None)):
        repository: dg.RepositoryDefinition = load().get_repository_def()
        for name in OPERATORS_JOBS:
            assert repository.get_job(name).tags.get("dagster-celery/queue") == queue
