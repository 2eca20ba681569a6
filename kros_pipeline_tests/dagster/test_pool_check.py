"""`make check` compares Dagster's pool with the setting."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from kros_pipeline.__main__ import main
from kros_pipeline.assets import KROSAI_POOL
from kros_pipeline.pool_check import check_pool

CONFIG = (Path(__file__).parents[2] / "dagster.yaml").read_text()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "dagster.yaml").write_text(CONFIG)
    return tmp_path


def set_pool(home: Path, limit: int) -> None:
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.event_log_storage.set_concurrency_slots(KROSAI_POOL, limit)


def compare(home: Path, parallel_days: int) -> tuple[bool, str]:
    found = check_pool(home, parallel_days)
    assert found is not None
    return found


def test_without_an_instance_there_is_nothing_to_compare_and_nothing_is_written(tmp_path: Path) -> None:
    assert check_pool(tmp_path / "home", 3) is None
    assert not list(tmp_path.iterdir())


def test_the_default_limit_of_the_repositorys_configuration_is_the_settings_default(home: Path) -> None:
    passed, sentence = compare(home, 1)
    assert passed and sentence == "the pool `krosai` lets one step ask KrosAI at once, as KROS_PARALLEL_DAYS says."


@pytest.mark.parametrize(("limit", "parallel_days"), [(None, 2), (2, 1), (1, 2), (4, 3)])
def test_another_limit_than_the_setting_fails(home: Path, limit: int | None, parallel_days: int) -> None:
    if limit is not None:
        set_pool(home, limit)
    passed, sentence = compare(home, parallel_days)
    assert not passed
    assert f"has the limit {limit or 1}, and KROS_PARALLEL_DAYS is {parallel_days}" in sentence
    assert f"`dagster instance concurrency set krosai {parallel_days}`" in sentence


def test_a_pool_without_any_limit_fails(home: Path) -> None:
    (home / "dagster.yaml").write_text(CONFIG.replace("    default_limit: 1\n", ""))
    passed, sentence = compare(home, 1)
    assert not passed and "has no limit" in sentence


def test_too_few_runs_for_the_days_fail(home: Path) -> None:
    set_pool(home, 3)
    passed, sentence = compare(home, 3)
    assert not passed and "lets 3 runs work at once" in sentence and "max_concurrent_runs to 5" in sentence
    (home / "dagster.yaml").write_text(CONFIG.replace("max_concurrent_runs: 3", "max_concurrent_runs: 5"))
    assert compare(home, 3)[0]


def test_the_preflight_has_a_line_for_the_pool(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name, value in {"KROSAI_API_KEY": "", "DAGSTER_HOME": str(home), "KROS_PARALLEL_DAYS": "2"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    assert main(["check"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("FAILED  pool: the pool `krosai` has the limit 1, and KROS_PARALLEL_DAYS is 2")
