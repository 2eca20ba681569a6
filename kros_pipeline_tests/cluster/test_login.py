"""Two web servers behind logins, over two code locations: viewers see everything and launch nothing."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from kros_pipeline_tests.support.deployment_files import login_services
from kros_pipeline_tests.support.login_proxy import LoginProxy, login_proxy
from kros_pipeline_tests.support.s3_servers import free_ports

ROOT = Path(__file__).parents[2]
LOGIN = ROOT / "deploy/login"
BIN = Path(sys.executable).parent
SESSIONS = {
    "ada": ("ada@example.com", ["call-archive-operators"]),
    "bob": ("bob@example.com", ["sales"]),
    "eve": ("eve@elsewhere.example", ["call-archive-operators"]),
}
LAUNCH = """mutation ($selector: JobOrPipelineSelector!) {
  launchPipelineExecution(executionParams: {selector: $selector, mode: "default"}) { __typename }
}"""
SELECTOR = {"repositoryName": "__repository__", "repositoryLocationName": "kros_operator", "jobName": "erase_calls"}
JOBS = "{ repositoriesOrError { ... on RepositoryConnection { nodes { location { name } jobs { name } } } } }"
MAY_LAUNCH = "{ permissions { permission value } }"


@contextmanager
def running(*command: str, environment: dict[str, str], folder: Path) -> Iterator[None]:
    with (folder / f"{command[0]}-{len(list(folder.iterdir()))}.log").open("wb") as log:
        process = subprocess.Popen(
            [str(BIN / command[0]), *command[1:]], cwd=folder, env=environment, stdout=log, stderr=log
        )
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:  # a code server that still has a client
                process.kill()
                process.wait()


def wait_for(url: str, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(url, timeout=10).close()
            return
        except OSError:
            assert time.monotonic() < deadline, url
            time.sleep(0.3)


@pytest.fixture(scope="module")
def proxies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, LoginProxy]]:
    """The proxies of viewers and of operators, each before its web server; both code servers are running."""
    folder = tmp_path_factory.mktemp("login")
    (folder / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text())
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("KROS", "AWS_", "DAGSTER"))}
    environment = inherited | {
        "DAGSTER_HOME": str(folder), "DAGSTER_CODE_SERVER_HOST": "127.0.0.1", "PYTHONWARNINGS": "ignore",
        "DAGSTER_OPERATOR_SERVER_HOST": "127.0.0.1", "KROSAI_API_KEY": "key", "KROS_ARCHIVE_URL": "s3://bucket/archive",
    }  # fmt: skip
    pipeline, operators, launching, viewing = free_ports(4)
    workspace = (LOGIN / "workspace.yaml").read_text()
    for port, free in ((4000, pipeline), (4001, operators)):
        workspace = workspace.replace(f"port: {port}", f"port: {free}")
    (folder / "workspace.yaml").write_text(workspace)
    commands = {
        "code": _words("kros-operator-code-server.service", {"4001": str(operators)}),
        "viewer": _words(
            "kros-viewer.service", {"3001": str(viewing), "deploy/login/workspace.yaml": "workspace.yaml"}
        ),
    }
    # As `prepare` does in a deployment: of two processes that make the tables at once, one ends with an error.
    subprocess.run(
        [str(BIN / "dagster"), "instance", "migrate"], cwd=folder, env=environment, check=True, capture_output=True
    )
    of_the_pipeline = " ".join(commands["code"]).replace("operator", "pipeline").replace(str(operators), str(pipeline))
    with ExitStack() as stack:
        for command in (commands["code"], of_the_pipeline.split()):
            stack.enter_context(running(*command, environment=environment, folder=folder))
        for port in (pipeline, operators):
            _wait_for_code_server(port, environment)
        for command in (
            commands["viewer"],
            [word.replace(str(viewing), str(launching)) for word in commands["viewer"] if word != "--read-only"],
        ):
            stack.enter_context(running(*command, environment=environment, folder=folder))
        made = {}
        for who, port in (("viewers", viewing), ("operators", launching)):
            wait_for(f"http://127.0.0.1:{port}/server_info")
            configuration = LOGIN / f"oauth2-proxy-{who}.cfg"
            made[who] = stack.enter_context(login_proxy(configuration, f"http://127.0.0.1:{port}", SESSIONS))
        yield made


def _words(unit: str, changed: dict[str, str]) -> list[str]:
    """The command of a systemd unit, with other ports."""
    [line] = [line for line in (LOGIN / unit).read_text().splitlines() if line.startswith("ExecStart=")]
    program, *words = line.removeprefix("ExecStart=").split()
    return [Path(program).name, *(changed.get(word, word) for word in words)]


def _wait_for_code_server(port: int, environment: dict[str, str]) -> None:
    for _ in range(60):
        checked = [str(BIN / "dagster"), "api", "grpc-health-check", "--port", str(port)]
        if subprocess.run(checked, env=environment, capture_output=True).returncode == 0:
            return
        time.sleep(0.5)
    raise AssertionError(f"no code server at {port}")


def ask(proxy: LoginProxy, session: str, query: str, headers: dict[str, str] | None = None, **variables: Any) -> Any:
    """The answer of GraphQL, or the status where it is none."""
    connection = http.client.HTTPConnection("127.0.0.1", proxy.server_port, timeout=60)
    sent = {"Cookie": f"{proxy.config['cookie_name']}={session}", "Content-Type": "application/json"}
    try:
        body = json.dumps({"query": query, "variables": variables})
        connection.request("POST", "/graphql", body, sent | (headers or {}))
        answer = connection.getresponse()
        text = answer.read()
        return json.loads(text)["data"] if answer.status == 200 else answer.status
    finally:
        connection.close()


@pytest.mark.timeout(300)
def test_nobody_passes_without_a_session_and_only_the_group_reaches_the_operators_server(
    proxies: dict[str, LoginProxy],
) -> None:
    passed = {
        (who, session): ask(proxies[who], session, JOBS) != 302 for who in proxies for session in (*SESSIONS, "nobody")
    }
    assert {key for key, is_in in passed.items() if is_in} == {
        ("viewers", "ada"), ("viewers", "bob"), ("operators", "ada"),
    }  # fmt: skip


@pytest.mark.timeout(300)
def test_both_see_the_jobs_of_both_locations(proxies: dict[str, LoginProxy]) -> None:
    for proxy in proxies.values():
        nodes = ask(proxy, "ada", JOBS)["repositoriesOrError"]["nodes"]
        jobs = {node["location"]["name"]: {job["name"] for job in node["jobs"]} for node in nodes}
        assert jobs["kros_operator"] - {"__ASSET_JOB"} == {"erase_calls", "turn_on_recording"}
        assert "daily_archive" in jobs["kros_pipeline"] and not jobs["kros_pipeline"] & {"erase_calls"}


@pytest.mark.timeout(300)
def test_a_viewer_can_launch_nothing_and_change_nothing(proxies: dict[str, LoginProxy]) -> None:
    allowed = {
        who: {one["permission"] for one in ask(proxy, "ada", MAY_LAUNCH)["permissions"] if one["value"]}
        for who, proxy in proxies.items()
    }
    assert allowed["viewers"] == set()
    assert {"launch_pipeline_execution", "terminate_pipeline_execution", "wipe_assets"} <= allowed["operators"]
    launched = {
        who: ask(proxy, "ada", LAUNCH, selector=SELECTOR)["launchPipelineExecution"]["__typename"]
        for who, proxy in proxies.items()
    }
    assert launched == {"viewers": "UnauthorizedError", "operators": "LaunchRunSuccess"}


@pytest.mark.timeout(300)
def test_the_headers_name_who_it_is_and_a_browser_cannot_set_them(proxies: dict[str, LoginProxy]) -> None:
    ask(proxies["viewers"], "bob", JOBS, {"X-Forwarded-Email": "ada@example.com", "x-forwarded-groups": "admins"})
    last = proxies["viewers"].passed[-1]
    assert (last["x-forwarded-email"], last["x-forwarded-groups"]) == ("bob@example.com", "sales")


# The files.


def test_the_compose_file_serves_both_locations_and_publishes_no_web_server() -> None:
    services = login_services()
    locations = yaml.safe_load((LOGIN / "workspace.yaml").read_text())["load_from"]
    served = {}
    for name in ("code-server", "operator-code-server"):
        words = services[name]["command"]
        served[words[words.index("--location-name") + 1]] = int(words[words.index("--port") + 1])
    assert served == {one["grpc_server"]["location_name"]: one["grpc_server"]["port"] for one in locations}
    for name in ("webserver", "viewer"):
        assert services[name]["ports"] is None
        assert ("--read-only" in services[name]["command"]) == (name == "viewer")
    for who, server in (("viewers", "viewer"), ("operators", "webserver")):
        login = services[f"login-{who}"]
        assert login["environment"]["OAUTH2_PROXY_UPSTREAMS"] == f"http://{server}:3000/"
        assert all(port.startswith("127.0.0.1:") for port in login["ports"])
        assert (ROOT / "deploy/compose" / login["volumes"][0].split(":")[0]).resolve().is_file()
