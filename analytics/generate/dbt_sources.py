"""The tables as dbt sources, with descriptions and tests."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

import yaml

from kros_pipeline.core.schemas import OPTIONAL_TABLES, Column, Table
from kros_pipeline.core.statuses import (
    DayVerdict,
    ExtensionStatus,
    RecordingStatus,
    Speaker,
    TextSource,
    TranscriptStatus,
)

from .dictionary import notes_of

SOURCE = "kros"
HEADER = """\
# The tables of a kros_pipeline archive as dbt sources. `make tables` writes this file.
#
# With dbt-duckdb the sources are the archive's files: dbt test --vars '{archive: "s3://BUCKET/PREFIX"}'
# With dbt-athena they are the tables of analytics/athena.sql: set `schema` to their database, and drop
# `external_location`.
# To have the table call_events tested, too: --vars '{archive: "…", call_events: true}'
"""
_VALUES: dict[tuple[str, str], type[StrEnum]] = {
    ("recordings", "status"): RecordingStatus,
    ("transcripts", "status"): TranscriptStatus,
    ("transcripts", "source"): TextSource,
    ("utterances", "speaker"): Speaker,
    ("retention_extensions", "status"): ExtensionStatus,
    ("reconciliation", "verdict"): DayVerdict,
}


def make_sources(tables: Iterable[Table]) -> str:
    """Return the YAML file of the sources."""
    document = {
        "version": 2,
        "sources": [
            {
                "name": SOURCE,
                "description": "Phone calls that kros_pipeline archives: one Parquet file a table and day.",
                "schema": "main",
                "tables": [_make_table(table) for table in tables],
            }
        ],
    }
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=118)
    return f"{HEADER}\n{text}"


def _make_table(table: Table) -> dict[str, Any]:
    folder = "{{ var('archive') }}/tables/" + table.name
    options = "hive_partitioning = true, union_by_name = true"
    config: dict[str, Any] = {
        "meta": {"external_location": f"read_parquet('{folder}/dt=*/part-0.parquet', {options})"},
    }
    if table.name in OPTIONAL_TABLES:
        config["enabled"] = "{{ var('" + table.name + "', false) }}"
    return {
        "name": table.name,
        "description": table.description,
        "config": config,
        "data_tests": [{"unique_rows": {"arguments": {"columns": [*table.sorted_by, "dt"]}}}],
        "columns": [
            *(_make_column(table, column) for column in table.columns),
            {"name": "dt", "description": "the partition: the same day as `call_date`", "data_tests": ["not_null"]},
        ],
    }


def _make_column(table: Table, column: Column) -> dict[str, Any]:
    notes = notes_of(table, column)
    more = [notes.unit and f"Unit: {notes.unit}.", f"From: {notes.source}.", notes.null and f"Null: {notes.null}."]
    sentences = [f"{column.description}.", *filter(None, more), notes.trap and f"Note: {notes.trap}."]
    tests: list[Any] = [] if column.nullable else ["not_null"]
    if values := _VALUES.get((table.name, column.name)):
        tests.append({"accepted_values": {"arguments": {"values": [str(value) for value in values]}}})
    if column.name == "call_id" and table.name != "calls":
        calls = {"to": f"source('{SOURCE}', 'calls')", "field": "call_id"}
        tests.append({"relationships": {"arguments": calls}})
    described = {"name": column.name, "description": " ".join(filter(None, sentences))}
    return described | ({"data_tests": tests} if tests else {})
