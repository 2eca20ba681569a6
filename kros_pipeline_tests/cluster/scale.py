"""Measure how long a backfill takes with one, two and four workers, on a source that takes 400 ms for each answer.

`make scale` runs it. It reports, and asserts only that every day is complete: these are wall-clock times.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from kros_pipeline.sandbox import Faults, SandboxConfig
from kros_pipeline_tests.cluster.conftest import Deployment
from kros_pipeline_tests.support.dagster_processes import CELERY_PART, wait_until
from kros_pipeline_tests.support.databases import redis_server

_LAST_DAY = datetime.now(UTC).date() - timedelta(days=6)
DAYS = [str(_LAST_DAY - timedelta(days=back)) for back in range(7, -1, -1)]
CONFIG = SandboxConfig(
    days=tuple(DAYS),
    calls_per_day=20,
    variety=False,
    audio_seconds=(2, 4),
    faults=Faults(api_latency_seconds=0.4),
)


@pytest.fixture
def broker() -> Iterator[str]:
    with redis_server() as url:
        yield url


@pytest.mark.timeout(900)
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_the_days_of_a_backfill(broker: str, deployment: Callable[..., Deployment], workers: int) -> None:
    made = deployment(
        CONFIG,
        KROSAI_REQUESTS_PER_SECOND="1000",  # the latency is the limit, not the rate
        KROS_PARALLEL_DAYS=str(workers),
        DAGSTER_PARTS=CELERY_PART,
        DAGSTER_CELERY_BROKER=broker,
        DAGSTER_CELERY_RUNS="2",
        DAGSTER_CELERY_QUEUE=f"kros-scale-{uuid.uuid4().hex[:12]}",
    )
    made.start(*(f"worker-{number}" for number in range(1, workers + 1)))
    began_at = time.monotonic()
    backfill = made.processes.launch_backfill(DAYS)

    def is_over() -> bool:
        return made.processes.backfill_status(backfill) not in ("REQUESTED", "CANCELING") and all(
            run["status"] in ("SUCCESS", "FAILURE", "CANCELED") for run in made.processes.runs()
        )

    wait_until(is_over, "the backfill has ended", 600)
    seconds = time.monotonic() - began_at
    rows = [row for day in DAYS for row in made.archive.table("reconciliation", datetime.fromisoformat(day).date())]
    assert [row["verdict"] for row in rows] == ["complete"] * len(DAYS)
    shown = f"{workers} workers: {len(DAYS)} days in {seconds:.0f} s, {60 * len(DAYS) / seconds:.1f} days a minute"
    print(f"\n{shown}", flush=True)
