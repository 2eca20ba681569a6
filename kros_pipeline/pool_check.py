"""Compare Dagster's instance with `KROS_PARALLEL_DAYS`: how many steps may ask KrosAI, and how many runs may work."""

from pathlib import Path

import dagster as dg

from .assets import KROSAI_POOL
from .operations.instance_config import RUNS_BESIDE_DAYS


def check_pool(home: Path, parallel_days: int) -> tuple[bool, str] | None:
    """Return whether the instance of a DAGSTER_HOME fits the setting, and a sentence; None where there is none yet.

    Raises what Dagster raises where its storage cannot be read.
    """
    if not (home / "dagster.yaml").exists():
        return None
    with dg.DagsterInstance.from_config(str(home)) as instance:
        limits = {pool.name: pool.limit for pool in instance.event_log_storage.get_pool_limits()}
        config = instance.get_concurrency_config()
    limit = limits.get(KROSAI_POOL, config.pool_config.default_pool_limit)
    if limit != parallel_days:
        shown = "no limit" if limit is None else f"the limit {limit}"
        return False, (
            f"the pool `{KROSAI_POOL}` has {shown}, and KROS_PARALLEL_DAYS is {parallel_days}: runs would exceed the "
            "account's rate, or wait for nothing. Start by `make up`, which sets it, or run "
            f"`dagster instance concurrency set {KROSAI_POOL} {parallel_days}` with this DAGSTER_HOME."
        )
    runs = config.run_queue_config.max_concurrent_runs if config.run_queue_config is not None else None
    if runs is not None and 0 <= runs < parallel_days + RUNS_BESIDE_DAYS:
        return False, (
            f"dagster.yaml lets {runs} runs work at once, and KROS_PARALLEL_DAYS is {parallel_days}: set "
            f"concurrency.runs.max_concurrent_runs to {parallel_days + RUNS_BESIDE_DAYS}."
        )
    steps = "one step" if parallel_days == 1 else f"{parallel_days} steps"
    return True, f"the pool `{KROSAI_POOL}` lets {steps} ask KrosAI at once, as KROS_PARALLEL_DAYS says."
