"""The recipes of the documents: their blocks of code, made to read another archive, and run."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "docs/tables.md")
PLACEHOLDER = "s3://BUCKET/PREFIX"


@dataclass(frozen=True)
class Recipe:
    """One block of code, and the page and heading that it is under."""

    page: str
    number: int
    language: str
    code: str

    @property
    def id(self) -> str:
        return f"{self.page}-{self.number}-{self.language}"

    @property
    def engine(self) -> str:
        """What runs it, beside Python itself."""
        if self.language == "sql":
            return "athena" if self.code.startswith("-- Athena") else "duckdb"
        return next((name for name in ("pyspark", "datafusion", "chdb") if name in self.code), "python")


def find_recipes() -> list[Recipe]:
    """Return every block of Python and SQL that names tables, in the pages' order."""
    found = []
    for page in PAGES:
        blocks = re.findall(r"^```(python|sql)\n(.*?)^```$", (ROOT / page).read_text("utf-8"), re.DOTALL | re.MULTILINE)
        found += [Recipe(page, number, language, code) for number, (language, code) in enumerate(blocks)]
    return found


def run_python(recipe: Recipe, archive: Path) -> Any:
    """Run a block of Python over an archive, and return the value of its last line, if that is an expression."""
    names: dict[str, Any] = {}
    lines = ast.parse(recipe.code.replace(PLACEHOLDER, str(archive)), recipe.id)
    last = lines.body.pop() if isinstance(lines.body[-1], ast.Expr) else None
    exec(compile(lines, recipe.id, "exec"), names)
    return eval(compile(ast.Expression(last.value), recipe.id, "eval"), names) if isinstance(last, ast.Expr) else None


def connect(archive: Path) -> duckdb.DuckDBPyConnection:
    """Open the archive's views in DuckDB."""
    connection = duckdb.connect()
    connection.execute(f"SET VARIABLE archive = '{archive}'")
    connection.execute((ROOT / "analytics/duckdb.sql").read_text("utf-8"))
    return connection


def run_sql(recipe: Recipe, archive: Path) -> list[tuple[Any, ...]]:
    """Run a block of DuckDB's SQL, `.read` included, and return the rows of its last statement."""
    code = recipe.code.replace(PLACEHOLDER, str(archive))
    views = (ROOT / "analytics/duckdb.sql").read_text("utf-8")
    connection = duckdb.connect() if ".read " in code else connect(archive)
    return connection.execute(code.replace(".read analytics/duckdb.sql", views)).fetchall()
