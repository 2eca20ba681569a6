"""Dagster's processes as systemd starts them, on this machine: each can be killed, and started again.

What is started is read from the units in `deploy/`, so that a test of the processes is a test of the units. Only paths
and ports are replaced. Every process has a group of its own: a kill takes all of it, as the loss of a machine does.
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

from kros_pipeline_tests.support.deployment_files import DEPLOY, ROOT, unit
from kros_pipeline_tests.support.s3_servers import free_ports

_BIN = Path(sys.executable).parent
_GRACE_SECONDS = 10.0
_LOCATION = {"repositoryLocationName": "kros_pipeline", "repositoryName": "__repository__"}


CELERY_PART = "deploy/celery/run-launcher.yaml"


class DagsterProcesses:
    """A code server, a web server, a daemon and Celery workers, with an environment of their own.

    `folder` is to them what `/opt/kros` is to the units, but for an `.env` of the developer. `changes` are merged above
    dagster.yaml.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str], *, changes: Mapping[str, Any]) -> None:
        self.folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._code_port, self.web_port = free_ports(2)
        for name in ("dagster.yaml", "kros_pipeline"):
            (folder / name).symlink_to(ROOT / name)
        (folder / "deploy").mkdir()
        for path in DEPLOY.iterdir():
            (folder / "deploy" / path.name).symlink_to(path)
        # The port is the one thing in the workspace that is not read from the environment.
        workspace = folder / "deploy/workspace.yaml"
        text = workspace.read_text().replace("port: 4000", f"port: {self._code_port}")
        workspace.unlink()
        workspace.write_text(text)
        logs = {"config": {"local_dir": str(folder)}}  # otherwise in /tmp, whatever TMPDIR says
        (folder / "changes.yaml").write_text(yaml.safe_dump({"compute_logs": logs, **changes}))
        parts = f"{environment.get('DAGSTER_PARTS', '')} {folder / 'changes.yaml'}"
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("KROS", "AWS_", "DAGSTER"))
        }
        self.environment = {
            **inherited,
            **environment,
            "DAGSTER_PARTS": parts.strip(),
            "DAGSTER_HOME": str(folder / "home"),
            "PATH": f"{_BIN}{os.pathsep}{os.environ['PATH']}",
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
                os.killpg(process.pid, signal.SIGCONT)
        deadline = time.monotonic() + _GRACE_SECONDS
        for name in list(self._running):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._running[name].wait(max(0.1, deadline - time.monotonic()))
            self.kill(name)

    def prepare(self) -> None:
        """Run what has to end well before anything else starts."""
        self._run(DEPLOY / "systemd/kros-prepare.service", "ExecStart")

    def start(self, name: str) -> None:
        """Start `code-server`, `webserver` or `daemon`, or a worker by any other name."""
        file = DEPLOY / f"systemd/kros-{name}.service"
        if not file.exists():
            file = DEPLOY / "celery/kros-worker.service"
        if "ExecStartPre" in unit(file)["Service"]:
            self._run(file, "ExecStartPre")
        assert name not in self._running
        with (self.folder / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                self._command(file, "ExecStart", name), env=self._environment_of(file), cwd=self.folder,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def end_lost_runs(self) -> None:
        """Run what the code server's unit runs once its process was started."""
        self._run(DEPLOY / "systemd/kros-code-server.service", "ExecStartPost")

    def _run(self, file: Path, key: str) -> None:
        command = self._command(file, key, file.stem)
        done = subprocess.run(
            command, env=self._environment_of(file), cwd=self.folder, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"

    def _command(self, file: Path, key: str, name: str) -> list[str]:
        """Return a unit's command, with what systemd replaces in it, and our ports."""
        [line] = unit(file)["Service"][key]
        replaced = {"4000": str(self._code_port), "3000": str(self.web_port), "archive@%H": f"{name}@%h"}
        words: list[str] = []
        for word in line.split():
            if word.startswith("${"):
                words.append(self.environment[word.strip("${}")])
            elif word.startswith("$"):
                words += self.environment[word[1:]].split()  # systemd splits it, too
            elif word == CELERY_PART:  # a worker renders its file by itself, of parts that its unit names
                words += self.environment["DAGSTER_PARTS"].split()
            else:
                placed = word.replace("/opt/kros/.venv/bin", str(_BIN)).replace("/opt/kros", str(self.folder))
                words.append(replaced.get(word, placed))
        return words

    def _environment_of(self, file: Path) -> dict[str, str]:
        words = " ".join(unit(file)["Service"].get("Environment", [])).split()
        given = dict(word.partition("=")[::2] for word in words)
        folders = {"/opt/kros": str(self.folder), "/var/lib/kros": self.environment["DAGSTER_HOME"]}
        for name, value in given.items():
            for path, ours in folders.items():
                value = value.replace(path, ours)
            given[name] = value
        return {"PYTHONPATH": str(ROOT)} | self.environment | given

    def kill(self, name: str) -> None:
        """End a process and all that it started, with SIGKILL."""
        process = self._running.pop(name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def freeze(self, name: str) -> None:
        """Stop a process without ending it: it runs for systemd, and answers nobody."""
        os.killpg(self._running[name].pid, signal.SIGSTOP)

    def group_of(self, name: str) -> int:
        """Return the process group of a process, which a worker's runs are in, too."""
        return self._running[name].pid

    def log(self, name: str) -> str:
        """Return what a process printed so far."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def check_health(self) -> list[str]:
        """Run what the timer runs, and return the services that it would have restarted."""
        programs, restarted = self.folder / "programs", self.folder / "restarted"
        programs.mkdir(exist_ok=True)
        (programs / "systemctl").write_text(
            "#!/bin/sh\n"
            'case "$*" in is-active*operator*|is-active*viewer*|is-active*browse*) exit 3 ;; esac\n'  # of deploy/login
            f'[ "$1" = restart ] && echo "$3" >> {restarted}\nexit 0\n'
        )
        (programs / "runuser").write_text('#!/bin/sh\nshift 3\nexec "$@"\n')  # there is no user kros here
        for name in ("systemctl", "runuser"):
            (programs / name).chmod(0o755)
        script = (DEPLOY / "systemd/check-health.sh").read_text()
        script = script.replace("4000", str(self._code_port)).replace("3000", str(self.web_port))
        environment = self._environment_of(DEPLOY / "systemd/kros-health.service") | {"PAUSE_SECONDS": "1"}
        environment["PATH"] = f"{programs}{os.pathsep}{environment['PATH']}"
        restarted.write_text("")
        subprocess.run(
            ["/bin/sh", "-c", script, "check-health", str(_BIN)], env=environment, cwd=self.folder, check=True,
            capture_output=True, timeout=180,
        )  # fmt: skip
        return restarted.read_text().split()

    # What is healthy.

    def is_web_server_healthy(self) -> bool:
        """Ask `/server_info`, as a health check does."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.web_port}/server_info", timeout=5) as answer:
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
            f"http://127.0.0.1:{self.web_port}/graphql",
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

    def launch_day(self, day: str) -> None:
        """Launch the job `daily_archive` for one day, as the schedule does: no backfill may end before its retry."""
        query = """mutation($params: ExecutionParams!) { launchPipelineExecution(executionParams: $params) {
            __typename ... on PythonError { message } } }"""
        params = {
            "selector": _LOCATION | {"jobName": "daily_archive"},
            "mode": "default",
            "executionMetadata": {"tags": [{"key": "dagster/partition", "value": day}]},
        }
        answered = self.ask(query, params=params)["launchPipelineExecution"]
        assert answered["__typename"] == "LaunchRunSuccess", answered

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


def wait_until(is_so: Callable[[], bool], what: str, seconds: float = 120) -> None:
    """Wait until a condition holds. Raises TimeoutError with `what`."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {seconds:.0f} seconds still not: {what}")
        time.sleep(0.5)
