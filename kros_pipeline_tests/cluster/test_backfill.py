"""A backfill on several workers, and what is left of it when workers, daemon and code server are killed."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kros_pipeline.sandbox import Faults, SandboxConfig
from kros_pipeline_tests.cluster.conftest import Deployment
from kros_pipeline_tests.support.archive_check import Archive, assert_archive_is_true
from kros_pipeline_tests.support.dagster_processes import CELERY_PART, DagsterProcesses, wait_until
from kros_pipeline_tests.support.databases import redis_server

# Past the grace days, and within retention: one run makes each of them complete.
_LAST_DAY = datetime.now(UTC).date() - timedelta(days=6)
DAYS = [_LAST_DAY - timedelta(days=back) for back in range(9, -1, -1)]
PARALLEL_DAYS = 2
CALLS = 8
QUOTA, BLOCK = 20_000, 200  # requests a day, of the plan; what a killed run may lose of it
RATE = 30  # requests a second, for all runs together
WORKERS = ("worker-1", "worker-2")
FINISHED = {"SUCCESS", "FAILURE", "CANCELED"}
LOST_AFTER = {"dagster/max_runtime": "90"}  # seconds; in production it is two hours
CONFIG = SandboxConfig(
    days=tuple(map(str, DAYS)),
    calls_per_day=CALLS,
    variety=False,
    audio_seconds=(2, 4),
    idempotency=False,  # a second extension would count
    requests_per_day=QUOTA,
    requests_per_second=RATE * 1.3,  # two runs at the whole rate would meet 429
    faults=Faults(api_latency_seconds=0.1),
)


@pytest.fixture
def broker() -> Iterator[str]:
    with redis_server() as url:
        yield url


@pytest.fixture
def cluster(broker: str, deployment: Callable[..., Deployment]) -> Deployment:
    """Two workers, and what they need."""
    made = deployment(
        CONFIG,
        KROSAI_REQUESTS_PER_SECOND=str(RATE),
        KROS_PARALLEL_DAYS=str(PARALLEL_DAYS),
        DAGSTER_PARTS=CELERY_PART,
        DAGSTER_CELERY_BROKER=broker,
        DAGSTER_CELERY_RUNS="2",  # so that one worker does not take every day
        DAGSTER_CELERY_QUEUE=f"kros-test-{uuid.uuid4().hex[:12]}",
    )
    made.start(*WORKERS)
    return made


def runs_on(processes: DagsterProcesses, worker: str) -> list[dict[str, Any]]:
    """The runs that a worker executes at this moment."""
    group = processes.group_of(worker)
    found = []
    for run in processes.runs():
        pid = processes.process_of(run["runId"]) if run["status"] == "STARTED" else None
        try:
            if pid is not None and os.getpgid(pid) == group:
                found.append(run)
        except ProcessLookupError:
            continue
    return found


def complete_days(archive: Archive) -> set[str]:
    rows = [row for day in DAYS for row in archive.table("reconciliation", day)]
    return {str(row["call_date"]) for row in rows if row["verdict"] == "complete"}


def quota_of(archive: Archive) -> tuple[list[int], list[int]]:
    """What runs that ended have sent, and what runs that never ended have reserved."""
    days = [archive.json(key) for key in archive.objects("state/quota/")]
    return (
        [requests for day in days for requests in day["sent"].values()],
        [reservation["requests"] for day in days for reservation in day["reserved"].values()],
    )


@pytest.mark.timeout(720)
def test_a_backfill_survives_the_loss_of_a_worker_the_daemon_and_the_code_server(cluster: Deployment) -> None:
    processes, archive = cluster.processes, cluster.archive
    backfill = processes.launch_backfill(list(map(str, DAYS)), **LOST_AFTER)

    # Both workers have runs; one of them is lost in the middle of a run, with its machine.
    seen: dict[str, set[str]] = {worker: set() for worker in WORKERS}
    lost: list[dict[str, Any]] = []

    def is_worker_in_the_middle() -> bool:
        for worker in WORKERS:
            running = runs_on(processes, worker)
            seen[worker] |= {run["runId"] for run in running}
            if worker == WORKERS[0]:
                lost[:] = running
        return all(seen.values()) and any(run["steps"] for run in lost)

    wait_until(is_worker_in_the_middle, "both workers run days, and the first one is in the middle of one", 180)
    processes.kill(WORKERS[0])
    lost_at = time.monotonic()

    # The daemon goes on where it was killed: what was queued is still queued.
    done = len(complete_days(archive))
    wait_until(lambda: len(complete_days(archive)) > done, "the other worker completes a day", 240)
    processes.kill("daemon")
    time.sleep(3)  # a supervisor's pause
    processes.start("daemon")

    # Without a code server no run is launched, and none is failed for it.
    processes.kill("code-server")
    assert not processes.is_code_server_healthy()
    assert processes.is_web_server_healthy()
    processes.start("code-server")
    wait_until(processes.is_code_server_healthy, "the code server answers again")
    wait_until(processes.is_location_loaded, "the web server reaches it again")
    wait_until(processes.is_daemon_healthy, "the daemon is alive again")

    def is_over() -> bool:
        runs = processes.runs()
        return processes.backfill_status(backfill) not in ("REQUESTED", "CANCELING") and all(
            run["status"] in FINISHED for run in runs
        )

    wait_until(is_over, "the backfill and all its runs have ended", 420)
    statuses = {run["runId"]: run["status"] for run in processes.runs()}
    print(f"{len(statuses)} runs for {len(DAYS)} days; all ended {time.monotonic() - lost_at:.0f} s after the loss")
    assert {statuses[run["runId"]] for run in lost} == {"FAILURE"}

    # Nothing is lost or doubled, one extension a decision, the quota kept.
    assert complete_days(archive) == set(map(str, DAYS))
    for day in DAYS:
        assert_archive_is_true(cluster.krosai, archive, day)
    counters = cluster.krosai.counters()
    call_ids = {call["id"] for call in cluster.krosai.expected_calls(hashes=False)}
    assert set(counters["extends_applied_by_call"]) == call_ids
    assert set(counters["extend_requests_by_call"].values()) == {1}
    interrupted = {
        row["call_id"] for day in DAYS for row in archive.table("calls", day) if str(day) in {r["day"] for r in lost}
    }
    assert {call_id for call_id, count in counters["downloads_by_call"].items() if count > 1} <= interrupted
    assert "429" not in counters["responses_by_status"]
    sent, reserved = quota_of(archive)
    assert len(reserved) <= len(lost)
    requests = sum(counters["requests_by_route"].values())
    assert sum(sent) <= requests <= sum(sent) + sum(reserved) <= requests + BLOCK * len(lost)

    # The pool is free again, and each run's log is in the bucket.
    assert processes.pool("krosai") == (0, PARALLEL_DAYS)
    stored = Archive(archive.client, "logs", "dagster").objects("storage/")
    assert {run_id for run_id, status in statuses.items() if status == "SUCCESS"} <= {
        key.split("/")[1] for key in stored
    }
