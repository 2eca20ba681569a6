"""The examples for Kubernetes and ECS: what they start, and what Dagster's launchers make of them for a run.

Nothing here runs a cluster. Dagster's own code merges the settings of launcher and code location. Of what it would send
to AWS, the client checks the shapes, against a stand-in.
"""

from __future__ import annotations

import json
import re
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest
import yaml
from dagster._config import process_config
from dagster_aws.ecs import EcsRunLauncher
from dagster_aws.ecs.container_context import EcsContainerContext
from dagster_aws.ecs.tasks import get_task_definition_dict_from_current_task
from dagster_k8s.container_context import K8sContainerContext
from moto import mock_aws

from kros_pipeline.assets import KROSAI_POOL
from kros_pipeline.browser.call_pages import evidence_url
from kros_pipeline_tests.support.deployment_files import (
    DEPLOY,
    ROOT,
    compose_services,
    dockerfile,
    environment_names,
    login_services,
)
from kros_pipeline_tests.support.iam import granted_actions

CONTEXT = "DAGSTER_CLI_API_GRPC_CONTAINER_CONTEXT"
LOCATIONS = ("code-server", "operator-code-server")
MODULES = dict(zip(LOCATIONS, ("kros_pipeline.pipeline_location", "kros_pipeline.operator_location"), strict=True))
TASK = json.loads((DEPLOY / "ecs/task-definition.json").read_text())
CONTAINERS: dict[str, dict[str, Any]] = {container["name"]: container for container in TASK["containerDefinitions"]}
LOGIN = CONTAINERS.pop("login-operators")


def kubernetes(name: str) -> Any:
    return yaml.safe_load((DEPLOY / "kubernetes" / name).read_text())


def deployments() -> dict[str, dict[str, Any]]:
    """The chart's code servers, by the name that compose has for each."""
    return dict(zip(LOCATIONS, kubernetes("values.yaml")["dagster-user-deployments"]["deployments"], strict=True))


def in_snake_case(name: str) -> str:
    return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()


def values_of(items: list[dict[str, str]], field: str = "value") -> dict[str, str]:
    return {item["name"]: item[field] for item in items}


# Kubernetes.


def test_kubernetes_has_one_number_of_days_in_all_its_places() -> None:
    values, pool = kubernetes("values.yaml"), kubernetes("pool.yaml")
    [container] = pool["spec"]["template"]["spec"]["containers"]
    *command, key, days = container["command"]
    assert (command, key) == (["dagster", "instance", "concurrency", "set"], KROSAI_POOL)
    coordinator = values["dagsterDaemon"]["runCoordinator"]["config"]["queuedRunCoordinator"]
    assert coordinator["maxConcurrentRuns"] == int(days) + 2
    assert values["additionalInstanceConfig"]["concurrency"]["pools"]["granularity"] == "run"
    assert f'KROS_PARALLEL_DAYS: "{days}"' in (DEPLOY / "kubernetes/values.yaml").read_text()


def test_kubernetes_values_say_of_the_instance_what_the_other_deployments_have() -> None:
    values, base = kubernetes("values.yaml"), yaml.safe_load((ROOT / "dagster.yaml").read_text())
    production = yaml.safe_load((DEPLOY / "production.yaml").read_text())
    daemon = values["dagsterDaemon"]
    monitoring = base["run_monitoring"] | production["run_monitoring"]
    assert {in_snake_case(key): value for key, value in daemon["runMonitoring"].items()} == monitoring
    assert {in_snake_case(key): value for key, value in daemon["runRetries"].items()} == base["run_retries"]
    postgres = production["storage"]["postgres"]["postgres_db"]
    assert values["postgresql"]["postgresqlScheme"] == postgres["scheme"]
    logs = values["computeLogManager"]["config"]["s3ComputeLogManager"]
    assert {in_snake_case(key): value for key, value in logs.items()} == production["compute_logs"]["config"]
    for kind in ("schedule", "sensor"):
        assert values["retention"][kind]["purgeAfterDays"] == production["retention"][kind]["purge_after_days"]


def context_of_the_chart(deployment: dict[str, Any]) -> dict[str, Any]:
    """What the chart says of a location's runs, or what the location says itself where the chart is to say nothing."""
    if not deployment["includeConfigInLaunchedRuns"]["enabled"]:
        context: dict[str, Any] = json.loads(values_of(deployment["env"])[CONTEXT])
        return context
    own = {in_snake_case(name): deployment[name] for name in ("resources", "volumes", "volumeMounts")}
    names = {
        in_snake_case(name): [item["name"] for item in deployment[name]] for name in ("envConfigMaps", "envSecrets")
    }
    account = kubernetes("values.yaml")["dagster-user-deployments"]["serviceAccount"]["name"]
    return {"k8s": {**own, **names, "service_account_name": account}}


@pytest.mark.parametrize(
    ("location", "account", "secrets"),
    [
        ("code-server", "kros-pipeline", "kros-secrets"),
        ("operator-code-server", "kros-operator", "kros-operator-secrets"),
    ],
)
def test_a_run_on_kubernetes_has_the_rights_and_the_size_that_its_location_says(
    location: str, account: str, secrets: str
) -> None:
    deployment = deployments()[location]
    launcher = kubernetes("values.yaml")["runLauncher"]["config"]["k8sRunLauncher"]["runK8sConfig"]
    of_launcher = {
        "container_config": launcher["containerConfig"], "pod_spec_config": launcher["podSpecConfig"],
    }  # fmt: skip
    merged = K8sContainerContext.create_from_config({"k8s": {"run_k8s_config": of_launcher}}).merge(
        K8sContainerContext.create_from_config(context_of_the_chart(deployment))
    )
    container, pod = merged.run_k8s_config.container_config, merged.run_k8s_config.pod_spec_config
    assert pod["service_account_name"] == account
    assert container["env_from"] == [{"config_map_ref": {"name": "kros-settings"}}, {"secret_ref": {"name": secrets}}]
    assert container["resources"] == {"requests": {"cpu": "250m", "memory": "1Gi"}, "limits": {"memory": "2Gi"}}
    assert container["security_context"]["read_only_root_filesystem"] is True
    assert container["volume_mounts"] == [{"name": "tmp", "mount_path": "/tmp"}]
    assert pod["volumes"] == [{"name": "tmp", "empty_dir": {}}]


def test_the_locations_of_kubernetes_are_those_of_the_login() -> None:
    for name, deployment in deployments().items():
        command = login_services()[name]["command"]
        assert command[command.index("--module-name") :] == deployment["dagsterApiGrpcArgs"]
        assert str(deployment["port"]) in command
        assert deployment["securityContext"]["runAsNonRoot"] is True


def test_each_service_account_of_kubernetes_has_its_role() -> None:
    """The chart gives the code servers and their runs another account than the web server and the daemon."""
    values = kubernetes("values.yaml")
    accounts = (
        (values["dagster-user-deployments"]["serviceAccount"], "kros-pipeline"),
        (values["serviceAccount"], "kros-pipeline"),
        (deployments()["operator-code-server"]["serviceAccount"], "kros-erasure"),
    )
    for account, role in accounts:
        assert account["create"] is True
        assert account["annotations"] == {"eks.amazonaws.com/role-arn": f"arn:aws:iam::ACCOUNT:role/{role}"}


def test_the_web_server_and_the_daemon_of_kubernetes_find_code_and_logs() -> None:
    """Listen links to a job by the name of its location, which the chart otherwise takes from the deployment."""
    values = kubernetes("values.yaml")
    workspace = values["dagsterWebserver"]["workspace"]
    login = yaml.safe_load((DEPLOY / "login/workspace.yaml").read_text())["load_from"]
    assert workspace["enabled"] is True
    assert workspace["servers"] == [
        {"host": deployment["name"], "port": deployment["port"], "name": of["grpc_server"]["location_name"]}
        for deployment, of in zip(deployments().values(), login, strict=True)
    ]
    assert "/locations/kros_pipeline/" in evidence_url("", "call_1")
    for name in ("dagsterWebserver", "dagsterDaemon"):
        assert values[name]["envConfigMaps"] == [{"name": "kros-settings"}], "which has the bucket of logs"


def test_the_processes_of_kubernetes_open_ports_that_need_no_rights_and_are_asked_whether_they_answer() -> None:
    values = kubernetes("values.yaml")
    web, daemon = values["dagsterWebserver"], values["dagsterDaemon"]
    assert web["service"]["port"] == web["readinessProbe"]["httpGet"]["port"] >= 1024
    command = daemon["livenessProbe"]["exec"]["command"]
    assert ["CMD", *command] == compose_services()["daemon"]["healthcheck"]["test"]
    for deployment in deployments().values():
        assert deployment["port"] >= 1024
        assert deployment["livenessProbe"].keys().isdisjoint({"exec", "httpGet"}), "the chart's own question"


# ECS.


def test_the_task_of_ecs_has_the_processes_of_the_login_with_their_commands_and_checks() -> None:
    services = {
        name: compose_services().get(name, {}) | login_services().get(name, {})
        for name in ("prepare", "webserver", "daemon", *LOCATIONS)
    }
    assert CONTAINERS.keys() == services.keys()
    [shown] = [line.words for line in dockerfile() if line.name == "VOLUME"]
    volumes = {volume["name"] for volume in TASK["volumes"]}
    mounted = [mount["sourceVolume"] for container in CONTAINERS.values() for mount in container["mountPoints"]]
    assert len(set(mounted)) == len(mounted) and set(mounted) == volumes, "each container has folders of its own"
    of_workspace = environment_names(yaml.safe_load((DEPLOY / "login/workspace.yaml").read_text()))
    of_instance = environment_names(yaml.safe_load((DEPLOY / "production.yaml").read_text()))
    for name, container in CONTAINERS.items():
        assert container["entryPoint"] == compose_services()["prepare"]["entrypoint"]
        assert container["readonlyRootFilesystem"] is True
        assert container["user"] == "10001:10001"
        # Fargate makes a folder that the image does not name root's.
        assert [mount["containerPath"] for mount in container["mountPoints"]] == shown
        given = {each["name"] for each in container["environment"] + container["secrets"]}
        assert set(of_instance) <= given
        if name == "prepare":
            continue
        assert container["dependsOn"] == [{"containerName": "prepare", "condition": "SUCCESS"}]
        expected = services[name].get("healthcheck", {}).get("test") or health_check_of_the_image()
        assert container["healthCheck"]["command"] == expected
        assert set(services[name]["command"]) - {"0.0.0.0"} <= set(container["command"])
        assert "0.0.0.0" not in container["command"]
        if name not in LOCATIONS:
            assert set(of_workspace) <= given


def health_check_of_the_image() -> list[str]:
    [check] = [line for line in dockerfile() if line.name == "HEALTHCHECK"]
    return ["CMD", *check.words]


@pytest.fixture
def daemon_of_ecs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Stand in for ECS, and for the address where a container asks for its own name. Yields a client of ECS."""

    class Metadata(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"Name": "daemon"}')

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Metadata)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("ECS_CONTAINER_METADATA_URI_V4", f"http://127.0.0.1:{server.server_port}")
    with mock_aws():
        yield boto3.client("ecs", region_name="eu-west-1", aws_access_key_id="test", aws_secret_access_key="test")
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("location", "role", "secrets"),
    [
        ("code-server", "kros-pipeline", {"KROSAI_API_KEY": "KROSAI_API_KEY"}),  # not the role that launches
        (
            "operator-code-server",
            "kros-erasure",
            {"KROSAI_API_KEY": "KROSAI_OPERATOR_API_KEY", "KROS_ERASURE_KEY": "KROS_ERASURE_KEY"},
        ),
    ],
)
def test_a_run_on_ecs_has_the_image_the_rights_and_the_secrets_of_its_location(
    daemon_of_ecs: Any, location: str, role: str, secrets: dict[str, str]
) -> None:
    """The launcher copies the daemon's container: what a location says of its runs replaces role and secrets."""
    task = daemon_of_ecs.register_task_definition(**TASK)["taskDefinition"]["taskDefinitionArn"]
    launcher = yaml.safe_load((DEPLOY / "ecs/run-launcher.yaml").read_text())["run_launcher"]["config"]
    environment = values_of(CONTAINERS[location]["environment"])
    context = EcsContainerContext(run_resources=launcher["run_resources"]).merge(
        EcsContainerContext.create_from_config(json.loads(environment.get(CONTEXT, "{}")))
    )
    definition = get_task_definition_dict_from_current_task(
        daemon_of_ecs,
        "run",
        {"taskDefinitionArn": task},
        environment["DAGSTER_CURRENT_IMAGE"],
        launcher["container_name"],
        environment=[],
        secrets=[{"name": name, "valueFrom": of} for name, of in context.get_secrets_dict(None).items()],
        task_role_arn=context.task_role_arn,
        **context.run_resources,
    )
    run = daemon_of_ecs.register_task_definition(**definition)["taskDefinition"]
    assert run["taskRoleArn"].endswith(f"role/{role}")
    assert (run["cpu"], run["memory"]) == ("1024", "2048")
    [container] = run["containerDefinitions"]
    assert container["image"] == CONTAINERS["daemon"]["image"]
    of_secrets = {name: of.split(":")[-3] for name, of in values_of(container["secrets"], "valueFrom").items()}
    assert of_secrets == secrets | {"DAGSTER_POSTGRES_PASSWORD": "DAGSTER_POSTGRES_PASSWORD"}
    assert values_of(container["environment"]).items() >= values_of(CONTAINERS["prepare"]["environment"]).items()


def test_only_what_launches_runs_on_ecs_may_start_tasks_and_it_may_give_them_the_roles_of_the_runs() -> None:
    """A run that may start a task with the erasure role can delete, whatever its own role says."""
    policy = json.loads((DEPLOY / "ecs/launcher-policy.json").read_text())
    assert TASK["taskRoleArn"] == "arn:aws:iam::ACCOUNT:role/kros-launcher"
    contexts = [values_of(CONTAINERS[name]["environment"])[CONTEXT] for name in LOCATIONS]
    roles = {json.loads(context)["ecs"]["task_role_arn"] for context in contexts}
    assert roles == {f"arn:aws:iam::ACCOUNT:role/kros-{name}" for name in ("pipeline", "erasure")}
    [passing] = [statement for statement in policy["Statement"] if statement["Action"] == "iam:PassRole"]
    assert set(passing["Resource"]) == {*roles, TASK["executionRoleArn"]}
    assert passing["Condition"] == {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}
    for file in (DEPLOY / "aws").glob("*-policy.json"):
        granted = set(granted_actions(json.loads(file.read_text())))
        assert not {action for action in granted if action.startswith(("ecs:", "iam:"))}, file.name


def test_a_run_on_ecs_gets_the_secrets_that_are_named_and_not_all_that_have_a_tag() -> None:
    launcher = yaml.safe_load((DEPLOY / "ecs/run-launcher.yaml").read_text())["run_launcher"]["config"]
    read = process_config(EcsRunLauncher.config_type(), launcher).value  # type: ignore[no-untyped-call]
    assert read is not None and read["secrets_tag"] is None


def test_the_web_server_of_ecs_is_reached_by_the_operators_login_only() -> None:
    """The containers of a task share 127.0.0.1; what else listens is reached from the whole network."""
    command = CONTAINERS["webserver"]["command"]
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert not [name for name, container in CONTAINERS.items() if container.get("portMappings")]
    assert LOGIN["portMappings"] == [{"containerPort": 4181, "protocol": "tcp"}]
    assert LOGIN["image"] == login_services()["login-operators"]["image"]
    assert LOGIN["essential"] is LOGIN["readonlyRootFilesystem"] is True
    given = {name.removeprefix("OAUTH2_PROXY_").lower(): text for name, text in values_of(LOGIN["environment"]).items()}
    wanted = tomllib.loads((DEPLOY / "login/oauth2-proxy-operators.cfg").read_text())
    wanted["http_address"] = "0.0.0.0:4181"
    as_text = {True: "true", False: "false"}
    lists = {name: ",".join(each) if isinstance(each, list) else each for name, each in wanted.items()}
    assert given == {name: as_text[each] if isinstance(each, bool) else each for name, each in lists.items()}
    secrets = {secret["name"] for secret in LOGIN["secrets"]}
    assert secrets == {f"OAUTH2_PROXY_{name}" for name in ("CLIENT_ID", "CLIENT_SECRET", "COOKIE_SECRET")}


def test_the_code_servers_of_ecs_are_started_from_their_modules() -> None:
    for location, module in MODULES.items():
        command = CONTAINERS[location]["command"]
        assert command[command.index("--module-name") + 1] == module
