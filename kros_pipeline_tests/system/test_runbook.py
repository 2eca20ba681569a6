"""Every asset, check, job, sensor and failure has a section of the runbook, and names it; no link of it is dead."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

import kros_pipeline
from kros_pipeline.core.errors import ApiUnreachable, ExternalError, MissingTable
from kros_pipeline.core.settings import BadSettings
from kros_pipeline.definitions import defs
from kros_pipeline.failures import failure
from kros_pipeline.operations.runbook import PAGE, find_section, read_sections

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / PAGE).read_text("utf-8")
PARTS = ("Means", "Look", "Do", "Call")


@pytest.fixture(autouse=True)
def with_every_asset(monkeypatch: pytest.MonkeyPatch) -> None:
    """The definitions of an archive that has the events of calls, too."""
    monkeypatch.setenv("KROS_CALL_EVENTS", "on")


def failure_types() -> list[type[Exception]]:
    """Every error that can become the failure of a run: those of all modules, whoever adds them."""
    for module in pkgutil.walk_packages(kros_pipeline.__path__, "kros_pipeline."):
        if ".sandbox" not in module.name and "__main__" not in module.name:
            importlib.import_module(module.name)

    def below(kind: type[Exception]) -> Iterator[type[Exception]]:
        yield kind
        for child in kind.__subclasses__():
            yield from below(child)

    ours = [kind for kind in [*below(ExternalError), BadSettings] if kind.__module__.startswith("kros_pipeline.")]
    return [kind for kind in ours if not kind.__module__.startswith("kros_pipeline.browser.")]  # no run meets them


def checks() -> list[dg.AssetCheckKey]:
    return sorted(defs().resolve_asset_graph().asset_check_keys, key=lambda key: key.name)


def is_whole(name: str) -> bool:
    text = read_sections()[name].text
    return all(f"- **{part}:**" in text for part in PARTS)


def test_every_check_has_a_whole_section() -> None:
    missing = [key.name for key in checks() if key.name not in read_sections() or not is_whole(key.name)]
    assert not missing, f"no section, or one without {PARTS}: {missing}"


def test_every_failure_has_a_whole_section_of_its_own() -> None:
    names = [kind.__name__ for kind in failure_types()]
    assert len(names) > 25
    missing = [
        name for name in [*names, "incomplete", "Exception"] if name not in read_sections() or not is_whole(name)
    ]
    assert not missing, f"no section, or one without {PARTS}: {missing}"


def test_every_asset_job_and_sensor_has_a_section() -> None:
    repository = defs().get_repository_def()
    names = {key.to_user_string() for key in defs().resolve_asset_graph().get_all_asset_keys()}
    names |= {job.name for job in defs().resolve_all_job_defs() if not job.name.startswith("__")}
    names |= {sensor.name for sensor in repository.sensor_defs}
    assert not names - read_sections().keys()


def test_every_asset_and_every_check_names_its_section_in_description_and_metadata() -> None:
    graph = defs().resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        node, section = graph.get(key), find_section(key.to_user_string())
        assert section.link in (node.description or ""), key
        assert section.text in str(node.metadata["runbook"].value), key
    for check_key in checks():
        spec, section = graph.get_check_spec(check_key), find_section(check_key.name)
        assert section.link in (spec.description or ""), check_key
        assert section.text in str(spec.metadata["runbook"].value), check_key


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (ApiUnreachable("no answer"), "ApiUnreachable"),
        (MissingTable("no calls"), "MissingTable"),
        (BadSettings(["KROSAI_API_KEY is missing"]), "BadSettings"),
        (ZeroDivisionError(), "Exception"),
        # An error type that has no section yet has the one of what it is.
        (type("BrandNew", (MissingTable,), {})("no calls"), "MissingTable"),
    ],
)
def test_a_failure_shows_its_section(error: Exception, name: str) -> None:
    shown = failure(error).metadata["runbook"].value
    assert find_section(name).text in str(shown) and find_section(name).link in str(shown)


def test_every_failure_that_is_made_by_hand_has_metadata() -> None:
    for path in (ROOT / "kros_pipeline").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "dg.Failure":
                given = [ast.unparse(keyword.value) for keyword in node.keywords if keyword.arg == "metadata"]
                assert given and ("runbook_metadata" in given[0] or "failure_metadata" in given[0]), (
                    f"{path.name}, line {node.lineno}: a failure without its section"
                )


def test_every_name_of_a_section_is_something_that_exists() -> None:
    """A section of what is gone is a dead end."""
    repository = defs().get_repository_def()
    known = {key.name for key in checks()} | {kind.__name__ for kind in failure_types()} | {"incomplete", "Exception"}
    known |= {key.to_user_string() for key in defs().resolve_asset_graph().get_all_asset_keys()}
    known |= {job.name for job in defs().resolve_all_job_defs()} | {one.name for one in repository.sensor_defs}
    assert not read_sections().keys() - known


def test_no_anchor_is_dead_and_every_setting_and_command_exists() -> None:
    anchors = {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", TEXT, re.M)
    }
    links = set(re.findall(r"\]\(#([^)]+)\)", TEXT)) | {one.link.split("#")[1] for one in read_sections().values()}
    assert links <= anchors
    assert not re.findall(r"\]\((?!#)", TEXT), "the page is read in Dagster's UI, too: name files, do not link them"


def test_an_installed_package_has_the_page() -> None:
    packaged = ROOT / "kros_pipeline" / "runbook.md"
    assert packaged.is_symlink() and packaged.resolve() == ROOT / PAGE
    assert '"*.md"' in (ROOT / "pyproject.toml").read_text("utf-8")
