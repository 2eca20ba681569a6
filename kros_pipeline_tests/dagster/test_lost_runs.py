"""Runs that ended with their code server are reported as failed, and no others."""

from __future__ import annotations

import time
from collections.abc import Iterator

import dagster as dg
import pytest

from kros_pipeline.lost_runs import end_lost_runs

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
    ("status", "tags", "ends"),
    [
        (dg.DagsterRunStatus.STARTED, BY_CODE_SERVER, True),
        (dg.DagsterRunStatus.STARTING, BY_CODE_SERVER, True),
        (dg.DagsterRunStatus.CANCELING, BY_CODE_SERVER, True),
        (dg.DagsterRunStatus.STARTED, {}, False),  # from the command line: a process of its own
        (dg.DagsterRunStatus.STARTED, BY_OPERATORS_SERVER, False),  # an erasure goes on while the pipeline's restarts
        (dg.DagsterRunStatus.STARTED, BY_A_SOCKET, False),
        (dg.DagsterRunStatus.NOT_STARTED, BY_CODE_SERVER, False),
        (dg.DagsterRunStatus.SUCCESS, BY_CODE_SERVER, False),
        (dg.DagsterRunStatus.FAILURE, BY_CODE_SERVER, False),
    ],
)
def test_only_unfinished_runs_of_a_code_server_end(
    instance: dg.DagsterInstance, job: dg.JobDefinition, status: dg.DagsterRunStatus, tags: dict[str, str], ends: bool
) -> None:
    run_id = make_run(instance, job, status, **tags)
    assert end_lost_runs(instance, time.time() + 1, 4000) == [run_id] * ends
    run = instance.get_run_by_id(run_id)
    assert run is not None
    assert run.status == (dg.DagsterRunStatus.FAILURE if ends else status)


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
