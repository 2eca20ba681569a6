"""What each reader makes of a day, as docs/tables.md says: the right rows, no row and no error, or an error."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

from kros_pipeline_tests.support.reader_archive import FULL_DAY, WAITING_DAY
from kros_pipeline_tests.support.recipes import ROOT

TEXT, DAY, TIME = f"{FULL_DAY}", FULL_DAY, pd.Timestamp(FULL_DAY)
Filter = Callable[[Any], Any]
FILTERS: dict[str, Filter] = {
    '`== "2025-01-10"`': lambda days: days == TEXT,
    '`isin(["2025-01-10"])`': lambda days: days.isin([TEXT]),
    "`== Timestamp`": lambda days: days == TIME,
    "`isin([Timestamp])`": lambda days: days.isin([TIME]),
    "`== date`": lambda days: days == DAY,
    "`isin([date])`": lambda days: days.isin([DAY]),
    "`between` texts": lambda days: days.between(TEXT, TEXT),
}


def read_column(reader: str, archive: Path) -> Any:
    """The column of days of all turns, as a reader of the table gives it."""
    import kros_tables

    folder = f"{archive}/tables/utterances/"
    plain = pd.read_parquet(folder)
    readers: dict[str, Callable[[], Any]] = {
        "**`kros_tables.read_table`**, `call_date`": lambda: (
            kros_tables.read_table(str(archive), "utterances").call_date
        ),
        "`pd.read_parquet`, `call_date` (objects)": lambda: plain.call_date,
        "the same, `dt` (categories)": lambda: plain.dt_,
        '`dtype_backend="pyarrow"`, `call_date`': lambda: pd.read_parquet(folder, dtype_backend="pyarrow").call_date,
        '`dtype_backend="numpy_nullable"`, `call_date`': lambda: (
            pd.read_parquet(folder, dtype_backend="numpy_nullable").call_date
        ),
        "`pd.to_datetime(call_date)` (datetime64)": lambda: pd.to_datetime(plain.call_date),
        '`.astype("str")` of `call_date` (texts)': lambda: plain.call_date.astype("str"),
        "DuckDB's `.df()` (datetime64)": lambda: (
            duckdb.execute(f"SELECT call_date FROM read_parquet('{folder}dt=*/part-0.parquet')").df().call_date
        ),
    }
    plain = plain.rename(columns={"dt": "dt_"})
    return readers[reader]()


def rows_of_table() -> list[tuple[str, list[str]]]:
    page = (ROOT / "docs/tables.md").read_text("utf-8")
    head, *rows = re.findall(r"^\| (.+) \|$", page.split("| reader and column |")[1].split("\n\n")[0], re.MULTILINE)
    del head
    return [(cells[0], cells[1:]) for cells in (row.split(" | ") for row in rows)]


def measured(days: Any, keep: Filter) -> str:
    """In the words of the page."""
    try:
        found = days[keep(days).fillna(False)]
    except Exception:
        return "error"
    if len(found) == 0:
        return "**none**"
    assert {str(day)[:10] for day in found} == {TEXT}
    return "yes"


@pytest.mark.parametrize(("reader", "cells"), [row for row in rows_of_table() if row[0] != "Polars"])
def test_the_page_says_what_pandas_makes_of_a_day(
    reader: str, cells: list[str], reader_archive: Path, analysts_path: None
) -> None:
    days = read_column(reader, reader_archive)
    assert [measured(days, keep) for keep in FILTERS.values()] == cells


def test_the_page_says_what_polars_makes_of_a_day(reader_archive: Path) -> None:
    import polars as pl

    [cells] = [cells for reader, cells in rows_of_table() if reader == "Polars"]
    rows = pl.read_parquet(f"{reader_archive}/tables/calls/dt={FULL_DAY}/part-0.parquet").vstack(
        pl.read_parquet(f"{reader_archive}/tables/calls/dt={WAITING_DAY}/part-0.parquet")
    )
    day = pl.col("call_date")
    kept = [
        lambda: day == TEXT,
        lambda: day.is_in([TEXT]),
        lambda: day == TIME,
        lambda: day.is_in([TIME]),
        lambda: day == DAY,
        lambda: day.is_in([DAY]),
        lambda: day.is_between(pl.lit(TEXT), pl.lit(TEXT)),
    ]

    def result(keep: Callable[[], pl.Expr]) -> str:
        try:
            found = rows.filter(keep())
        except pl.exceptions.PolarsError:
            return "error"
        return "yes" if set(found["call_date"]) == {DAY} else "**none**"

    assert [result(keep) for keep in kept] == cells


@pytest.mark.parametrize(
    "wrong", ["10.1.2025", 20250110, pd.Timestamp("2025-01-10 12:00"), datetime.datetime(2025, 1, 10, 1), True, 1.5]
)
def test_the_typed_reader_refuses_what_is_no_day(wrong: object, reader_archive: Path, analysts_path: None) -> None:
    import kros_tables

    turns = kros_tables.read_table(str(reader_archive), "utterances")
    filters: list[Filter] = [lambda days: days == wrong, lambda days: days < wrong, lambda days: days.isin([wrong])]
    for keep in filters:
        with pytest.raises(ValueError, match="day"):
            keep(turns.call_date)
    with pytest.raises(ValueError, match="day"):
        kros_tables.read_table(str(reader_archive), "utterances", wrong)


def test_the_type_of_days_survives_what_analysts_do(reader_archive: Path, analysts_path: None) -> None:
    import kros_tables

    turns = kros_tables.read_table(str(reader_archive), "utterances")
    calls = kros_tables.read_table(str(reader_archive), "calls")
    by_day = turns.groupby("call_date").size()
    frames = {
        "filtered": turns[turns.call_date >= TEXT],
        "merged": turns.merge(calls, on=["call_id", "call_date"]),
        "merged on the right": calls.merge(
            turns[["call_id", "call_date"]], on="call_id", suffixes=("_x", ""), how="left"
        ),
        "joined end to end": pd.concat([turns, turns]),
        "grouped": by_day.reset_index(name="turns"),
        "sorted": turns.sort_values("call_date"),
        "deduplicated": turns[["call_date"]].drop_duplicates(),
        "melted": turns.melt(id_vars=["call_date"], value_vars=["word_count"]),
    }
    for name, frame in frames.items():
        days = {(frame.call_date == day).sum() for day in (TEXT, DAY, TIME)}
        assert len(days) == 1 and days.pop() > 0, name
        assert frame.call_date.isin([TIME]).sum() == frame.call_date.isin([TEXT]).sum() > 0, name
    assert len(turns.query(f'call_date == "{TEXT}"')) == len(turns.query(f'call_date in ["{TEXT}"]')) == by_day[DAY]
    assert (turns.call_date.dt.year == 2025).all()
    assert (turns.set_index("call_date").index == TEXT).sum() == by_day[DAY]
    assert (turns.call_date.shift(1) == TEXT).sum() > 0  # with a missing value in it
    assert not (turns.call_date == pd.NaT).fillna(False).any()


def test_a_row_of_a_frame_with_days_has_a_date(reader_archive: Path, analysts_path: None) -> None:
    import kros_tables

    turns = kros_tables.read_table(reader_archive, "utterances", FULL_DAY, FULL_DAY).head(3)
    rows = [turns.iloc[0], turns.loc[1], next(turns.iterrows())[1], turns.T[0]]
    assert [row.call_date for row in rows] == [FULL_DAY] * 4
    assert list(turns.apply(lambda row: row.call_date, axis=1)) == [FULL_DAY] * 3
    assert turns.to_numpy()[0][1] == FULL_DAY
    assert set(turns.melt(id_vars=["call_id"]).query("variable == 'call_date'").value) == {FULL_DAY}
    assert list(pd.concat([turns.call_date, pd.Series([FULL_DAY])])) == [FULL_DAY] * 4
    plain = turns.call_date.astype(pd.ArrowDtype(pa.date32()))
    assert (pd.concat([turns.call_date, plain]) == TEXT).sum() == 6


@pytest.mark.parametrize("mine", [TEXT, DAY, TIME])
def test_a_merge_with_days_of_ones_own_finds_their_rows_once_they_have_the_type(
    mine: object, reader_archive: Path, analysts_path: None
) -> None:
    import kros_tables

    turns = kros_tables.read_table(reader_archive, "utterances")
    days = pd.DataFrame({"call_date": [mine], "holiday": True})
    days["call_date"] = days.call_date.astype(turns.call_date.dtype)
    assert len(turns.merge(days, on="call_date")) == (turns.call_date == mine).sum() > 0
    with pytest.raises(ValueError, match="is no day"):
        pd.Series(["10.1.2025"]).astype(turns.call_date.dtype)


def test_the_typed_reader_gives_every_column_its_type_also_where_no_file_has_it(
    reader_archive: Path, analysts_path: None
) -> None:
    import kros_tables

    for name in kros_tables.COLUMNS.keys() - {"call_events"}:
        whole = kros_tables.read_table(str(reader_archive), name)
        old = kros_tables.read_table(str(reader_archive), name, "2025-01-09", "2025-01-09")
        empty = kros_tables.read_table(str(reader_archive), name, "2025-01-11", datetime.date(2025, 1, 11))
        assert list(whole) == list(old) == list(empty) == list(kros_tables.COLUMNS[name])
        assert whole.dtypes.equals(old.dtypes) and whole.dtypes.equals(empty.dtypes), name
        assert len(empty) == (1 if name == "reconciliation" else 0)


def test_the_typed_reader_names_what_is_not_there(reader_archive: Path, analysts_path: None) -> None:
    import kros_tables

    with pytest.raises(ValueError, match="there is no table 'turns': the tables are calls, "):
        kros_tables.read_table(str(reader_archive), "turns")
    with pytest.raises(ValueError, match="calls has no column speaker: it has call_id, "):
        kros_tables.read_table(str(reader_archive), "calls", columns=["call_id", "speaker"])
    with pytest.raises(ValueError, match="the last day 2025-01-09 is before the first day 2025-01-10"):
        kros_tables.read_table(str(reader_archive), "calls", "2025-01-10", "2025-01-09")
    with pytest.raises(FileNotFoundError):
        kros_tables.read_table(f"{reader_archive}/nowhere", "calls")
