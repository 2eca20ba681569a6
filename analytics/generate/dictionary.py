"""The dictionary of columns: what the schemas say of each, and what `dictionary.yaml` adds."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from kros_pipeline.core.schemas import Column, Table


@dataclass(frozen=True)
class Notes:
    """What is to be known of a column besides its description. `null` is empty for one that is never null."""

    unit: str
    source: str
    null: str
    trap: str


@cache
def _read_dictionary() -> dict[str, dict[str, dict[str, str]]]:
    path = Path(__file__).with_name("dictionary.yaml")
    return {table: dict(columns) for table, columns in yaml.safe_load(path.read_text("utf-8")).items()}


def notes_of(table: Table, column: Column) -> Notes:
    """Return the notes of a column. Raises `KeyError` where there are none."""
    found = _read_dictionary()[table.name][column.name]
    return Notes(str(found.get("unit", "")), found["source"], found.get("null", ""), found.get("trap", ""))


def described_columns() -> dict[str, list[str]]:
    """Return the columns that the dictionary has, by table."""
    return {table: list(columns) for table, columns in _read_dictionary().items()}


def make_dictionary(tables: Iterable[Table]) -> str:
    """Return the dictionary as Markdown: a section for each table."""
    return "\n\n".join(_make_section(table) for table in tables)


def _make_section(table: Table) -> str:
    lines = [
        f"### `{table.name}`",
        "",
        f"{table.description} A row is unique by {', '.join(f'`{name}`' for name in table.sorted_by)} in its day.",
        "",
        "| column | type, unit | meaning | from | null | trap |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for column in table.columns:
        notes = notes_of(table, column)
        unit = f", {notes.unit}" if notes.unit else ""
        null = notes.null if column.nullable else "never"
        cells = (f"{_short_type(column)}{unit}", column.description, notes.source, null, notes.trap or "–")
        lines.append(f"| `{column.name}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def _short_type(column: Column) -> str:
    """Return the type without what the unit says."""
    names = {"date32[day]": "date", "timestamp[us, tz=UTC]": "timestamp", "list<item: string>": "list of string"}
    return names.get(column.type, column.type)
