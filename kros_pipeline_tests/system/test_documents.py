"""The documents say what is so: links, paths, commands, keys and columns that they name exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from kros_pipeline.archive.audit_log import AuditEvent
from kros_pipeline.core import object_keys, seal_keys
from kros_pipeline.core.schemas import ALL_TABLES, Table
from kros_pipeline.core.statuses import (
    DayVerdict,
    ExtensionStatus,
    RecordingStatus,
    Speaker,
    TranscriptStatus,
)

ROOT = Path(__file__).parents[2]
NOT_OURS = {".git", ".dagster", "build", "dist", "node_modules"}
PAGES = sorted(
    page.relative_to(ROOT).as_posix()
    for page in ROOT.rglob("*.md")
    if not page.is_symlink()  # the package's own copy of a page
    and not any(part in NOT_OURS or part.startswith((".venv", ".pytest")) for part in page.relative_to(ROOT).parts)
)
FORMAT = (ROOT / "docs/archive-format.md").read_text("utf-8")
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
# Where a path in backticks begins that is meant as one of this repository's.
OUR_ROOTS = ("kros_pipeline/", "kros_pipeline_tests/", "benchmarks/", "deploy/", "docs/", ".ci/")
# A shorter path is below the package: the architecture page leaves `kros_pipeline/` out.
PACKAGE_ROOTS = ("core/", "source/", "archive/", "steps/", "operations/", "browser/", "sandbox/")
TYPE_NAMES = {
    "string": "string",
    "int64": "int64",
    "double": "double",
    "bool": "bool",
    "date32[day]": "date",
    "timestamp[us, tz=UTC]": "timestamp",
    "list<item: string>": "list of string",
}

every_page = pytest.mark.parametrize("page", PAGES)


def text_of(page: str) -> str:
    return (ROOT / page).read_text("utf-8")


def prose_of(page: str) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", text_of(page), flags=re.DOTALL | re.MULTILINE)


def anchors_of(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub derives them."""
    headings = re.findall(r"^#+ (.+)$", prose_of(page.relative_to(ROOT).as_posix()), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def section_of(heading: str) -> str:
    """A section of the archive's format, up to the next heading of any level."""
    return FORMAT.split(f"\n{heading}\n", 1)[1].split("\n#", 1)[0]


def test_the_documents_are_there() -> None:
    assert {"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/architecture.md", "docs/archive-format.md"} <= set(
        PAGES
    )


@every_page
def test_every_relative_link_leads_to_a_file_and_a_heading(page: str) -> None:
    for link in re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)\)", prose_of(page)):
        path, _, anchor = link.partition("#")
        target = ((ROOT / page).parent / path).resolve() if path else ROOT / page
        assert target.exists(), link
        assert not anchor or anchor in anchors_of(target), link


@every_page
def test_every_path_of_the_repository_that_is_named_exists(page: str) -> None:
    for named in re.findall(r"`([\w./-]+)`", prose_of(page)):
        if named.startswith(OUR_ROOTS):
            assert (ROOT / named).exists(), named
        elif named.startswith(PACKAGE_ROOTS):
            assert (ROOT / "kros_pipeline" / named).exists(), named
        elif re.fullmatch(r"\w+\.py", named):
            folders = (ROOT / "kros_pipeline", ROOT / "analytics")
            assert (ROOT / named).exists() or any(list(folder.rglob(named)) for folder in folders), named


@every_page
def test_every_make_target_that_is_named_exists(page: str) -> None:
    commands = re.findall(r"`make ([a-z][a-z0-9-]*)", text_of(page)) + re.findall(
        r"^make ([a-z][a-z0-9-]*)", text_of(page), re.MULTILINE
    )
    for target in commands:
        assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), target


def test_the_licence_is_the_one_that_the_project_claims() -> None:
    text = (ROOT / "LICENSE").read_text("utf-8")
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert 'license = "Apache-2.0"' in (ROOT / "pyproject.toml").read_text("utf-8")


def key_families() -> set[str]:
    """Where keys begin in `object_keys` and `seal_keys`, up to the folder that all objects of a kind have in common."""
    texts = [
        node.value
        for module in (object_keys, seal_keys)
        for node in ast.walk(ast.parse(Path(module.__file__ or "").read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    found = {
        re.match(r"(?:audio|tables|quarantine|audit|reviews|state|seals)/(?:[a-z_]+(?:/|\.json))?", text)
        for text in texts
    }
    return {match[0] for match in found if match}


def test_the_format_has_every_family_of_keys_and_no_other() -> None:
    layout = section_of("## Layout")
    keys = re.findall(r"^\| `([^`]+)` \|", layout, re.MULTILINE)
    families = key_families()
    assert len(families) > 10
    for family in families:
        assert any(key.startswith(family) for key in keys), family
    for key in keys:
        matched = re.match(r"state/[a-z_]+(?:/|\.json)|[a-z]+/", key)
        assert matched is not None
        assert matched[0] in families, key


@pytest.mark.parametrize("table", ALL_TABLES.values(), ids=list(ALL_TABLES))
def test_the_format_has_every_column_of_a_table_with_its_type(table: Table) -> None:
    section = section_of(f"### Table `{table.name}`")
    rows = re.findall(r"^\| `(\w+)` \| ([\w ]+) \| (yes|no) \|", section, re.MULTILINE)
    assert rows == [
        (column.name, TYPE_NAMES[column.type], "yes" if column.nullable else "no") for column in table.columns
    ]
    sorted_by = re.search(r"Sorted\s+by\s+([^.]+)\.$", section, re.MULTILINE)
    assert sorted_by is not None
    assert tuple(re.findall(r"`(\w+)`", sorted_by[1])) == table.sorted_by


def test_the_format_explains_every_status_and_every_event() -> None:
    statuses = section_of("### Statuses")
    for status in (*RecordingStatus, *TranscriptStatus, *ExtensionStatus, *DayVerdict, *Speaker):
        assert f"`{status}`" in statuses, status
    events = section_of("## Audit lines")
    custody = (ROOT / "docs/custody.md").read_text("utf-8").split("**Who did what, when**")[1].split("**")[0]
    for event in (*AuditEvent, *ExtensionStatus):
        assert f"`{event}`" in events and f"`{event}`" in custody, event
