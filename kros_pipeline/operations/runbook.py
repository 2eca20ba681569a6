"""The runbook's sections, by what each is about: an asset, a check, a failure, a job, a schedule or a sensor."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PAGE = "docs/runbook.md"
_FILE = Path(__file__).parents[1] / "runbook.md"  # a link to the page; an installed package has a copy of it
_NAME = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Section:
    """A section: where it is in the repository, and its text in Markdown."""

    link: str
    text: str


@cache
def read_sections() -> Mapping[str, Section]:
    """Read the sections, by each name that stands in backticks in a heading. Empty where the page is not installed."""
    if not _FILE.is_file():
        return {}
    sections: dict[str, Section] = {}
    heading, lines = "", list[str]()
    for line in [*_FILE.read_text("utf-8").splitlines(), "## "]:
        if not re.match(r"#{1,3} ", line):
            lines.append(line)
            continue
        for name in _NAME.findall(heading):
            sections[name] = Section(f"{PAGE}#{make_anchor(heading)}", _name_places("\n".join(lines).strip()))
        heading, lines = line.lstrip("# "), []
    return sections


def make_anchor(heading: str) -> str:
    """Return the anchor of a heading, as GitHub derives it."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def read_page() -> str:
    """Return the whole page; where it is not installed, where to find it."""
    return _name_places(_FILE.read_text("utf-8")) if _FILE.is_file() else f"See {PAGE}."


def _name_places(text: str) -> str:
    """Replace links within the page by their places: elsewhere, such a link leads nowhere."""
    return re.sub(r"\[([^]]+)\]\(#([^)]+)\)", rf"\1 ({PAGE}#\2)", text)


def find_section(*names: str) -> Section:
    """Return the section of the first name that has one; of none, the page itself."""
    sections = read_sections()
    return next((sections[name] for name in names if name in sections), Section(PAGE, f"See {PAGE}."))
