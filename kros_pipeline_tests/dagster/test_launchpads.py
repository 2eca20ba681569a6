"""No accident by one click: what the Launchpad of each job opens with changes nothing."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from kros_pipeline.definitions import defs

# Operators' jobs that only read: there is nothing to try first. A new job is either scheduled, or has `dry_run`, or is
# named here by somebody who looked.
READ_ONLY = {"test_rules"}


def jobs() -> dict[str, dg.JobDefinition]:
    found = {job.name: job for job in defs().resolve_all_job_defs()}
    return {name: job for name, job in found.items() if not name.startswith("__ASSET_JOB")}


def scheduled() -> set[str]:
    repository = defs().get_repository_def()
    names = {schedule.job_name for schedule in repository.schedule_defs}
    return names | {target.job_name for sensor in repository.sensor_defs for target in sensor.targets}


def op_configs(job: dg.JobDefinition) -> dict[str, Any]:
    """The config that the Launchpad opens with: of ops only, without the settings of the resource."""
    run_config: dict[str, Any] = dict(job.run_config or {})
    assert run_config.keys() == {"ops"}, f"{job.name} opens with {sorted(run_config) or 'all settings of the resource'}"
    return {name: op["config"] for name, op in run_config["ops"].items()}


def test_every_job_that_only_an_operator_launches_opens_with_a_dry_run() -> None:
    for name in jobs().keys() - scheduled() - READ_ONLY:
        configs = op_configs(jobs()[name])
        assert any(config.get("dry_run") is True for config in configs.values()), name


def test_every_job_with_a_config_opens_without_the_settings() -> None:
    for name in (jobs().keys() - scheduled()) | {"verify_archive"}:
        assert op_configs(jobs()[name]), name


def test_what_a_launchpad_opens_with_is_valid_and_names_every_required_field() -> None:
    for name, job in jobs().items():
        if job.run_config:
            assert dg.validate_run_config(job, job.run_config), name


def test_no_launchpad_and_no_definition_holds_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KROSAI_API_KEY", "s3cr3t")
    assert "s3cr3t" not in str([job.run_config for job in defs().resolve_all_job_defs()])
