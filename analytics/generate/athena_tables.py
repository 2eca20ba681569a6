"""The tables as Athena's external tables: partitions are projected, so that no day has to be registered."""

from collections.abc import Iterable

from kros_pipeline.core.schemas import BOOL, DATE, FLOAT64, INT64, STRING, STRING_LIST, TIMESTAMP, Table

TYPES = {
    STRING: "string",
    INT64: "bigint",
    FLOAT64: "double",
    BOOL: "boolean",
    DATE: "date",
    TIMESTAMP: "timestamp",
    STRING_LIST: "array<string>",
}
HEADER = """\
-- The tables of a kros_pipeline archive for Amazon Athena and the Glue catalog. `make tables` writes this file.
--
-- Replace BUCKET/PREFIX, and 2025-01-01 by the first day of the archive, and run the statements one by one (Athena
-- takes one at a time) in a database of their own: CREATE DATABASE kros; Glue shows the columns' comments.
--
-- Partitions are projected: a new day is there as soon as its file is. No MSCK REPAIR TABLE, no crawler. Columns that
-- an old file lacks are null. Times are UTC. Filter by dt, a text like '2025-01-10': only those days are read.
--   SELECT speaker, count(*) AS turns FROM kros.utterances WHERE dt BETWEEN '2025-01-10' AND '2025-01-31' GROUP BY 1
"""


def make_statements(tables: Iterable[Table]) -> str:
    """Return the file: one statement a table."""
    return "\n".join([HEADER, *(f"{make_statement(table)};\n" for table in tables)])


def make_statement(table: Table) -> str:
    """Return the statement that declares one table."""
    columns = ",\n".join(
        f"  `{column.name}` {TYPES[column.type]} COMMENT {_quote(column.description)}" for column in table.columns
    )
    location = f"s3://BUCKET/PREFIX/tables/{table.name}/"
    properties = {
        "projection.enabled": "true",
        "projection.dt.type": "date",
        "projection.dt.format": "yyyy-MM-dd",
        "projection.dt.range": "2025-01-01,NOW",
        "projection.dt.interval": "1",
        "projection.dt.interval.unit": "DAYS",
        "storage.location.template": f"{location}dt=${{dt}}/",
    }
    shown = ",\n".join(f"  '{name}' = '{value}'" for name, value in properties.items())
    return (
        f"CREATE EXTERNAL TABLE IF NOT EXISTS `{table.name}` (\n{columns}\n)\n"
        f"COMMENT {_quote(table.description)}\n"
        "PARTITIONED BY (`dt` string COMMENT 'the day, as call_date has it')\n"
        f"STORED AS PARQUET\nLOCATION '{location}'\nTBLPROPERTIES (\n{shown}\n)"
    )


def _quote(text: str) -> str:
    """Quote a text for Hive's grammar, which Athena uses for DDL: engines escape an apostrophe in different ways."""
    return "'" + text.replace("'", "’") + "'"
