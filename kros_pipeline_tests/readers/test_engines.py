"""The big engines read the archive as the small ones do: every row, every column, and the right days."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kros_pipeline.core.schemas import ALL_TABLES, TABLES
from kros_pipeline_tests.support.reader_archive import FULL_DAY, NEWER_COLUMNS, OLD_DAY
from kros_pipeline_tests.support.recipes import ROOT, connect, find_recipes, run_python

pytestmark = pytest.mark.timeout(600)  # Spark's catalog takes a minute to start on a busy machine
ATHENA = (ROOT / "analytics/athena.sql").read_text("utf-8")
FILTERS = ["call_date = '2025-01-10'", "call_date IN ('2025-01-10')", "call_date = DATE '2025-01-10'"]
FILTERS += ["call_date BETWEEN '2025-01-10' AND '2025-01-11'", "call_date = TIMESTAMP '2025-01-10 00:00:00'"]


def count_turns(archive: Path) -> int:
    return count(archive, f"SELECT count(*) FROM utterances WHERE call_date = '{FULL_DAY}'")


def count(archive: Path, query: str) -> int:
    [(number,)] = connect(archive).execute(query).fetchall()
    assert number > 0
    return int(number)


# Spark.


@pytest.mark.parametrize("recipe", [found for found in find_recipes() if found.engine == "pyspark"], ids=lambda r: r.id)
def test_the_recipe_for_spark_runs(recipe: Any, spark: Any, reader_archive: Path) -> None:
    run_python(recipe, reader_archive)


@pytest.mark.parametrize("table", TABLES.values(), ids=list(TABLES))
def test_spark_reads_every_row_and_column_with_merged_schemas(table: Any, spark: Any, reader_archive: Path) -> None:
    rows = spark.read.option("mergeSchema", "true").parquet(f"{reader_archive}/tables/{table.name}/")
    assert set(rows.columns) == {*table.column_names, "dt"}
    found = connect(reader_archive).execute(f"SELECT count(*) FROM {table.name}").fetchall()
    assert [(rows.count(),)] == found
    for name in NEWER_COLUMNS.get(table.name, ()):
        assert rows.where(f"dt = '{OLD_DAY}' AND {name} IS NOT NULL").count() == 0


@pytest.mark.parametrize("condition", FILTERS)
def test_spark_finds_the_rows_of_a_day(condition: str, spark: Any, reader_archive: Path) -> None:
    turns = spark.read.option("mergeSchema", "true").parquet(f"{reader_archive}/tables/utterances/")
    assert turns.where(condition).count() == count_turns(reader_archive)


def test_athenas_statements_are_hives_and_their_types_read_the_files(spark: Any, reader_archive: Path) -> None:
    """Spark's Hive grammar is that of Athena's DDL. It knows no projection: so the partitions are registered here."""
    views = connect(reader_archive)
    for statement in re.sub(r"^--.*$", "", ATHENA, flags=re.MULTILINE).split(";\n"):
        if statement.strip():
            spark.sql(statement.replace("s3://BUCKET/PREFIX", f"file:{reader_archive}"))
    for name, table in ALL_TABLES.items():
        spark.sql(f"MSCK REPAIR TABLE {name}")
        rows = spark.table(name)
        assert rows.columns == [*table.column_names, "dt"]
        columns = ", ".join(f"count({column})" for column in table.column_names)
        assert [tuple(row) for row in spark.sql(f"SELECT count(*), {columns} FROM {name}").collect()] == views.execute(
            f"SELECT count(*), {columns} FROM {name}"
        ).fetchall()
    [query] = [recipe.code for recipe in find_recipes() if recipe.engine == "athena"]
    words = {row["speaker"]: row["words"] for row in spark.sql(query).collect()}
    expected = "SELECT speaker, sum(word_count)::BIGINT FROM utterances WHERE dt >= '2025-01-09' GROUP BY 1"
    assert words == dict(views.execute(expected).fetchall())


# ClickHouse and DataFusion.


@pytest.mark.parametrize("condition", FILTERS[:4])
def test_chdb_finds_the_rows_of_a_day_and_every_column(condition: str, reader_archive: Path) -> None:
    import chdb

    files = f"file('{reader_archive}/tables/utterances/dt=*/part-0.parquet', Parquet)"
    settings = "SETTINGS schema_inference_mode = 'union'"
    said = chdb.query(f"SELECT count() FROM {files} WHERE {condition} {settings}", "CSV").data()
    assert int(said) == count_turns(reader_archive)
    described = chdb.query(f"DESCRIBE {files} {settings}", "TSV").data().splitlines()
    assert {line.split("\t")[0] for line in described} == {*TABLES["utterances"].column_names, "dt"}


@pytest.mark.parametrize("condition", FILTERS)
def test_datafusion_finds_the_rows_of_a_day_and_every_column(condition: str, reader_archive: Path) -> None:
    import datafusion
    import kros_tables

    context = datafusion.SessionContext()
    context.register_dataset("utterances", kros_tables.open_table(str(reader_archive), "utterances"))
    [found] = context.sql(f"SELECT count(*) AS turns FROM utterances WHERE {condition}").to_pylist()
    assert found["turns"] == count_turns(reader_archive)
    assert context.table("utterances").schema().names == [*TABLES["utterances"].column_names, "dt"]


# dbt.


def test_dbts_tests_pass_over_the_archive_and_fail_over_a_broken_one(reader_archive: Path, tmp_path: Path) -> None:
    assert dbt(reader_archive, tmp_path / "good") == (0, 0)
    broken = tmp_path / "broken"
    for file in reader_archive.rglob("*.parquet"):
        copy = broken / file.relative_to(reader_archive)
        copy.parent.mkdir(parents=True)
        copy.write_bytes(file.read_bytes())
    repeated = broken / f"tables/calls/dt={FULL_DAY}"
    (repeated / "part-0.parquet").unlink()
    views = connect(reader_archive)
    rows = f"read_parquet('{reader_archive}/tables/calls/dt={FULL_DAY}/part-0.parquet')"
    views.execute(f"COPY (FROM {rows} UNION ALL FROM {rows}) TO '{repeated}/part-0.parquet' (FORMAT parquet)")
    code, failures = dbt(broken, tmp_path / "bad")
    assert code == 1 and failures == 1


def dbt(archive: Path, target: Path) -> tuple[int, int]:
    """Run the project's tests; return the exit code and how many failed."""
    ran = subprocess.run(
        [
            str(Path(sys.executable).with_name("dbt")),
            "test",
            "--vars",
            f"{{archive: '{archive}', call_events: true}}",
            "--target-path",
            str(target),
            "--log-path",
            str(target),
        ],
        cwd=ROOT / "analytics/dbt",
        env={**os.environ, "DBT_SEND_ANONYMOUS_USAGE_STATS": "false", "AWS_EC2_METADATA_DISABLED": "true"},
        capture_output=True,
        text=True,
    )
    summary = re.search(r"PASS=(\d+) WARN=0 ERROR=(\d+)", ran.stdout)
    assert summary is not None and int(summary[1]) >= 80, ran.stdout[-3000:]
    return ran.returncode, int(summary[2])
