"""The runbook where the operator is: each asset, check, failure and notification names its section and shows it.

A deployment has no web page of ours. So the link is the place in the repository, and the section's text itself is in
the metadata, which Dagster's UI shows.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from .operations.runbook import find_section, read_page


def link_runbook(*names: str) -> str:
    """Return the place of the section about the first name that has one, as `docs/runbook.md#…`."""
    return find_section(*names).link


def with_runbook_link(description: str, name: str) -> str:
    """Return a description that ends with the place of the section about `name`."""
    return f"{description} Runbook: {link_runbook(name)}"


def runbook_metadata(*names: str) -> dict[str, Any]:
    """Return the section about the first name that has one: its place, and its text."""
    section = find_section(*names)
    return {"runbook": dg.MetadataValue.md(f"{section.text}\n\n{section.link}")}


def read_link(metadata: Mapping[str, Any] | None) -> str:
    """Return the place that the metadata of a failure name; without any, the page."""
    shown = (metadata or {}).get("runbook")
    return str(shown.value).rsplit("\n", 1)[-1] if shown is not None else link_runbook()


def page_metadata() -> dict[str, Any]:
    """Return the whole runbook, for the asset that an operator opens first."""
    return {"runbook, all of it": dg.MetadataValue.md(read_page())}


def failure_metadata(error: Exception) -> dict[str, Any]:
    """Return the section about an error's type, or about the nearest type that it is one of."""
    return runbook_metadata(*(kind.__name__ for kind in type(error).__mro__))
