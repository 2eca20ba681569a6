"""The files of `deploy/` name what is there, and keep what the documents promise of a deployment."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from kros_pipeline.operations.instance_config import RUNS_BESIDE_DAYS
from kros_pipeline.steps.metrics_settings import METRICS_ADDRESS
from kros_pipeline_tests.support.deployment_files import (
    DEPLOY,
    ROOT,
    compose_services,
    dockerfile,
    environment_names,
    login_services,
    unit,
)

PROGRAM = Path(sys.executable).parent
UNITS = sorted(
    file for folder in ("systemd", "celery", "login", "prometheus") for file in DEPLOY.glob(f"{folder}/*.service")
)
OURS = ("prepare", "code-server", "webserver", "daemon")
IN_COMPOSE = (*OURS, "worker")
PARTS = ["deploy/production.yaml", "deploy/celery/run-launcher.yaml", "deploy/workspace.yaml"]


def names_read(*parts: str) -> set[str]:
    """The variables that parts of dagster.yaml, or the workspace, read when a process starts."""
    return {name for part in parts for name in environment_names(yaml.safe_load((ROOT / part).read_text()))}


# The image.


def test_the_base_is_pinned_by_its_digest_in_every_stage() -> None:
    bases = [line.value.split(" AS ")[0] for line in dockerfile() if line.name == "FROM"]
    assert len(set(bases)) == 1
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-bookworm@sha256:[0-9a-f]{64}", bases[0])


def test_packages_come_from_the_lock_with_their_hashes_and_from_nowhere_else() -> None:
    installs = [line.value for line in dockerfile() if line.name == "RUN" and " install " in line.value]
    assert len(installs) == 1
    assert "--require-hashes -r requirements-production.lock" in installs[0]


def test_the_image_runs_as_a_user_without_rights_and_has_a_health_check() -> None:
    last = [line for line in dockerfile() if line.stage == 1]
    user = [line.value for line in last if line.name == "USER"]
    assert len(user) == 1
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", user[0])
    assert not [line for line in last[last.index(next(x for x in last if x.name == "USER")) :] if line.name == "RUN"]
    [check] = [line for line in last if line.name == "HEALTHCHECK"]
    assert check.words[:3] == ["dagster", "api", "grpc-health-check"]


def test_everything_that_is_copied_is_there_and_nothing_else_is_sent_to_the_engine() -> None:
    copied = {
        source
        for line in dockerfile()
        if line.name == "COPY" and not line.value.startswith("--from")
        for source in line.value.split()[:-1]
    }
    for source in copied:
        assert (ROOT / source).exists(), source
    ignore = (DEPLOY / "compose/Dockerfile.dockerignore").read_text().splitlines()
    assert ignore[1] == "*"
    assert {line[1:] for line in ignore if line.startswith("!")} == copied


def test_files_of_credentials_get_neither_into_the_image_nor_into_the_repository() -> None:
    """Such as operator.env, which compose reads from a folder that the image has, too."""
    services = [*compose_services().values(), *login_services().values()]
    named = {name for service in services for name in as_list(service.get("env_file", []))}
    assert {Path(name).suffix or Path(name).name for name in named} == {".env"}
    ignore = (DEPLOY / "compose/Dockerfile.dockerignore").read_text().splitlines()
    last_included = max(number for number, line in enumerate(ignore) if line.startswith("!"))
    assert "**/*.env" in ignore[last_included:], "the last pattern that fits decides"
    assert "*.env" in (ROOT / ".gitignore").read_text().splitlines()


def as_list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def test_the_lock_of_the_image_has_versions_and_hashes_of_the_lock_of_the_tests() -> None:
    def pins(name: str) -> dict[str, set[str]]:
        entries = re.split(r"\n(?=[A-Za-z0-9])", (ROOT / name).read_text())
        return {
            re.split(r"[ ;\\]", entry.strip())[0]: set(re.findall(r"--hash=(sha256:[0-9a-f]{64})", entry))
            for entry in entries
        }

    image, tests = pins("requirements-production.lock"), pins("requirements.lock")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    needed = {re.split(r"[<>=]", package)[0] for package in extras["browser"]}  # the page is one of its processes
    assert {"dagster-postgres", "dagster-webserver", "redis", *needed} <= {pin.split("==")[0] for pin in image}
    assert "pytest" not in {pin.split("==")[0] for pin in image}
    for pin, hashes in image.items():
        assert hashes, pin
        assert hashes == tests[pin], pin


# Compose.


@pytest.mark.parametrize("name", IN_COMPOSE)
def test_a_service_is_locked_down_and_starts_again(name: str) -> None:
    service = compose_services()[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == ("on-failure:5" if name == "prepare" else "unless-stopped")
    assert service["logging"]["options"]["max-size"]
    assert names_read(*PARTS) <= service["environment"].keys()


def test_services_start_once_the_storage_is_prepared_and_each_has_its_health_check() -> None:
    services = compose_services()
    assert services["prepare"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert services["prepare"]["command"][:4] == ["python", "-m", "kros_pipeline", "prepare"]
    for name in OURS[1:]:
        assert services[name]["depends_on"] == {"prepare": {"condition": "service_completed_successfully"}}
    assert "/server_info" in services["webserver"]["healthcheck"]["test"][-1]
    assert services["daemon"]["healthcheck"]["test"] == ["CMD", "dagster-daemon", "liveness-check"]
    assert "healthcheck" not in services["code-server"]  # the image's
    assert "grpc" in services["code-server"]["command"]


def test_only_the_web_server_and_the_metrics_are_reached_and_only_from_this_machine() -> None:
    ports = {name: service["ports"] for name, service in compose_services().items() if "ports" in service}
    assert ports == {"webserver": ["127.0.0.1:3000:3000"], "metrics": ["127.0.0.1:9777:9777"]}


def test_images_of_others_are_pinned_by_their_version() -> None:
    images = {service["image"] for service in compose_services().values()} - {"kros-pipeline"}
    assert len(images) == 2
    assert all(re.fullmatch(r"\w+:\d+\.\d+(\.\d+)?-bookworm", image) for image in images), images


def test_compose_reads_its_files() -> None:
    file = ["--file", "compose/compose.yaml", "--profile", "celery", "--profile", "metrics"]
    command = ["docker", "compose", "--env-file", "/dev/null", *file, "config", "--quiet", "--no-env-resolution"]
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "compose", "version"], capture_output=True).returncode
    ):
        pytest.skip("docker's plugin compose is not installed")
    given = {"DAGSTER_POSTGRES_PASSWORD": "x", "DAGSTER_LOGS_BUCKET": "x", "KROS_START_DATE": "2025-01-10"}
    given["PATH"] = "/usr/local/bin:/usr/bin:/bin"
    done = subprocess.run(command, cwd=DEPLOY, env=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# systemd.


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    if (analyze := shutil.which("systemd-analyze")) is None:
        pytest.skip("systemd-analyze is not installed")
    copies = []
    for file in [*UNITS, *DEPLOY.glob("systemd/*.timer"), *DEPLOY.glob("systemd/*.target")]:
        text = file.read_text().replace("/opt/kros/.venv/bin", str(PROGRAM))
        copies.append(tmp_path / file.name)
        copies[-1].write_text(text)
    done = subprocess.run(
        [analyze, "verify", "--man=no", "--recursive-errors=no", *map(str, copies)], capture_output=True, text=True
    )
    complaints = [line for line in (done.stdout + done.stderr).splitlines() if "kros" in line]
    assert not complaints, complaints


@pytest.mark.parametrize("file", UNITS, ids=lambda path: path.stem)
def test_what_a_unit_starts_is_there(file: Path) -> None:
    section = unit(file)["Service"]
    for line in section["ExecStart"] + section.get("ExecStartPre", []) + section.get("ExecStartPost", []):
        for word in line.split():
            if word.startswith("/opt/kros/.venv/bin/"):
                assert (PROGRAM / Path(word).name).exists(), word
            elif word.startswith("/opt/kros/") and "/.venv/" not in word:
                assert (ROOT / word.removeprefix("/opt/kros/")).exists(), word
            elif word.endswith(".yaml"):
                assert (ROOT / word).exists(), word


@pytest.mark.parametrize("name", ["kros-code-server", "kros-webserver", "kros-daemon"])
def test_a_process_starts_again_whenever_it_ends_and_only_once_the_storage_is_prepared(name: str) -> None:
    sections = unit(DEPLOY / f"systemd/{name}.service")
    assert sections["Service"]["Restart"] == ["always"]
    assert sections["Unit"]["StartLimitIntervalSec"] == ["0"]  # systemd gives up otherwise
    assert sections["Unit"]["Requires"] == sections["Unit"]["After"] == ["kros-prepare.service"]
    assert sections["Service"]["User"] == ["kros"]
    assert f"{name}.service" in unit(DEPLOY / "systemd/kros.target")["Unit"]["Wants"][0].split()


@pytest.mark.parametrize(
    ("file", "role"), [("prometheus/kros-metrics.service", "metrics"), ("login/kros-browse.service", "browse")]
)
def test_a_process_beside_the_pipeline_has_credentials_of_its_own_and_starts_again(file: str, role: str) -> None:
    sections = unit(DEPLOY / file)
    service = sections["Service"]
    assert service["EnvironmentFile"] == [f"/etc/kros/{role}.env"], "not the pipeline's"
    assert service["ExecStart"] == [f"/opt/kros/.venv/bin/python -m kros_pipeline {role}"]
    assert service["Restart"] == ["always"] and sections["Unit"]["StartLimitIntervalSec"] == ["0"]
    assert "kros-prepare.service" not in str(sections["Unit"]), "it needs no Dagster"


def test_processes_with_other_credentials_have_other_users_and_other_folders() -> None:
    """A process can read the variables of every process of its user, and may open that user's sockets."""
    files_of = {file.stem: unit(file)["Service"].get("EnvironmentFile", []) for file in UNITS}
    users: dict[str, set[str]] = {}
    for file in UNITS:
        service = unit(file)["Service"]
        own = {name for name in files_of[file.stem] if not name.endswith("kros.env")}
        [user] = service.get("User", ["root"])
        users.setdefault(user, set()).add(" ".join(sorted(own)))
        if own:
            assert service["WorkingDirectory"] == ["/"], "where no .env wins over the unit's own file"
            variables = dict(word.split("=", 1) for word in service["Environment"][0].split())
            assert variables["PYTHONPATH"] == "/opt/kros", "where the package is"
            paths = [variables[name] for name in ("DAGSTER_HOME", "XDG_CACHE_HOME") if name in variables]
            assert all(Path(path).name == user for path in paths)
            assert [user] in (service.get("StateDirectory"), service.get("CacheDirectory")) or not paths
    assert users == {
        "root": {""}, "kros": {""}, "kros-operator": {"/etc/kros/operator.env"},
        "kros-browse": {"/etc/kros/browse.env"}, "kros-metrics": {"/etc/kros/metrics.env"},
    }  # fmt: skip
    assert [file.stem for file in UNITS if "User" not in unit(file)["Service"]] == ["kros-health"], "it restarts units"


@pytest.mark.parametrize("page", ["README.md", "login/README.md", "prometheus/README.md"])
def test_a_page_makes_the_users_copies_the_units_and_enables_them(page: str) -> None:
    text = (DEPLOY / page).read_text()
    folder = (DEPLOY / page).parent
    units = [file for file in UNITS if file.parent == (folder if folder != DEPLOY else DEPLOY / "systemd")]
    assert units
    for file in units:
        for user in unit(file)["Service"].get("User", []):
            assert re.search(rf"useradd --system .*{user}\n", text) or (user == "kros" and folder != DEPLOY)
        by_name = re.search(rf"enable --now .*\b{file.stem}\b", text) and f"{file.name} " in text
        assert by_name or "kros.target" in text, file.name


def test_the_code_servers_serve_their_locations_only_once_the_logins_page_was_followed(tmp_path: Path) -> None:
    """The commands of the page, with programs that write down what they were asked for."""
    page = (DEPLOY / "login/README.md").read_text()
    [commands] = [block for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) if "sed -i" in block]
    for folder in ("units", "programs"):
        (tmp_path / folder).mkdir()
    for name in ("code-server", "webserver", "daemon"):
        shutil.copy(DEPLOY / f"systemd/kros-{name}.service", tmp_path / "units")
    for name in ("systemctl", "useradd"):
        (tmp_path / "programs" / name).write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/{name}\n')
        (tmp_path / "programs" / name).chmod(0o755)
    script = commands.replace("/etc/systemd/system/", f"{tmp_path}/units/")
    given = {"PATH": f"{tmp_path}/programs:/usr/bin:/bin"}
    subprocess.run(["/bin/sh", "-e", "-c", script], cwd=ROOT, env=given, check=True, timeout=60)
    started = {file.stem: unit(file)["Service"] for file in (tmp_path / "units").iterdir()}
    assert " --module-name kros_pipeline.pipeline_location " in started["kros-code-server"]["ExecStart"][0]
    for name in ("kros-webserver", "kros-daemon", "kros-viewer"):
        assert " --workspace deploy/login/workspace.yaml " in started[name]["ExecStart"][0]
        assert "DAGSTER_OPERATOR_SERVER_HOST=127.0.0.1" in started[name]["Environment"][0]
    reload, enable, restart = (line.split() for line in (tmp_path / "systemctl").read_text().splitlines())
    assert reload == ["daemon-reload"]
    assert enable == ["enable", "--now", "kros-operator-code-server", "kros-viewer"]
    assert restart == ["restart", "kros-code-server", "kros-webserver", "kros-daemon"]


def test_the_metrics_of_compose_are_what_the_image_serves_without_dagster() -> None:
    metrics = compose_services()["metrics"]
    assert metrics["command"] == ["python", "-m", "kros_pipeline", "metrics"] and not metrics["entrypoint"]
    assert metrics["environment"] == {METRICS_ADDRESS.name: "0.0.0.0:9777"} and not metrics["depends_on"]
    assert metrics["env_file"] == "../prometheus/metrics.env", "credentials of its own"
    assert metrics["read_only"] is True and metrics["cap_drop"] == ["ALL"]
    assert METRICS_ADDRESS.parse("0.0.0.0:9777") == ("0.0.0.0", 9777)


@pytest.mark.parametrize(
    ("failures", "restarted"), [(0, False), (1, False), (2, True)], ids=["answers", "answers late", "does not answer"]
)
def test_a_service_that_does_not_answer_twice_is_restarted(tmp_path: Path, failures: int, restarted: bool) -> None:
    # The daemon's check fails a number of times; the others succeed.
    daemon = f'echo x >> {tmp_path}/asked\n[ "$(wc -l < {tmp_path}/asked)" -gt {failures} ]'
    assert restarted_services(tmp_path, {"dagster-daemon": daemon}) == (["kros-daemon.service"] if restarted else [])


PROBED = sorted(file.name for file in UNITS if file.stem not in ("kros-health", "kros-prepare", "kros-metrics"))


def test_every_service_that_hangs_is_restarted() -> None:
    """All but the metrics: where Prometheus gets no numbers, an alert of its own fires."""
    script = (DEPLOY / "systemd/check-health.sh").read_text()
    assert sorted(re.findall(r"restart_unless (kros-\S+) ", script)) == PROBED
    assert "absent(kros_archive_readable)" in (DEPLOY / "prometheus/alerts.yml").read_text()


def test_no_service_is_restarted_while_each_answers_and_all_are_where_none_does(tmp_path: Path) -> None:
    assert restarted_services(tmp_path, {}) == []
    redis_only = 'case "$*" in *redis*) exit 0 ;; esac\nexit 1'
    hang = {"dagster-daemon": "exit 1", "dagster": "exit 1", "celery": "exit 1", "python": redis_only}
    assert sorted(restarted_services(tmp_path, hang)) == PROBED


def test_a_worker_keeps_its_runs_while_redis_is_away(tmp_path: Path) -> None:
    no_redis = 'case "$*" in *redis*) exit 1 ;; esac'
    assert restarted_services(tmp_path, {"python": no_redis, "celery": "exit 1"}) == []


def test_root_asks_nothing_itself_and_shows_no_other_user_the_pipelines_secrets(tmp_path: Path) -> None:
    restarted_services(tmp_path, {}, KROSAI_API_KEY="secret")
    asked = [line.split() for line in (tmp_path / "users").read_text().splitlines()]
    of_user = {user: {key for one, key in asked if one == user} for user, _ in asked}
    assert of_user == {"kros": {"secret"}, "kros-browse": {"none"}}


def restarted_services(folder: Path, programs: dict[str, str], **environment: str) -> list[str]:
    """Run check-health.sh with programs that succeed, but for those given, and return what it restarted."""
    log = folder / "restarted"
    log.write_text("")
    fakes = {
        "systemctl": f'[ "$1 $2" = "restart --no-block" ] && echo "$3" >> {log}\nexit 0',
        # Only root may become another user; who was asked for is written down, and with whose key.
        "runuser": f'[ "$1 $3" = "-u --" ] || exit 1\necho "$2 ${{KROSAI_API_KEY:-none}}" >> {folder}/users\nshift 3\n'
        'exec "$@"',
        **dict.fromkeys(("dagster", "dagster-daemon", "celery", "python"), "exit 0"),
        **programs,
    }
    for name, text in fakes.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    given = {"PATH": f"{folder}:/usr/bin:/bin", "PAUSE_SECONDS": "0", **environment}
    script = ["/bin/sh", str(DEPLOY / "systemd/check-health.sh"), str(folder)]
    subprocess.run(script, env=given, check=True, capture_output=True, timeout=60)
    return log.read_text().split()


@pytest.mark.parametrize("failures", [0, 1, 7])
def test_the_storage_is_prepared_as_often_as_it_takes(tmp_path: Path, failures: int) -> None:
    """Where the database comes up later, after a power cut for example: a failed unit takes those behind it with it."""
    (tmp_path / "python").write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/tried\n[ "$(wc -l < {tmp_path}/tried)" -gt {failures} ]\n'
    )
    (tmp_path / "python").chmod(0o755)
    service = unit(DEPLOY / "systemd/kros-prepare.service")["Service"]
    shell, script, programs = service["ExecStart"][0].split()
    assert programs == "/opt/kros/.venv/bin"
    done = subprocess.run(
        [shell, ROOT / script.removeprefix("/opt/kros/"), tmp_path],
        env={"PATH": "/usr/bin:/bin", "PAUSE_SECONDS": "0", "DAGSTER_PARTS": "deploy/celery/run-launcher.yaml"},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0
    tried = (tmp_path / "tried").read_text().splitlines()
    parts = ["dagster.yaml", "deploy/production.yaml", "deploy/celery/run-launcher.yaml"]
    assert tried == [f"-m kros_pipeline prepare {' '.join(parts)}"] * (failures + 1)
    assert all((ROOT / part).exists() for part in parts)
    assert done.stderr.count("tried again") == failures


def test_no_unit_waits_for_one_that_can_give_up() -> None:
    prepare = unit(DEPLOY / "systemd/kros-prepare.service")
    assert prepare["Service"]["TimeoutStartSec"] == ["infinity"] and "Restart" not in prepare["Service"]
    for file in UNITS:
        assert set(unit(file)["Unit"].get("Requires", [])) <= {"kros-prepare.service"}, file


CODE_SERVERS = {"systemd/kros-code-server.service": "4000", "login/kros-operator-code-server.service": "4001"}


@pytest.mark.parametrize(("file", "port"), CODE_SERVERS.items())
def test_a_code_server_ends_the_runs_that_the_last_one_at_its_port_took_with_it(file: str, port: str) -> None:
    service = unit(DEPLOY / file)["Service"]
    assert f" --port {port} " in service["ExecStart"][0]
    assert service["ExecStartPost"] == [f"/opt/kros/.venv/bin/python -m kros_pipeline end-lost-runs --port {port}"]


@pytest.mark.parametrize(
    ("name", "lost_runs_of"), [("code-server", "4000"), ("operator-code-server", "4001"), ("webserver", None)]
)
def test_a_container_renders_its_file_and_a_code_server_ends_lost_runs_of_its_own_port(
    tmp_path: Path, name: str, lost_runs_of: str | None
) -> None:
    for program in ("python", "dagster", "dagster-webserver"):
        (tmp_path / program).write_text(f'#!/bin/sh\necho {program} "$@" >> {tmp_path}/started\n')
        (tmp_path / program).chmod(0o755)
    command = (compose_services() | login_services())[name]["command"]
    done = subprocess.run(
        ["/bin/sh", DEPLOY / "compose/start.sh", *command],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "DAGSTER_PARTS": "deploy/celery/run-launcher.yaml"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    parts = "dagster.yaml deploy/production.yaml deploy/celery/run-launcher.yaml"
    lost = [f"python -m kros_pipeline end-lost-runs --port {lost_runs_of}"] if lost_runs_of else []
    rendered, *then = (tmp_path / "started").read_text().splitlines()
    assert rendered == f"python -m kros_pipeline render {parts}"
    assert sorted(then) == sorted([" ".join(command), *lost])


def test_the_workers_read_the_variables_that_the_launcher_reads() -> None:
    config = (DEPLOY / "celery/dagster_celery_config.py").read_text()
    launcher = names_read("deploy/celery/run-launcher.yaml")
    assert launcher == {"DAGSTER_CELERY_BROKER", "DAGSTER_CELERY_QUEUE"}
    assert 'os.environ["DAGSTER_CELERY_BROKER"]' in config
    for file in ("compose/compose.yaml", "celery/kros-worker.service"):
        assert "DAGSTER_CELERY_QUEUE" in (DEPLOY / file).read_text()


def celery_config(monkeypatch: pytest.MonkeyPatch, **variables: str) -> dict[str, Any]:
    for name in ("DAGSTER_CELERY_RUNS", "KROS_PARALLEL_DAYS", "KROS_START_DATE"):
        monkeypatch.delenv(name, raising=False)
    for name, text in {"DAGSTER_CELERY_BROKER": "redis://127.0.0.1:1/0", **variables}.items():
        monkeypatch.setenv(name, text)
    return runpy.run_path(str(DEPLOY / "celery/dagster_celery_config.py"))


@pytest.mark.parametrize(
    ("variables", "places"),
    [
        ({}, 1 + RUNS_BESIDE_DAYS),
        ({"KROS_PARALLEL_DAYS": "4"}, 4 + RUNS_BESIDE_DAYS),
        ({"KROS_PARALLEL_DAYS": "4", "DAGSTER_CELERY_RUNS": ""}, 4 + RUNS_BESIDE_DAYS),
        ({"KROS_PARALLEL_DAYS": "4", "DAGSTER_CELERY_RUNS": "2"}, 2),
    ],
)
def test_one_worker_has_a_place_for_each_run_that_the_queue_starts(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], places: int
) -> None:
    config = celery_config(monkeypatch, KROS_START_DATE="2025-01-10", **variables)
    assert config["worker_concurrency"] == places


# The first day.


def test_a_process_whose_folder_does_not_last_is_given_the_first_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise each container begins at the first day that KrosAI has by then, and older days vanish."""
    for name, service in compose_services().items():
        if "DAGSTER_POSTGRES_HOST" in service.get("environment", {}):
            assert service["environment"]["KROS_START_DATE"] == "${KROS_START_DATE:?set it in .env}", name
    assert "KROS_START_DATE" in compose_services()["code-server"]["environment"]
    task = json.loads((DEPLOY / "ecs/task-definition.json").read_text())
    for container in task["containerDefinitions"]:
        given = {variable["name"]: variable["value"] for variable in container["environment"]}
        assert given.get("KROS_START_DATE") == "START_DATE" or container["name"] == "login-operators"
    settings = (
        (DEPLOY / "kubernetes/values.yaml").read_text().split("envConfigMaps: &settings")[1].split("kros-settings")
    )
    assert "KROS_START_DATE" in settings[0]
    with pytest.raises(SystemExit, match="KROS_START_DATE"):
        celery_config(monkeypatch)
    assert "| `KROS_START_DATE` |" in (DEPLOY / "README.md").read_text()
