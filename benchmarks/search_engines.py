"""Compare search engines for the reviewer's page: `python -m benchmarks.search_engines [--days 1,90]`.

Each day has 2,000 calls of about 20 turns. Three engines index the same words, a file or folder per day, and answer the
same questions: which calls have a turn of the caller that matches, and none of anybody that matches something else,
the best 26 of them over all days. DuckDB's extension fts has to be installed (`INSTALL fts`), which needs a network.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path
from statistics import median
from typing import Any

from kros_pipeline.browser.call_filter import parse_filter
from kros_pipeline.browser.day_index import DayIndex
from kros_pipeline.browser.index_builder import build_index
from kros_pipeline.browser.index_connections import IndexConnections
from kros_pipeline.core import schemas
from kros_pipeline.core.search_terms import index_text

CALLS, TURNS, WORDS_PER_TURN = 2_000, 20, 12
FIRST = date(2025, 1, 1)
# Frequent, ordinary and rare words, and a phrase.
QUESTIONS = {
    "rare": ("w9000", None),
    "ordinary": ("w120", None),
    "ordinary, and nobody said": ("w120", "w300"),
    "two words": ("w60 w90", None),
    "phrase": ('"w3 w5"', None),
    "in most calls": ("w3", None),
}
_VOCABULARY = [f"w{rank}" for rank in range(1, 20_001)]
_WEIGHTS = [1 / rank for rank in range(1, 20_001)]
Day = list[list[tuple[str, str]]]


def make_day(seed: int) -> Day:
    """Make the turns of each call of a day: speaker and text, words by Zipf's law."""
    generator = random.Random(seed)
    words = generator.choices(_VOCABULARY, _WEIGHTS, k=CALLS * TURNS * WORDS_PER_TURN)
    turns = [
        (("agent", "caller")[number % 2], " ".join(words[number * WORDS_PER_TURN : (number + 1) * WORDS_PER_TURN]))
        for number in range(CALLS * TURNS)
    ]
    return [turns[number * TURNS : (number + 1) * TURNS] for number in range(CALLS)]


class _Tables:
    """Serves a day's turns as `Tables` does."""

    def __init__(self, calls: Day) -> None:
        self._calls = calls

    def opened(self, table: schemas.Table, day: date) -> Any:
        from contextlib import nullcontext
        from types import SimpleNamespace

        rows = {schemas.CALLS.name: self._call_rows, schemas.UTTERANCES.name: self._turn_rows}.get(table.name)
        return nullcontext(SimpleNamespace(rows=rows) if rows is not None else None)

    def _call_rows(self) -> Iterator[dict[str, Any]]:
        empty = dict.fromkeys(schemas.CALLS.column_names)
        for number in range(len(self._calls)):
            yield empty | {"call_id": f"call_{number:06d}", "direction": "inbound", "duration_seconds": 120.0}

    def _turn_rows(self) -> Iterator[dict[str, Any]]:
        empty = dict.fromkeys(schemas.UTTERANCES.column_names)
        for number, turns in enumerate(self._calls):
            for index, (speaker, text) in enumerate(turns):
                own = {"call_id": f"call_{number:06d}", "turn_index": index, "speaker": speaker, "text": text}
                yield empty | own


class Fts5:
    """What the page uses: the whole read model of a day, facts and texts included."""

    name = "SQLite FTS5 (with facts and texts)"

    def build(self, folder: Path, number: int, calls: Day) -> None:
        build_index(folder / f"{number}.sqlite", FIRST, _Tables(calls), lambda key: False)  # type: ignore[arg-type]

    def open(self, folder: Path, days: int) -> Callable[[str, str | None], int]:
        connections = IndexConnections()
        indexes = [DayIndex(FIRST + timedelta(days=n), folder / f"{n}.sqlite", connections) for n in range(days)]
        pool = ThreadPoolExecutor(4)

        def ask(words: str, without: str | None) -> int:
            from urllib.parse import urlencode

            pairs = [("turn", "with"), ("by", "caller"), ("words", words)]
            pairs += [("turn", "without"), ("by", "anyone"), ("words", without)] if without else []
            wanted = parse_filter(urlencode(pairs), FIRST, FIRST, may_find_digits=True)
            return sum(count for count, _ in pool.map(lambda index: index.find(wanted, 26), indexes))

        return ask


class Tantivy:
    """One document a turn, and the calls put together in Python: tantivy joins nothing."""

    name = "tantivy (words only)"

    def build(self, folder: Path, number: int, calls: Day) -> None:
        import tantivy

        builder = tantivy.SchemaBuilder()
        builder.add_integer_field("call", stored=False, fast=True, indexed=True)
        for speaker in ("agent", "caller"):
            builder.add_text_field(speaker, stored=False, tokenizer_name="whitespace")
        place = folder / str(number)
        place.mkdir()
        index = tantivy.Index(builder.build(), str(place))
        writer = index.writer(heap_size=50_000_000, num_threads=1)
        for call, turns in enumerate(calls):
            for speaker, text in turns:
                document = tantivy.Document()
                document.add_integer("call", call)
                document.add_text(speaker, index_text(text))
                writer.add_document(document)
        writer.commit()
        writer.wait_merging_threads()

    def open(self, folder: Path, days: int) -> Callable[[str, str | None], int]:
        import tantivy

        indexes = [tantivy.Index.open(str(folder / str(number))) for number in range(days)]

        def calls_of(index: Any, words: str, fields: list[str]) -> set[int]:
            query = index.parse_query(words, fields, conjunction_by_default=True)
            buckets = index.searcher().aggregate(
                query, {"calls": {"terms": {"field": "call", "size": CALLS}}}
            )["calls"]["buckets"]  # fmt: skip
            return {int(bucket["key"]) for bucket in buckets}

        def ask(words: str, without: str | None) -> int:
            total = 0
            for index in indexes:
                found = calls_of(index, words, ["caller"])
                if without and found:
                    found -= calls_of(index, without, ["agent", "caller"])
                total += len(found)
            return total

        return ask


class DuckDbFts:
    """DuckDB's extension: an inverted index in tables, without phrases."""

    name = "DuckDB fts (words only)"

    def build(self, folder: Path, number: int, calls: Day) -> None:
        import duckdb
        import pandas as pd

        with duckdb.connect(str(folder / f"{number}.duckdb")) as database:
            database.execute("LOAD fts")
            database.execute("CREATE TABLE turns (id INTEGER, call INTEGER, speaker VARCHAR, text VARCHAR)")
            rows = [
                (c * TURNS + n, c, s, index_text(t)) for c, turns in enumerate(calls) for n, (s, t) in enumerate(turns)
            ]
            frame = pd.DataFrame(rows, columns=["id", "call", "speaker", "text"])  # noqa: F841 - read by its name
            database.execute("INSERT INTO turns SELECT * FROM frame")
            database.execute("PRAGMA create_fts_index('turns', 'id', 'text', stemmer='none', stopwords='none')")

    def open(self, folder: Path, days: int) -> Callable[[str, str | None], int]:
        raise NotImplementedError("built only to measure its size")


def main() -> None:
    """Measure, and print a table in Markdown."""
    parser = argparse.ArgumentParser("python -m benchmarks.search_engines")
    parser.add_argument("--days", default="1,90")
    sizes = [int(part) for part in parser.parse_args().days.split(",")]
    print("| engine | days | build, s a day | MB a day | " + " | ".join(f"{name}, ms" for name in QUESTIONS) + " |")
    print("| --- |" + " --- |" * (len(QUESTIONS) + 3))
    print(f"SQLite {sqlite3.sqlite_version}")
    for engine in (Fts5(), Tantivy(), DuckDbFts()):
        with tempfile.TemporaryDirectory(prefix="kros-search-") as name:
            folder, built, seconds = Path(name), 0, 0.0
            for days in sizes:
                try:
                    while built < days:
                        calls = make_day(built)
                        began = time.process_time()
                        engine.build(folder, built, calls)
                        seconds += time.process_time() - began
                        built += 1
                    megabytes = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / built / 1e6
                    ask = engine.open(folder, days)
                except Exception as error:  # an engine that cannot be had is a result, too
                    print(f"| {engine.name} | {days} | {type(error).__name__}: {str(error)[:90]} |")
                    break
                cells = []
                for words, without in QUESTIONS.values():
                    times = []
                    for _ in range(5):
                        began = time.monotonic()
                        found = ask(words, without)
                        times.append((time.monotonic() - began) * 1000)
                    cells.append(f"{median(times):.0f} ({found:,} calls)")
                print(
                    f"| {engine.name} | {days} | {seconds / built:.2f} | {megabytes:.1f} | {' | '.join(cells)} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
