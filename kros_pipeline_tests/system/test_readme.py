"""The README says what is so: commands exist, tables and settings are the code's, files are there."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from kros_pipeline.core.flags import parse_rules
from kros_pipeline.core.rule import Rule
from kros_pipeline.core.schemas import TABLES
from kros_pipeline.core.settings import Setting
from kros_pipeline.steps.settings import SETTINGS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\bmake ([a-z][a-z0-9-]*)", README)) - {"are"}))
def test_every_make_target_that_is_named_exists(target: str) -> None:
    assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE)


def test_each_of_the_two_commands_has_a_block_of_its_own() -> None:
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    assert blocks[:2] == ["make demo\n", "make test\n"]


def test_the_table_of_settings_equals_the_declarations() -> None:
    rows = re.findall(r"^\| `(KROS\w+)` \| (.*) \| (.*) \|$", README, re.MULTILINE)
    assert rows == [(setting.name, default_in_markdown(setting), setting.help) for setting in SETTINGS]


def default_in_markdown(setting: Setting[Any]) -> str:
    if setting.default is not None:
        return f"`{setting.default}`"
    return "required" if setting.missing else setting.default_in_words


def test_the_table_of_tables_equals_the_schemas() -> None:
    section = README.split("| table |")[1].split("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(TABLES)


@pytest.mark.parametrize("link", re.findall(r"\]\((?!http)([^)]+)\)", README))
def test_every_file_that_is_linked_exists(link: str) -> None:
    assert (ROOT / link).is_file()


def test_the_readmes_job_and_module_are_the_definitions() -> None:
    from kros_pipeline.definitions import defs

    (module, job) = re.findall(r"-m (\S+) -j (\S+)", README)[0]
    assert module == "kros_pipeline.definitions"
    assert defs().resolve_job_def(job).name == job


def test_ci_runs_the_readmes_test_command() -> None:
    assert "make test" in (ROOT / ".ci/run").read_text()


def test_the_example_of_a_settings_file_names_only_settings() -> None:
    names = re.findall(r"^(?:# )?(KROS\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert set(names) <= {setting.name for setting in SETTINGS}
    assert names[:2] == [setting.name for setting in SETTINGS if setting.missing]


def test_the_example_of_rules_is_valid_as_it_is_and_with_every_comment_removed() -> None:
    text = (ROOT / "kros_pipeline/flag_rules.example.yaml").read_text()
    assert parse_rules(text, confidence_is_known=False).rules
    uncommented = re.sub(r"^  # ( *[-\w])", r"  \1", text, flags=re.MULTILINE)
    rules = parse_rules(uncommented, confidence_is_known=True).rules
    assert len(rules) == 10
    assert {key for rule in rules for key in rule.model_fields_set} == set(Rule.model_fields)  # each condition is shown


def test_the_location_has_one_name() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["dg"]["project"]
    run_context = yaml.safe_load((ROOT / "workspace.yaml").read_text())
    assert run_context["load_from"][0]["python_module"]["location_name"] == project["code_location_name"]


def test_the_lock_names_no_download_host_and_pins_every_package_by_hash() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock
    pins = re.findall(r"^[A-Za-z0-9_.\[\]-]+==\S+", lock, re.MULTILINE)
    assert len(pins) > 50
    for entry in re.split(r"\n(?=[A-Za-z0-9])", lock):
        assert "--hash=sha256:" in entry


def test_every_direct_dependency_has_its_reason_beside_it() -> None:
    lines = (ROOT / "pyproject.toml").read_text().split("dependencies = [\n")[1].split("\n]")[0].splitlines()
    assert all(re.search(r'^    ".+", +# \w', line) for line in lines), lines
