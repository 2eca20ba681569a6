"""dagster.yaml is rendered from parts, and the number of runs follows from the days in parallel."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from kros_pipeline import __main__ as command_line
from kros_pipeline.core.settings import BadSettings
from kros_pipeline.operations.instance_config import render_instance_config

ROOT = Path(__file__).parents[2]
DAGSTER_YAML = (ROOT / "dagster.yaml").read_text()
PARTS = [
    ["dagster.yaml"],
    ["dagster.yaml", "deploy/production.yaml"],
    ["dagster.yaml", "deploy/production.yaml", "deploy/celery/run-launcher.yaml"],
    ["dagster.yaml", "deploy/production.yaml", "deploy/ecs/run-launcher.yaml"],
]


@pytest.mark.parametrize("parts", PARTS, ids=" ".join)
@pytest.mark.parametrize(("days", "runs", "granularity"), [(1, 3, "op"), (2, 4, "run"), (9, 11, "run")])
def test_two_runs_more_than_days_are_in_progress_at_once(
    parts: list[str], days: int, runs: int, granularity: str
) -> None:
    rendered = yaml.safe_load(render_instance_config({part: (ROOT / part).read_text() for part in parts}, days))
    assert rendered["concurrency"]["runs"]["max_concurrent_runs"] == runs
    assert rendered["concurrency"]["pools"]["granularity"] == granularity
    # Nothing of the first part is lost.
    assert rendered["run_retries"] == yaml.safe_load(DAGSTER_YAML)["run_retries"]
    assert rendered["run_monitoring"]["max_runtime_seconds"] == 21_600


def test_a_later_part_wins_and_mappings_are_merged_key_by_key() -> None:
    rendered = yaml.safe_load(
        render_instance_config({"a": "{x: {one: 1, two: [1, 2]}, y: 1}", "b": "{x: {two: [3]}, y: {z: 2}}"}, 1)
    )
    assert (rendered["x"], rendered["y"]) == ({"one": 1, "two": [3]}, {"z": 2})


def test_a_number_in_the_template_does_not_win_over_the_setting() -> None:
    part = "concurrency: {runs: {max_concurrent_runs: 99}, pools: {granularity: op}}"
    rendered = yaml.safe_load(render_instance_config({"a": part}, 3))
    assert rendered["concurrency"] == {"runs": {"max_concurrent_runs": 5}, "pools": {"granularity": "run"}}


def test_each_part_that_cannot_be_used_is_reported() -> None:
    with pytest.raises(BadSettings) as raised:
        render_instance_config({"a.yaml": "x: [", "b.yaml": "- 1", "c.yaml": "", "d.yaml": "x: 1"}, 1)
    assert [problem.split()[0] for problem in raised.value.problems] == ["a.yaml", "b.yaml", "c.yaml"]


def render(monkeypatch: pytest.MonkeyPatch, home: object, days: str, *parts: str) -> int:
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    monkeypatch.setenv("KROS_PARALLEL_DAYS", days)
    return command_line.main(["render", *parts])


def test_the_file_replaces_a_link_and_not_what_it_leads_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").symlink_to(tmp_path / "dagster.yaml")
    assert render(monkeypatch, home, "4", "dagster.yaml") == 0
    assert (tmp_path / "dagster.yaml").read_text() == "telemetry: {enabled: false}\n"
    assert yaml.safe_load((home / "dagster.yaml").read_text())["concurrency"]["runs"] == {"max_concurrent_runs": 6}
    assert [path.name for path in home.iterdir()] == ["dagster.yaml"]


@pytest.mark.parametrize(
    ("home", "days", "parts", "says"),
    [
        ("", "1", ["dagster.yaml"], "DAGSTER_HOME must be an absolute path"),
        ("home", "1", ["dagster.yaml"], "DAGSTER_HOME must be an absolute path"),
        ("/proc/no", "1", ["dagster.yaml"], "dagster.yaml cannot be rendered"),
        ("{tmp}", "1", ["missing.yaml"], "missing.yaml"),
        ("{tmp}", "0", ["dagster.yaml"], "KROS_PARALLEL_DAYS is"),
        ("{tmp}", "two", ["dagster.yaml"], "KROS_PARALLEL_DAYS is"),
    ],
)
def test_what_cannot_be_rendered_is_said_in_a_sentence(
    home: str,
    days: str,
    parts: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dagster.yaml").write_text(DAGSTER_YAML)
    assert render(monkeypatch, home.format(tmp=tmp_path), days, *parts) == 1
    assert says in capsys.readouterr().err


def test_make_up_prepares_the_instance_before_it_starts_dagster() -> None:
    makefile = (ROOT / "Makefile").read_text()
    recipe = makefile.split("\nup: ")[1].split("\n\n")[0]
    prepared, started = recipe.index("-m kros_pipeline prepare dagster.yaml"), recipe.index("dagster dev")
    assert prepared < started
