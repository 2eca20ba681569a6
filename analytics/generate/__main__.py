"""Write the generated files and blocks (`make tables`); with `--check` only say which are stale, with exit code 1."""

import json
import sys
from pathlib import Path

from kros_pipeline.core.schemas import ALL_TABLES

from .athena_tables import make_statements
from .blocks import replace_block
from .dbt_sources import make_sources
from .dictionary import make_dictionary
from .duckdb_views import make_views

ROOT = Path(__file__).parents[2]


def generate() -> dict[str, str]:
    """Return the whole text of each file that has something generated, by its path in the repository."""
    tables = ALL_TABLES.values()
    columns = {table.name: {column.name: column.type for column in table.columns} for table in tables}
    reader_block = f"COLUMNS: dict[str, dict[str, str]] = {json.dumps(columns, indent=4)}".replace(
        '"\n', '",\n'
    ).replace("}\n", "},\n")
    return {
        "analytics/duckdb.sql": _with_block("analytics/duckdb.sql", make_views(tables)),
        "analytics/kros_tables.py": _with_block("analytics/kros_tables.py", reader_block),
        "analytics/athena.sql": make_statements(tables),
        "analytics/dbt/models/sources.yml": make_sources(tables),
        "docs/tables.md": _with_block("docs/tables.md", make_dictionary(tables)),
    }


def _with_block(path: str, block: str) -> str:
    return replace_block((ROOT / path).read_text("utf-8"), block)


def main() -> int:
    """Write or check the files."""
    stale = {path: text for path, text in generate().items() if _read(ROOT / path) != text}
    if "--check" not in sys.argv:
        for path, text in stale.items():
            (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
            (ROOT / path).write_text(text, "utf-8")
    for path in stale:
        print(path, "is stale: make tables" if "--check" in sys.argv else "written")
    return int(bool(stale) and "--check" in sys.argv)


def _read(path: Path) -> str | None:
    return path.read_text("utf-8") if path.exists() else None


if __name__ == "__main__":
    sys.exit(main())
