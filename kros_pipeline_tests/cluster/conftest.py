"""A deployment with all that it needs, on this machine: all of it ends with the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from kros_pipeline.sandbox import KrosaiSimulator, SandboxConfig
from kros_pipeline_tests.support.archive_check import Archive
from kros_pipeline_tests.support.dagster_processes import DagsterProcesses, wait_until
from kros_pipeline_tests.support.databases import postgres
from kros_pipeline_tests.support.s3_servers import SeaweedFS

_RULES = "rules:\n  - {id: everyone, extend_days: 120}\n"  # a decision for each call
# Only what shortens waits.
_CHANGES = {
    "run_monitoring": {"poll_interval_seconds": 3, "free_slots_after_run_end_seconds": 5},
    "run_queue": {"user_code_failure_retry_delay": 3},
}


@dataclass
class Deployment:
    """The processes, the account that they archive, and the archive."""

    processes: DagsterProcesses
    krosai: KrosaiSimulator
    archive: Archive

    def start(self, *workers: str) -> None:
        """Start everything; schedules are stopped, for a tick would add runs."""
        processes = self.processes
        processes.prepare()
        for name in ("code-server", *workers):
            processes.start(name)
        wait_until(processes.is_code_server_healthy, "the code server answers")
        processes.start("webserver")
        wait_until(processes.is_web_server_healthy, "the web server answers")
        wait_until(processes.is_location_loaded, "the web server reaches the code server")
        processes.stop_schedules()
        processes.start("daemon")


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """PostgreSQL, S3 and the rules, as variables."""
    with ExitStack() as stack:
        database, s3 = stack.enter_context(postgres()), stack.enter_context(SeaweedFS())
        for bucket in ("archive", "logs"):
            s3.create_bucket(bucket, "plain")
        rules = tmp_path / "rules.yaml"
        rules.write_text(_RULES)
        yield {
            **s3.environment,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1,localhost",
            "KROS_ARCHIVE_URL": "s3://archive/krosai",
            "KROSAI_PLAN": "business",
            "KROS_FLAG_RULES": str(rules),
            "DAGSTER_POSTGRES_HOST": database.host or "",
            "DAGSTER_POSTGRES_PORT": str(database.port or 5432),
            "DAGSTER_POSTGRES_DB": database.database or "",
            "DAGSTER_POSTGRES_USER": database.username or "",
            "DAGSTER_POSTGRES_PASSWORD": database.password or "none",
            "DAGSTER_LOGS_BUCKET": "logs",
        }


@pytest.fixture
def deployment(tmp_path: Path, environment: Mapping[str, str]) -> Iterator[Callable[..., Deployment]]:
    """Makes a deployment for the account of a configuration; further variables are arguments."""
    with ExitStack() as stack:

        def make(config: SandboxConfig, **variables: str) -> Deployment:
            krosai = stack.enter_context(KrosaiSimulator(config))
            first_day = min(config.calls_by_day)
            given = {**environment, **krosai.environment, "KROS_START_DATE": first_day, **variables}
            processes = stack.enter_context(DagsterProcesses(tmp_path, given, changes=_CHANGES))
            client = s3_client(environment)
            stack.callback(client.close)
            return Deployment(processes, krosai, Archive(client, "archive", "krosai"))

        yield make


def s3_client(environment: Mapping[str, str]) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL_S3"],
        region_name=environment["AWS_REGION"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
    )
