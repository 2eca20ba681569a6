"""What is shipped for analysts is what the schemas say: generated files are fresh, and their columns the tables'."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import duckdb
import pytest
import sqlglot
import yaml
from sqlglot import exp

from analytics.generate.__main__ import generate
from analytics.generate.blocks import replace_block
from analytics.generate.dictionary import described_columns, notes_of
from kros_pipeline.core.schemas import ALL_TABLES, OPTIONAL_TABLES, Table
from kros_pipeline.core.statuses import RecordingStatus
from kros_pipeline_tests.support.recipes import ROOT, connect

every_table = pytest.mark.parametrize("table", ALL_TABLES.values(), ids=list(ALL_TABLES))
ATHENA = (ROOT / "analytics/athena.sql").read_text("utf-8")
SOURCES = yaml.safe_load((ROOT / "analytics/dbt/models/sources.yml").read_text("utf-8"))["sources"][0]
ATHENA_TYPES = {"string": "TEXT", "int64": "BIGINT", "double": "DOUBLE", "bool": "BOOLEAN", "date32[day]": "DATE"}
ATHENA_TYPES |= {"timestamp[us, tz=UTC]": "TIMESTAMP", "list<item: string>": "ARRAY<TEXT>"}
DUCKDB_TYPES = {"string": "VARCHAR", "int64": "BIGINT", "double": "DOUBLE", "bool": "BOOLEAN", "date32[day]": "DATE"}
DUCKDB_TYPES |= {"timestamp[us, tz=UTC]": "TIMESTAMP WITH TIME ZONE", "list<item: string>": "VARCHAR[]"}


@pytest.mark.parametrize("path", generate())
def test_a_generated_file_is_fresh(path: str) -> None:
    assert (ROOT / path).read_text("utf-8") == generate()[path], "run `make tables`"


def test_a_block_is_replaced_between_its_marks_and_nowhere_else() -> None:
    text = "before\n-- >>> generated\nold\n-- <<< generated\nafter\n"
    assert replace_block(text, "new\nlines\n") == "before\n-- >>> generated\nnew\nlines\n-- <<< generated\nafter\n"
    with pytest.raises(ValueError, match="0 lines have the mark"):
        replace_block("no marks", "new")


def test_the_dictionary_has_every_column_and_no_other() -> None:
    assert described_columns() == {table.name: list(table.column_names) for table in ALL_TABLES.values()}


@every_table
def test_the_dictionary_says_what_null_means_where_and_only_where_a_column_may_be_null(table: Table) -> None:
    for column in table.columns:
        notes = notes_of(table, column)
        assert bool(notes.null) == column.nullable, column.name
        assert notes.source
        assert "|" not in f"{notes}{column.description}", column.name  # it would end the cell


@every_table
def test_every_column_is_on_the_page_of_tables(table: Table) -> None:
    section = (ROOT / "docs/tables.md").read_text("utf-8").split(f"\n### `{table.name}`\n")[1].split("\n###")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", section, re.MULTILINE)
    assert [name for name, _ in rows] == list(table.column_names)
    assert all(len(cells.split(" | ")) == 5 for _, cells in rows)


@every_table
def test_athenas_table_has_the_columns_with_glues_types_and_projects_its_partitions(table: Table) -> None:
    [statement] = [
        parsed
        for parsed in sqlglot.parse(ATHENA, dialect="athena")
        if isinstance(parsed, exp.Create) and parsed.this.this.name == table.name
    ]
    columns = [found for found in statement.this.expressions if isinstance(found, exp.ColumnDef)]
    assert [(found.name, found.args["kind"].sql()) for found in columns] == [
        (column.name, ATHENA_TYPES[column.type]) for column in table.columns
    ]
    comments = [found.find(exp.CommentColumnConstraint) for found in columns]
    assert all(comment is not None and 5 < len(comment.this.name) <= 255 for comment in comments)  # Glue's limit
    properties = {
        found.this.name: found.args["value"].name for found in statement.find_all(exp.Property) if "value" in found.args
    }
    location = f"s3://BUCKET/PREFIX/tables/{table.name}/"
    assert properties["storage.location.template"] == f"{location}dt=${{dt}}/"
    assert properties["projection.enabled"] == "true"
    assert (properties["projection.dt.type"], properties["projection.dt.format"]) == ("date", "yyyy-MM-dd")
    assert properties["projection.dt.range"].endswith(",NOW")
    assert f"LOCATION '{location}'" in statement.sql(dialect="athena")
    [partition] = statement.find_all(exp.PartitionedByProperty)
    assert [found.name for found in partition.find_all(exp.ColumnDef)] == ["dt"]
    assert "'" not in re.sub(r"'[^'\n]*'", "", statement_text(table.name))  # apostrophes are escaped in many ways


def statement_text(name: str) -> str:
    return ATHENA.split(f"CREATE EXTERNAL TABLE IF NOT EXISTS `{name}`")[1].split(";\n")[0]


@every_table
def test_duckdbs_view_has_every_column_with_its_type_and_also_one_that_no_file_has(
    table: Table, reader_archive: Path
) -> None:
    described = connect(reader_archive).execute(f"DESCRIBE {table.name}").fetchall()
    assert [row[:2] for row in described] == [
        *((column.name, DUCKDB_TYPES[column.type]) for column in table.columns),
        ("dt", "DATE"),
    ]


@pytest.mark.parametrize("name", ["calls", "utterances", "call_facts"])
def test_a_filter_by_call_date_reads_the_rows_of_that_day_only(name: str, reader_archive: Path) -> None:
    query = f"EXPLAIN ANALYZE SELECT count(*) FROM {name} WHERE call_date = '2025-01-10'"
    [(_, plan)] = connect(reader_archive).execute(query).fetchall()
    assert "Scanning Files: 1/4" in plan and "Scanning Files: 4/4" not in plan


def test_a_view_in_another_time_zone_shows_the_days_of_utc(reader_archive: Path) -> None:
    query = "SELECT count(*) FROM calls WHERE created_at::DATE <> call_date"
    connection = connect(reader_archive)
    assert connection.execute(query).fetchall() == [(0,)]
    connection.execute("SET TimeZone = 'Pacific/Auckland'")
    [(moved,)] = connection.execute(query).fetchall()
    assert moved > 0  # what the page warns of


def test_a_later_session_over_a_database_file_needs_the_variable_only(reader_archive: Path, tmp_path: Path) -> None:
    with duckdb.connect(tmp_path / "views.duckdb") as connection:
        connection.execute(f"SET VARIABLE archive = '{reader_archive}'")
        connection.execute((ROOT / "analytics/duckdb.sql").read_text("utf-8"))
        [expected] = connection.execute("SELECT count(*), count(hangup_cause) FROM call_facts").fetchall()
    with duckdb.connect(tmp_path / "views.duckdb") as connection:
        connection.execute(f"SET VARIABLE archive = '{reader_archive}'")
        assert connection.execute("SELECT count(*), count(hangup_cause) FROM call_facts").fetchall() == [expected]
        assert expected[1] > 0


def test_a_slash_at_the_end_of_the_archives_url_does_not_matter(reader_archive: Path) -> None:
    connection = duckdb.connect()
    connection.execute(f"SET VARIABLE archive = '{reader_archive}/'")
    connection.execute((ROOT / "analytics/duckdb.sql").read_text("utf-8"))
    assert connection.execute("SELECT getvariable('archive')").fetchall() == [
        (f"{reader_archive}",)
    ]  # S3 reads no `//`


def test_without_an_archive_the_views_say_what_to_set() -> None:
    with pytest.raises(duckdb.Error, match="First: SET VARIABLE archive = 's3://BUCKET/PREFIX'"):
        duckdb.connect().execute((ROOT / "analytics/duckdb.sql").read_text("utf-8"))


@every_table
def test_dbt_knows_every_column_and_tests_what_is_never_null(table: Table) -> None:
    [source] = [found for found in SOURCES["tables"] if found["name"] == table.name]
    columns = {column["name"]: column for column in source["columns"]}
    assert list(columns) == [*table.column_names, "dt"]
    for column in table.columns:
        assert column.description in columns[column.name]["description"]
        assert ("not_null" in columns[column.name].get("data_tests", [])) == (not column.nullable), column.name
    assert source["data_tests"] == [{"unique_rows": {"arguments": {"columns": [*table.sorted_by, "dt"]}}}]
    assert ("enabled" in source["config"]) == (table.name in OPTIONAL_TABLES)


def test_dbt_accepts_the_statuses_that_there_are() -> None:
    [recordings] = [found for found in SOURCES["tables"] if found["name"] == "recordings"]
    [status] = [found for found in recordings["columns"] if found["name"] == "status"]
    assert {"accepted_values": {"arguments": {"values": list(RecordingStatus)}}} in status["data_tests"]


def test_dbts_sources_and_its_own_test_run_in_duckdb(reader_archive: Path) -> None:
    generic = (ROOT / "analytics/dbt/tests/generic/unique_rows.sql").read_text("utf-8")
    assert "test unique_rows(model, columns)" in generic
    for source in SOURCES["tables"]:
        if source["name"] in OPTIONAL_TABLES:
            continue
        location = source["config"]["meta"]["external_location"].replace("{{ var('archive') }}", str(reader_archive))
        unique: Any = source["data_tests"][0]["unique_rows"]["arguments"]["columns"]
        names = ", ".join(column["name"] for column in source["columns"] if column["name"] != "dt")
        query = f"SELECT {', '.join(unique)} FROM {location} GROUP BY ALL HAVING count(*) > 1"
        assert duckdb.execute(query).fetchall() == []
        if source["name"] != "reconciliation":  # the waiting day has every column
            assert duckdb.execute(f"SELECT {names} FROM {location}").description is not None
