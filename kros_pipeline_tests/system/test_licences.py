"""The page of licences is what the installed packages say of themselves."""

import re
import tomllib
from email.message import Message
from importlib.metadata import files, metadata
from pathlib import Path
from typing import cast

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PAGE = (ROOT / "docs/licences.md").read_text()
# How packages name their licence that do not use SPDX. Which BSD is meant, some do not say.
SPDX = {
    "MIT License": "MIT",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "BSD 3-Clause License": "BSD-3-Clause",
}
SPDX |= {"Apache License, Version 2.0, January 2004": "Apache-2.0", "Apache-2": "Apache-2.0"}
GROUPS = {"runs": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}
OTHER_SUITES = {"readers"}  # `make test-readers` installs these packages, and compares them


def names(requirements: list[str]) -> list[str]:
    found = [re.match(r"[\w.-]+", requirement)[0] for requirement in requirements]  # type: ignore[index]
    return [name for name in found if name != PROJECT["name"]]


def licence(name: str) -> str:
    """From the package's metadata, in the order in which the standards came; else the title of its licence file."""
    said = cast(Message, metadata(name))
    classifiers = [text.split(" :: ")[-1] for text in said.get_all("Classifier", []) if text.startswith("License ::")]
    fields = [text for field in ("License-Expression", "License") if (text := said.get(field)) and "\n" not in text]
    declared = [*fields, *(text for text in reversed(classifiers) if text != "OSI Approved")]
    reported = declared[0] if declared else title_of_licence_file(name)
    return SPDX.get(str(reported), str(reported))


def title_of_licence_file(name: str) -> str:
    [file] = [path for path in files(name) or [] if path.name == "LICENSE" and ".dist-info" in str(path)]
    lines = [line.strip() for line in file.read_text().splitlines() if line.strip()]
    return ", ".join(lines[:2]) if lines[0] == "Apache License" else lines[0]


def rows() -> list[tuple[str, ...]]:
    return re.findall(r"^\| (\S+) \| (\S+) \| (.+) \|$", PAGE, re.MULTILINE)


def test_every_direct_dependency_is_on_the_page_and_no_other() -> None:
    listed = [(name, group) for group, requirements in GROUPS.items() for name in names(requirements)]
    assert [(name, group) for name, group, _ in rows() if name not in ("package", "---")] == listed


@pytest.mark.parametrize(
    "name",
    [name for group, requirements in GROUPS.items() if group not in OTHER_SUITES for name in names(requirements)],
)
def test_the_licence_is_the_one_that_the_package_declares(name: str) -> None:
    assert {reported for package, _, reported in rows() if package == name} == {licence(name)}
