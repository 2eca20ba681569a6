"""The DuckDB views of the tables: every column is there, whatever versions wrote the days' files."""

from collections.abc import Iterable

from kros_pipeline.core.schemas import (
    BOOL,
    DATE,
    FLOAT64,
    INT64,
    OPTIONAL_TABLES,
    STRING,
    STRING_LIST,
    TIMESTAMP,
    Table,
)

TYPES = {
    STRING: "VARCHAR",
    INT64: "BIGINT",
    FLOAT64: "DOUBLE",
    BOOL: "BOOLEAN",
    DATE: "DATE",
    TIMESTAMP: "TIMESTAMPTZ",
    STRING_LIST: "VARCHAR[]",
}
_OPTIONS = "hive_partitioning = true, hive_types = {'dt': DATE}, union_by_name = true"


def make_views(tables: Iterable[Table]) -> str:
    """Return a view for each table.

    The select without rows gives each column its type also where no file has it yet. `call_date` is taken from the
    partition, so that a filter by it opens the files of those days only.
    """
    return "\n\n".join(_make_view(table) for table in tables)


def _make_view(table: Table) -> str:
    nulls = ",\n".join(f"    NULL::{TYPES[column.type]} AS {column.name}" for column in table.columns)
    head = f"CREATE OR REPLACE VIEW {table.name} AS\nSELECT\n{nulls},\n    NULL::DATE AS dt\nWHERE false\n"
    if table.name in OPTIONAL_TABLES:
        rows = _select_optional(table)
    else:
        files = f"getvariable('archive') || '/tables/{table.name}/dt=*/part-0.parquet'"
        rows = f"SELECT * REPLACE (dt AS call_date)\nFROM read_parquet({files},\n    {_OPTIONS});"
    return f"-- {table.description}\n{head}UNION ALL BY NAME\n{rows}"


def _select_optional(table: Table) -> str:
    """Return the select of a table that an archive may lack: DuckDB reads no empty list of files.

    So the files of `calls` are listed with it, and no row of them is taken.
    """
    names = "|".join((*table.column_names, "dt"))
    return (
        f"SELECT COLUMNS('^({names})$')\n"
        f"FROM read_parquet(getvariable('archive') || '/tables/call*/dt=*/part-0.parquet',\n"
        f"    {_OPTIONS}, filename = true)\n"
        f"WHERE filename LIKE '%/tables/{table.name}/dt=%';"
    )
