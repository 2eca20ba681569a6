"""Every recipe of the README and of the page of tables runs, over days of two schema versions and an empty day."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlglot

from kros_pipeline.core.schemas import ALL_TABLES
from kros_pipeline_tests.support.reader_archive import DAYS, FULL_DAY
from kros_pipeline_tests.support.recipes import ROOT, Recipe, find_recipes, run_python, run_sql

RECIPES = find_recipes()


def recipes_of(*engines: str) -> pytest.MarkDecorator:
    chosen = [recipe for recipe in RECIPES if recipe.engine in engines]
    return pytest.mark.parametrize("recipe", chosen, ids=[recipe.id for recipe in chosen])


def test_there_is_a_recipe_for_every_reader() -> None:
    code = "\n".join(recipe.code for recipe in RECIPES)
    for reader in ("kros_tables", "kros_questions", "pd.read_parquet", "polars", "duckdb", "pyspark", "-- Athena"):
        assert reader in code, reader


@recipes_of("python")
def test_a_recipe_in_python_runs(
    recipe: Recipe, reader_archive: Path, analysts_path: None, monkeypatch: pytest.MonkeyPatch, aws: object
) -> None:
    monkeypatch.chdir(ROOT)
    value = run_python(recipe, reader_archive)
    if value is not None and hasattr(value, "__len__"):
        assert len(value) > 0


@recipes_of("duckdb")
def test_a_recipe_in_sql_runs(recipe: Recipe, reader_archive: Path) -> None:
    assert run_sql(recipe, reader_archive)


@recipes_of("athena")
def test_a_recipe_for_athena_parses_and_names_tables_and_columns_that_exist(recipe: Recipe) -> None:
    [query] = sqlglot.parse(recipe.code, dialect="athena")
    assert query is not None
    [table] = [found.name for found in query.find_all(sqlglot.exp.Table)]
    columns = {found.name for found in query.find_all(sqlglot.exp.Column)}
    assert columns <= {*ALL_TABLES[table].column_names, "dt"}


def test_the_recipes_that_filter_by_a_day_find_its_turns(reader_archive: Path, analysts_path: None) -> None:
    import kros_tables
    import polars as pl

    [plain] = [recipe for recipe in RECIPES if "filters=" in recipe.code]
    rows = len(kros_tables.read_table(str(reader_archive), "utterances", FULL_DAY, FULL_DAY))
    names: dict[str, object] = {}
    exec(plain.code.replace("s3://BUCKET/PREFIX", str(reader_archive)), names)
    assert len(names["turns"]) == rows > 0  # type: ignore[arg-type]
    [in_polars] = [recipe for recipe in RECIPES if "polars" in recipe.code]
    by_speaker = run_python(in_polars, reader_archive)
    assert isinstance(by_speaker, pl.DataFrame)
    words = kros_tables.read_table(str(reader_archive), "utterances", FULL_DAY, FULL_DAY).word_count.sum()
    assert by_speaker["word_count"].sum() == words


def test_polars_reads_every_column_of_every_table_from_files_of_both_versions(
    reader_archive: Path, analysts_path: None
) -> None:
    import kros_tables
    import polars as pl

    for name in kros_tables.COLUMNS.keys() - {"call_events"}:
        rows = pl.scan_parquet(
            f"{reader_archive}/tables/{name}/dt=*/part-0.parquet",
            schema=pl.from_arrow(kros_tables.schema_of(name).empty_table()).schema,  # type: ignore[union-attr]
            hive_schema={"dt": pl.Date},
            missing_columns="insert",
        ).collect()
        assert rows.columns == [*ALL_TABLES[name].column_names, "dt"], name
        assert len(rows) == len(kros_tables.read_table(str(reader_archive), name)), name
        assert set(rows["dt"]) <= set(DAYS)
