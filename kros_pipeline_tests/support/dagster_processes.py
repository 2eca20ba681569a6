"""Dagster's processes as a deployment starts them, on this machine: each can be killed, and started again.

They are started from the files of `deploy/`: `dagster.yaml` is rendered from its parts, the workspace names a code
server, and Celery workers read `deploy/celery/`. Every process has a group of its own, so that a kill takes all of it,
as the loss of a machine does.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from kros_pipeline_tests.support.s3_servers import free_ports

ROOT = Path(__file__).parents[2]
_BIN = Path(sys.executable).parent
_GRACE_SECONDS = 10.0
_LOCATION = {"repositoryLocationName": "kros_pipeline", "repositoryName": "__repository__"}


class DagsterProcesses:
    """A code server, a web server, a daemon and Celery workers, in `folder`, with an environment of their own.

    `parts` are the files that dagster.yaml is rendered from; `changes` are merged above them.
    """

    def __init__(
        self, folder: Path, environment: Mapping[str, str], *, parts: Sequence[str], changes: Mapping[str, Any]
    ) -> None:
        self.folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._code_port, self._web_port = free_ports(2)
        above = folder / "changes.yaml"
        above.write_text(yaml.safe_dump(dict(changes)))
        self._parts = [*(str(ROOT / part) for part in parts), str(above)]
        text = (ROOT / "deploy/workspace.yaml").read_text().replace("port: 4000", f"port: {self._code_port}")
        (folder / "workspace.yaml").write_text(text)
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("KROS", "AWS_", "DAGSTER"))
        }
        python_path = [str(ROOT), str(ROOT / "deploy/celery"), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.environment = {
            **inherited,
            **environment,
            "DAGSTER_HOME": str(folder / "home"),
            "DAGSTER_CODE_SERVER_HOST": "127.0.0.1",
            "PATH": f"{_BIN}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(python_path),
            "PYTHONWARNINGS": "ignore",
            "TMPDIR": str(folder),
        }
        (folder / "home").mkdir()

    def __enter__(self) -> DagsterProcesses:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + _GRACE_SECONDS
        for name in list(self._running):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._running[name].wait(max(0.1, deadline - time.monotonic()))
            self.kill(name)

    def run(self, *command: str, seconds: float = 120) -> str:
        """Run a command to its end, and return what it printed. Raises AssertionError where it fails."""
        done = subprocess.run(
            command, env=self.environment, cwd=self.folder, capture_output=True, text=True, timeout=seconds
        )
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout

    def prepare(self) -> None:
        """Render dagster.yaml, migrate the storage and set the pool's limit: once, before anything else."""
        self.run(sys.executable, "-m", "kros_pipeline", "prepare", *self._parts)

    def start_code_server(self) -> None:
        self._start(
            "code-server", "dagster", "api", "grpc", "--module-name", "kros_pipeline.definitions",
            "--location-name", "kros_pipeline", "--host", "127.0.0.1", "--port", str(self._code_port),
            "--log-format", "json",
        )  # fmt: skip

    def start_web_server(self) -> None:
        self._start(
            "webserver", "dagster-webserver", "--workspace", "workspace.yaml", "--host", "127.0.0.1",
            "--port", str(self._web_port), "--log-format", "json",
        )  # fmt: skip

    def start_daemon(self) -> None:
        self._start("daemon", "dagster-daemon", "run", "--workspace", "workspace.yaml", "--log-format", "json")

    def start_worker(self, name: str) -> None:
        queue = self.environment["DAGSTER_CELERY_QUEUE"]
        self._start(
            name, "celery", "--app", "dagster_celery.app", "worker", "--queues", queue, "--hostname", f"{name}@%h"
        )

    def _start(self, name: str, *command: str) -> None:
        assert name not in self._running
        with (self.folder / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                command, env=self.environment, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def kill(self, name: str) -> None:
        """End a process and all that it started, with SIGKILL."""
        process = self._running.pop(name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def group_of(self, name: str) -> int:
        """Return the process group of a process, which a worker's runs are in, too."""
        return self._running[name].pid

    def log(self, name: str) -> str:
        """Return what a process printed so far."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    # What is healthy.

    def is_web_server_healthy(self) -> bool:
        """Ask `/server_info`, as a health check does."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._web_port}/server_info", timeout=5) as answer:
                return "dagster_version" in json.load(answer)
        except (urllib.error.URLError, OSError):
            return False

    def is_code_server_healthy(self) -> bool:
        command = ["dagster", "api", "grpc-health-check", "--port", str(self._code_port)]
        return self._succeeds(command)

    def is_daemon_healthy(self) -> bool:
        return self._succeeds(["dagster-daemon", "liveness-check"])

    def _succeeds(self, command: Sequence[str]) -> bool:
        done = subprocess.run(command, env=self.environment, cwd=self.folder, capture_output=True, timeout=60)
        return done.returncode == 0

    # What an operator does in the UI.

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """Send a GraphQL query to the web server."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._web_port}/graphql",
            json.dumps({"query": query, "variables": variables}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            answered = json.load(answer)
        assert not answered.get("errors"), answered
        data: dict[str, Any] = answered["data"]
        return data

    def is_location_loaded(self) -> bool:
        """Return whether the web server reaches the code server."""
        answered = self.ask(
            "{ workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError { __typename } } } } }"
        )
        entries = answered["workspaceOrError"]["locationEntries"]
        return [entry["locationOrLoadError"]["__typename"] for entry in entries] == ["RepositoryLocation"]

    def stop_schedules(self) -> None:
        """Stop all schedules: a tick would add runs."""
        query = """query($selector: RepositorySelector!) { schedulesOrError(repositorySelector: $selector) {
            ... on Schedules { results { name scheduleState { id } } } } }"""
        schedules = self.ask(query, selector=_LOCATION)["schedulesOrError"]["results"]
        for schedule in schedules:
            stop = """mutation($id: String!) { stopRunningSchedule(id: $id) {
                ... on ScheduleStateResult { scheduleState { status } } } }"""
            stopped = self.ask(stop, id=schedule["scheduleState"]["id"])["stopRunningSchedule"]
            assert stopped["scheduleState"]["status"] == "STOPPED", schedule

    def launch_backfill(self, days: Sequence[str], **tags: str) -> str:
        """Launch the job `daily_archive` for days, and return the backfill's id."""
        query = """mutation($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
            __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
        params = {
            "selector": {"partitionSetName": "daily_archive_partition_set", "repositorySelector": _LOCATION},
            "partitionNames": list(days),
            "tags": [{"key": key, "value": value} for key, value in tags.items()],
        }
        answered = self.ask(query, params=params)["launchPartitionBackfill"]
        assert answered["__typename"] == "LaunchBackfillSuccess", answered
        backfill_id: str = answered["backfillId"]
        return backfill_id

    def backfill_status(self, backfill_id: str) -> str:
        query = """query($id: String!) { partitionBackfillOrError(backfillId: $id) {
            ... on PartitionBackfill { status } } }"""
        status: str = self.ask(query, id=backfill_id)["partitionBackfillOrError"]["status"]
        return status

    def runs(self) -> list[dict[str, Any]]:
        """Return all runs: id, status, day, finished steps."""
        query = """{ runsOrError { ... on Runs { results { runId status tags { key value }
            stepStats { stepKey status } } } } }"""
        found: list[dict[str, Any]] = self.ask(query)["runsOrError"]["results"]
        for run in found:
            run["tags"] = {tag["key"]: tag["value"] for tag in run["tags"]}
            run["day"] = run["tags"].get("dagster/partition", "")
            run["steps"] = [stats["stepKey"] for stats in run["stepStats"] if stats["status"] == "SUCCESS"]
        return found

    def pool(self, name: str) -> tuple[int, int]:
        """Return how many slots of a pool are taken, and how many there are."""
        query = """query($name: String!) { instance { concurrencyLimit(concurrencyKey: $name) {
            activeSlotCount slotCount } } }"""
        limit = self.ask(query, name=name)["instance"]["concurrencyLimit"]
        return limit["activeSlotCount"], limit["slotCount"]

    def process_of(self, run_id: str) -> int | None:
        """Return the id of the process that executes a run, or None before it has begun."""
        query = """query($id: ID!) { logsForRun(runId: $id) { ... on EventConnection {
            events { ... on MessageEvent { message } } } } }"""
        for event in self.ask(query, id=run_id)["logsForRun"]["events"]:
            _, found, pid = event.get("message", "").partition("Started process for run (pid: ")
            if found:
                return int(pid.partition(")")[0])
        return None


def wait_until(is_so: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Wait until a condition holds. Raises TimeoutError with `what`."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {seconds:.0f} seconds still not: {what}")
        time.sleep(0.5)
