"""Read figures of results.md: pages that are computed from them are written again after each run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

RESULTS = Path(__file__).with_name("results.md")
SECOND_RUN = "all seven again, in one process"  # names of rows of `make scale`
COSTS_OF_DAY = "{:,} calls a day"


@dataclass(frozen=True)
class Measured:
    """Figures that results.md has."""

    recordings_per_second: float
    audio_cpu_ms: float
    audio_peak_mb: int
    list_cpu_ms: float
    peak_mb_by_calls: dict[int, int]
    turns_cpu_seconds_of_30_000: float
    turns_peak_mb_of_a_million: int
    api_requests_of_3_000: int
    s3_requests_of_3_000: int
    empty_day_seconds: float
    table_megabytes_of_180_000: int


@dataclass(frozen=True)
class Million:
    """Figures of a day of a million calls, which `make scale` has put into results.md.

    `costs` say what, how much, and how it is known.
    """

    peak_mb: int
    costs: list[tuple[str, str, str]]


def read_results(text: str) -> Measured:
    """Read the figures of a results page. Raises `LookupError` where a row, a column or a figure is missing."""
    audio = _row(text, "50 ms, TLS", "the recordings step")
    lists = {calls: _row(text, f"{calls:,} calls", "the calls step") for calls in (1_000, 10_000, 100_000)}
    requests = _row(text, "3,000 calls", "first run")["requests"]
    layout = _row(text, "90 days of 2,000 calls", "ours: zstd, sorted by call, groups of 100,000")["result"]
    return Measured(
        recordings_per_second=_figure(r"([\d.]+) /s", audio["result"]),
        audio_cpu_ms=_figure(r"([\d.]+) ms each", audio["CPU"]),
        audio_peak_mb=int(_figure(r"([\d,]+) MB", audio["peak RSS"])),
        list_cpu_ms=_figure(r"([\d.]+) ms each", lists[10_000]["CPU"]),
        peak_mb_by_calls={calls: int(_figure(r"([\d,]+) MB", row["peak RSS"])) for calls, row in lists.items()},
        turns_cpu_seconds_of_30_000=_figure(r"([\d.]+) s", _row(text, "30,000 calls", "the utterances step")["CPU"]),
        turns_peak_mb_of_a_million=int(
            _figure(r"([\d,]+) MB", _row(text, "1,000,000 calls", "the utterances step")["peak RSS"])
        ),
        api_requests_of_3_000=int(_figure(r"([\d,]+) API", requests)),
        s3_requests_of_3_000=int(_figure(r"([\d,]+) S3", requests)),
        empty_day_seconds=_figure(r"([\d.]+) s", _row(text, "an empty day, command to exit", "")["result"]),
        table_megabytes_of_180_000=int(_figure(r"; (\d+) MB$", layout)),
    )


def read_million(text: str) -> Million:
    """Read the figures of `make scale`. Raises `LookupError` where a row, a column or a figure is missing."""
    second_run = _row(text, "1,000,000 calls", SECOND_RUN)
    costs = [row for row in _rows(text) if row["case"] == COSTS_OF_DAY.format(1_000_000)]
    return Million(
        peak_mb=int(_figure(r"([\d,]+) MB", second_run["peak RSS"])),
        costs=[(row["contestant"], row["result"], row["how"]) for row in costs],
    )


def _rows(text: str) -> Iterator[dict[str, str]]:
    """Yield the rows of the page's tables, by the names of their columns."""
    columns: list[str] = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if cells[:1] == ["case"]:
            columns = cells
        elif cells and not cells[0].startswith("---"):
            yield dict(zip(columns, cells, strict=True))


def _row(text: str, case: str, contestant: str) -> dict[str, str]:
    """Return the first row of a case and a contestant."""
    for row in _rows(text):
        if (row["case"], row["contestant"]) == (case, contestant):
            return row
    raise LookupError(f"results.md has no row {case!r}, {contestant!r}")


def _figure(pattern: str, cell: str) -> float:
    match = re.search(pattern, cell)
    if match is None:
        raise LookupError(f"results.md: {cell!r} has no {pattern!r}")
    return float(match[1].replace(",", ""))
