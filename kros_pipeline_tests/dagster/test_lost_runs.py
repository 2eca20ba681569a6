"""Runs that ended with their code server are reported as ended, and no others; what must not be repeated is not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.execution.retries import auto_reexecution_should_retry_run

from kros_pipeline.erasure_job import erase_calls_job
from kros_pipeline.jobs import turn_on_recording_job
from kros_pipeline.lost_runs import end_lost_runs

ROOT = Path(__file__).parents[2]

BY_CODE_SERVER = {".dagster/grpc_info": '{"host": "127.0.0.1", "port": 4000}'}
BY_OPERATORS_SERVER = {".dagster/grpc_info": '{"host": "127.0.0.1", "port": 4001}'}
BY_A_SOCKET = {".dagster/grpc_info": '{"host": "localhost", "socket": "/tmp/x"}'}


@pytest.fixture(scope="module")
def job() -> dg.JobDefinition:
    @dg.op
    def nothing() -> None:
        pass

    @dg.job
    def daily_archive() -> None:
        nothing()

    return daily_archive


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    """An instance whose runs are started by the code server: the one in memory runs them itself."""
    home = tmp_path_factory.mktemp("home")
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}")
    with dg.DagsterInstance.from_config(str(home)) as opened:
        yield opened


def make_run(instance: dg.DagsterInstance, job: dg.JobDefinition, status: dg.DagsterRunStatus, **tags: str) -> str:
    return instance.create_run_for_job(job, status=status, tags=tags).run_id


@pytest.mark.parametrize(
    ("status", "tags", "end"),
    [
        (dg.DagsterRunStatus.STARTED, BY_CODE_SERVER, dg.DagsterRunStatus.FAILURE),
        (dg.DagsterRunStatus.STARTING, BY_CODE_SERVER, dg.DagsterRunStatus.FAILURE),
        (dg.DagsterRunStatus.CANCELING, BY_CODE_SERVER, dg.DagsterRunStatus.CANCELED),  # an operator terminated it
        (dg.DagsterRunStatus.STARTED, {}, None),  # from the command line: a process of its own
        (dg.DagsterRunStatus.STARTED, BY_OPERATORS_SERVER, None),  # an erasure goes on while the pipeline's restarts
        (dg.DagsterRunStatus.STARTED, BY_A_SOCKET, None),
        (dg.DagsterRunStatus.NOT_STARTED, BY_CODE_SERVER, None),
        (dg.DagsterRunStatus.SUCCESS, BY_CODE_SERVER, None),
        (dg.DagsterRunStatus.FAILURE, BY_CODE_SERVER, None),
    ],
)
def test_only_unfinished_runs_of_a_code_server_end(
    instance: dg.DagsterInstance,
    job: dg.JobDefinition,
    status: dg.DagsterRunStatus,
    tags: dict[str, str],
    end: dg.DagsterRunStatus | None,
) -> None:
    run_id = make_run(instance, job, status, **tags)
    assert end_lost_runs(instance, time.time() + 1, 4000) == [run_id] * (end is not None)
    run = instance.get_run_by_id(run_id)
    assert run is not None
    assert run.status == (end or status)


@pytest.mark.parametrize(
    ("status", "of", "is_repeated"),
    [
        (dg.DagsterRunStatus.STARTED, "daily_archive", True),
        (dg.DagsterRunStatus.CANCELING, "daily_archive", False),
        (dg.DagsterRunStatus.STARTED, "erase_calls", False),  # the operator may have seen that the ids were wrong
        (dg.DagsterRunStatus.STARTED, "turn_on_recording", False),
    ],
)
def test_dagster_starts_again_what_nobody_terminated_and_what_may_run_twice(
    tmp_path: Path, job: dg.JobDefinition, status: dg.DagsterRunStatus, of: str, is_repeated: bool
) -> None:
    (tmp_path / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text())
    jobs = {each.name: each for each in (job, erase_calls_job(), turn_on_recording_job())}
    with dg.DagsterInstance.from_config(str(tmp_path)) as production:
        run_id = production.create_run_for_job(jobs[of], status=status, tags={**jobs[of].tags, **BY_CODE_SERVER}).run_id
        assert end_lost_runs(production, time.time() + 1, 4000) == [run_id]
        run = production.get_run_by_id(run_id)
        assert run is not None
        assert auto_reexecution_should_retry_run(production, run, None) is is_repeated


def test_a_run_that_the_new_server_launched_goes_on(instance: dg.DagsterInstance, job: dg.JobDefinition) -> None:
    before = time.time()
    run_id = make_run(instance, job, dg.DagsterRunStatus.NOT_STARTED, **BY_CODE_SERVER)
    run = instance.get_run_by_id(run_id)
    assert run is not None
    instance.report_dagster_event(dg.DagsterEvent(dg.DagsterEventType.PIPELINE_STARTING.value, job.name), run_id=run_id)
    assert end_lost_runs(instance, before, 4000) == []
    assert end_lost_runs(instance, time.time() + 1, 4000) == [run_id]


def test_runs_of_another_launcher_live_elsewhere(job: dg.JobDefinition) -> None:
    with dg.DagsterInstance.ephemeral() as another:  # it has no launcher of a code server
        run_id = make_run(another, job, dg.DagsterRunStatus.STARTED, **BY_CODE_SERVER)
        assert end_lost_runs(another, time.time() + 1, 4000) == []
        run = another.get_run_by_id(run_id)
        assert run is not None
        assert run.status == dg.DagsterRunStatus.STARTED
