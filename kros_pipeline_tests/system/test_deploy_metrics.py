"""The files for Prometheus and Grafana: they name metrics that exist, and each alert fires when it should."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from kros_pipeline.operations.metrics import NAMES
from kros_pipeline.steps.metrics_settings import METRICS_ADDRESS

DEPLOY = Path(__file__).parents[2] / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
RULES = [rule for group in yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
DASHBOARD = json.loads((DEPLOY / "grafana/dashboard.json").read_text())
TARGETS = [(panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel["targets"]]


def metrics_in(expression: str) -> set[str]:
    return set(re.findall(r"\bkros_\w+", expression))


@pytest.mark.parametrize(
    "arguments", ["check rules alerts.yml", "test rules alerts_test.yml", "check config prometheus.yml"]
)
def test_promtool_accepts_the_files_and_every_alert_fires_when_it_should(arguments: str) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is missing: apt install prometheus")
    done = subprocess.run([promtool, *arguments.split()], cwd=PROMETHEUS, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_an_alert_names_metrics_that_exist_and_says_what_to_do(rule: dict[str, Any]) -> None:
    named = metrics_in(rule["expr"])
    assert named and named <= set(NAMES)
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert rule["annotations"]["summary"].endswith(".")
    assert len(rule["annotations"]["description"]) > 60
    assert f'"{rule["alert"]}"' in json.dumps(yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text())).replace(
        '\\"', '"'
    )


@pytest.mark.parametrize(("title", "expression"), TARGETS)
def test_every_query_of_the_dashboard_names_metrics_that_exist(title: str, expression: str) -> None:
    named = metrics_in(expression)
    assert named and named <= set(NAMES), title


def test_every_metric_of_a_look_is_on_the_dashboard() -> None:
    shown = {name for _, expression in TARGETS for name in metrics_in(expression)}
    assert set(NAMES) - shown == {"kros_archive_readable", "kros_audio_seconds", "kros_moved_recordings_today"}


def test_the_dashboards_panels_have_queries_units_and_places_of_their_own() -> None:
    places: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        assert panel["targets"] and panel["description"] and panel["fieldConfig"]["defaults"]["unit"]
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & places and place["x"] + place["w"] <= 24, panel["title"]
        places |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_prometheus_asks_where_the_metrics_are_served() -> None:
    [scrape] = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["scrape_configs"]
    assert scrape["static_configs"] == [{"targets": [METRICS_ADDRESS.default]}]
