"""A backfill on several workers, and what is left of it when workers, daemon and code server are killed."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kros_pipeline.sandbox import Faults, KrosaiSimulator, SandboxConfig
from kros_pipeline_tests.support.archive_check import Archive, assert_archive_is_true
from kros_pipeline_tests.support.dagster_processes import DagsterProcesses, wait_until
from kros_pipeline_tests.support.databases import postgres, redis_server
from kros_pipeline_tests.support.s3_servers import SeaweedFS

# Past the grace days, and within retention: one run makes each of them complete.
_LAST_DAY = datetime.now(UTC).date() - timedelta(days=6)
DAYS = [_LAST_DAY - timedelta(days=back) for back in range(9, -1, -1)]
PARALLEL_DAYS = 2
CALLS = 8
QUOTA = 20_000  # requests a day, of the plan
WORKERS = ("worker-1", "worker-2")
RULES = "rules:\n  - {id: everyone, extend_days: 120}\n"  # a decision for each call
FINISHED = {"SUCCESS", "FAILURE", "CANCELED"}
# A lost run is found after 90 seconds, and not after two hours; the rest only shortens waits.
LOST_AFTER = {"dagster/max_runtime": "90"}
CHANGES = {
    "run_monitoring": {"poll_interval_seconds": 3, "free_slots_after_run_end_seconds": 5},
    "run_queue": {"user_code_failure_retry_delay": 3},
}
CONFIG = SandboxConfig(
    days=tuple(map(str, DAYS)),
    calls_per_day=CALLS,
    variety=False,
    audio_seconds=(2, 4),
    idempotency=False,  # a second extension would count
    requests_per_day=QUOTA,
    faults=Faults(api_latency_seconds=0.1),
)


@dataclass
class Cluster:
    processes: DagsterProcesses
    krosai: KrosaiSimulator
    archive: Archive


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Everything that is needed for days on two workers, on this machine; all of it ends with the test."""
    with ExitStack() as stack:
        database, broker = stack.enter_context(postgres()), stack.enter_context(redis_server())
        s3, krosai = stack.enter_context(SeaweedFS()), stack.enter_context(KrosaiSimulator(CONFIG))
        for bucket in ("archive", "logs"):
            s3.create_bucket(bucket, "plain")
        client = s3.client()
        stack.callback(client.close)
        rules = tmp_path / "rules.yaml"
        rules.write_text(RULES)
        environment = {
            **krosai.environment,
            **s3.environment,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1,localhost",
            "KROS_ARCHIVE_URL": "s3://archive/krosai",
            "KROSAI_PLAN": "business",
            "KROS_START_DATE": str(DAYS[0]),
            "KROS_FLAG_RULES": str(rules),
            "KROS_PARALLEL_DAYS": str(PARALLEL_DAYS),
            "DAGSTER_POSTGRES_HOST": database.host or "",
            "DAGSTER_POSTGRES_PORT": str(database.port or 5432),
            "DAGSTER_POSTGRES_DB": database.database or "",
            "DAGSTER_POSTGRES_USER": database.username or "",
            "DAGSTER_POSTGRES_PASSWORD": database.password or "none",
            "DAGSTER_LOGS_BUCKET": "logs",
            "DAGSTER_CELERY_BROKER": broker,
            "DAGSTER_CELERY_QUEUE": f"kros-test-{uuid.uuid4().hex[:12]}",
        }
        parts = ["dagster.yaml", "deploy/production.yaml", "deploy/celery/run-launcher.yaml"]
        processes = stack.enter_context(DagsterProcesses(tmp_path, environment, parts=parts, changes=CHANGES))
        processes.prepare()
        processes.start_code_server()
        for worker in WORKERS:
            processes.start_worker(worker)
        wait_until(processes.is_code_server_healthy, "the code server answers")
        processes.start_web_server()
        wait_until(processes.is_web_server_healthy, "the web server answers")
        wait_until(processes.is_location_loaded, "the web server reaches the code server")
        processes.stop_schedules()
        processes.start_daemon()
        yield Cluster(processes, krosai, Archive(client, "archive", "krosai"))


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


@pytest.mark.timeout(480)
def test_a_backfill_survives_the_loss_of_a_worker_the_daemon_and_the_code_server(cluster: Cluster) -> None:
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
                lost[:] = [run for run in running if run["steps"]]
        return all(seen.values()) and bool(lost)

    wait_until(is_worker_in_the_middle, "both workers run days, and the first one is in the middle of one", 120)
    processes.kill(WORKERS[0])
    lost_at = time.monotonic()

    # The daemon goes on where it was killed: what was queued is still queued.
    done = len(complete_days(archive))
    wait_until(lambda: len(complete_days(archive)) > done, "the other worker completes a day", 120)
    processes.kill("daemon")
    time.sleep(3)  # a supervisor's pause
    processes.start_daemon()

    # Without a code server no run is launched, and none is failed for it.
    processes.kill("code-server")
    assert not processes.is_code_server_healthy()
    assert processes.is_web_server_healthy()
    processes.start_code_server()
    wait_until(processes.is_code_server_healthy, "the code server answers again")
    wait_until(processes.is_location_loaded, "the web server reaches it again")
    wait_until(processes.is_daemon_healthy, "the daemon is alive again")

    def is_over() -> bool:
        runs = processes.runs()
        return processes.backfill_status(backfill) not in ("REQUESTED", "CANCELING") and all(
            run["status"] in FINISHED for run in runs
        )

    wait_until(is_over, "the backfill and all its runs have ended", 300)
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
    assert sum(counters["requests_by_route"].values()) < QUOTA
    assert "429" not in counters["responses_by_status"]

    # The pool is free again, and each run's log is in the bucket.
    assert processes.pool("krosai") == (0, PARALLEL_DAYS)
    stored = Archive(archive.client, "logs", "dagster").objects("storage/")
    assert {run_id for run_id, status in statuses.items() if status == "SUCCESS"} <= {
        key.split("/")[1] for key in stored
    }
