"""Terminating a run ends it: no step is started again, and nothing goes on moving."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from kros_pipeline.core.errors import ApiUnauthorized, ApiUnreachable
from kros_pipeline.definitions import defs
from kros_pipeline.failures import MAX_RETRIES, raise_as_dagster_failure
from kros_pipeline.sandbox import Fault, Faults, SandboxConfig
from kros_pipeline_tests.support.accounts import DAY, MakeAccount

ROOT = Path(__file__).parents[2]
SLOW = SandboxConfig(days={str(DAY): 40}, variety=False, audio_seconds=(60, 70))
_STALLED_SECONDS = 40.0
_SOON_SECONDS = 12.0  # a loaded machine; one second otherwise


def wait_until(condition: Callable[[], bool], *, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None and time.monotonic() < deadline, "the run ended, or never came so far"
        time.sleep(0.1)


@pytest.mark.slow
def test_a_run_that_is_terminated_between_its_downloads_ends_at_once(account: MakeAccount, tmp_path: Path) -> None:
    our = account(SLOW)
    our.krosai.set_faults(Faults(storage_slow=Fault(share=0.7, value=_STALLED_SECONDS)))
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    program = "from dagster._cli import main; main()"
    command = [
        sys.executable,
        "-c",
        program,
        "job",
        "execute",
        "-m",
        "kros_pipeline.definitions",
        "-j",
        "daily_archive",
    ]
    process = subprocess.Popen(
        [*command, "--tags", json.dumps({"dagster/partition": str(DAY)})],
        env=os.environ | our.environment | {"DAGSTER_HOME": str(tmp_path)},
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: bool(our.archive.objects("audio/")), process=process)
        with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
            [run] = instance.get_runs()
            instance.report_run_canceling(run)  # what the UI does before it has the process interrupted
            process.send_signal(signal.SIGTERM)
            assert process.wait(_SOON_SECONDS) != 0
            moved, asked = len(our.archive.objects("audio/")), our.krosai.counters()["storage_requests"]
            ended = instance.get_run_by_id(run.run_id)
            assert ended is not None and ended.status == dg.DagsterRunStatus.CANCELED
            events = [entry.dagster_event for entry in instance.all_logs(run.run_id) if entry.dagster_event]
        kinds = [event.event_type_value for event in events]
        assert "STEP_UP_FOR_RETRY" not in kinds and "STEP_RESTARTED" not in kinds
        assert [event.step_key for event in events if event.is_step_start] == ["calls", "recordings"]
        assert 0 < moved < 40 and asked <= our.krosai.counters()["storage_requests"] <= 40
    finally:
        process.kill()
        process.wait()


def test_no_step_of_any_job_has_a_retry_policy() -> None:
    """Dagster applies a policy to a terminated step, too: a step asks for its retry by itself."""
    for job in defs().resolve_all_job_defs():
        policies = [job.op_retry_policy, *(node.retry_policy for node in job.nodes)]
        policies += [node.retry_policy for node in job.all_node_defs if isinstance(node, dg.OpDefinition)]
        assert len(policies) > 2 and not any(policies), job.name


def test_a_step_asks_for_one_retry_where_another_try_may_help_and_for_none_otherwise() -> None:
    with pytest.raises(dg.RetryRequested) as asked, raise_as_dagster_failure():
        raise ApiUnreachable("no answer")
    assert asked.value.max_retries == MAX_RETRIES
    assert isinstance(asked.value.__cause__, dg.Failure) and "no answer" in str(asked.value.__cause__.description)
    with pytest.raises(dg.Failure), raise_as_dagster_failure("the schedule looks again"):
        raise ApiUnreachable("no answer")
    with pytest.raises(dg.Failure), raise_as_dagster_failure():
        raise ApiUnauthorized("the key is refused")
