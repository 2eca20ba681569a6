"""One machine, as systemd supervises it: what ends or hangs is started again, and its days are archived."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from kros_pipeline.sandbox import Faults, SandboxConfig
from kros_pipeline_tests.cluster.conftest import Deployment
from kros_pipeline_tests.support.archive_check import assert_archive_is_true
from kros_pipeline_tests.support.dagster_processes import wait_until

DAY = datetime.now(UTC).date() - timedelta(days=6)
CONFIG = SandboxConfig(
    days=(str(DAY),),
    calls_per_day=4,
    variety=False,
    audio_seconds=(2, 4),
    idempotency=False,
    faults=Faults(api_latency_seconds=0.5),
)


@pytest.mark.timeout(600)
def test_a_day_is_archived_although_the_code_server_dies_with_its_run(
    deployment: Callable[..., Deployment],
) -> None:
    machine = deployment(CONFIG)
    machine.start()
    processes = machine.processes
    assert processes.check_health() == []
    processes.launch_day(str(DAY))

    def is_in_the_middle() -> bool:
        return any(run["status"] == "STARTED" and run["steps"] for run in processes.runs())

    wait_until(is_in_the_middle, "the day is in the middle", 180)
    processes.kill("code-server")  # and with it the run, which it started
    assert not processes.is_code_server_healthy()
    processes.start("code-server")
    processes.end_lost_runs()
    wait_until(lambda: "SUCCESS" in {run["status"] for run in processes.runs()}, "the day is archived after all", 240)

    assert sorted(run["status"] for run in processes.runs()) == ["FAILURE", "SUCCESS"]
    assert_archive_is_true(machine.krosai, machine.archive, DAY)
    assert set(machine.krosai.counters()["extend_requests_by_call"].values()) == {1}
    assert processes.pool("krosai") == (0, 1)

    # What hangs runs for systemd, and is found by the timer.
    processes.freeze("webserver")
    assert not processes.is_web_server_healthy()
    assert processes.check_health() == ["kros-webserver.service"]
    processes.kill("webserver")
    processes.start("webserver")
    wait_until(processes.is_web_server_healthy, "the web server answers again")
    assert all(line.startswith("{") for line in processes.log("daemon").splitlines())
