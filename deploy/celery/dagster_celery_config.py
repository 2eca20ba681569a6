"""Configure the Celery workers: dagster-celery imports this module by its name, so this folder is in PYTHONPATH.

celery --app dagster_celery.app worker --queues "$DAGSTER_CELERY_QUEUE" --hostname "archive@%h"
"""

import logging
import os
from typing import Any

import structlog
from celery.signals import setup_logging

from kros_pipeline.operations.instance_config import RUNS_BESIDE_DAYS
from kros_pipeline.steps.settings import parse_parallel_days

if not os.environ.get("KROS_START_DATE"):  # a worker has no record of the first day, and would refuse earlier ones
    raise SystemExit("Set KROS_START_DATE, to the same day on every machine: see deploy/README.md.")

broker_url = os.environ["DAGSTER_CELERY_BROKER"]
result_backend = broker_url
broker_connection_retry_on_startup = True  # a worker may start before Redis

# Runs at once on this machine. By default as many as the queue lets work at once: a run that no worker takes within
# 5 minutes fails.
worker_concurrency = int(os.environ.get("DAGSTER_CELERY_RUNS") or parse_parallel_days(os.environ) + RUNS_BESIDE_DAYS)
# A worker takes a run when it has a place for it. Otherwise runs wait behind another one while other machines are idle,
# and are lost with the machine that reserved them.
worker_disable_prefetch = True
worker_prefetch_multiplier = 1
worker_max_tasks_per_child = 1  # each run in a process of its own, as without Celery: memory is given back
worker_redirect_stdouts = False  # Dagster captures what a run prints, for the bucket of the logs


@setup_logging.connect  # type: ignore[untyped-decorator]
def log_as_json(**_: Any) -> None:
    """Write each line as JSON, as Dagster's own processes do with `--log-format json`."""
    shared = [structlog.stdlib.add_log_level, structlog.processors.TimeStamper(fmt="iso")]
    last = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, structlog.processors.JSONRenderer()]
    handler = logging.StreamHandler()
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=last))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
