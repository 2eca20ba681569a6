"""Measure an archive of years: erasure, the hourly look, the backlog, and what a verification plans."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.contest import Measure
from benchmarks.scale.bench import Bench
from benchmarks.table import Row, Section

_ACT = "benchmarks.scale.years_contestants:act"
_ERASURE = "erasing ten calls"
_BOUNDED = (
    "the hourly look",
    "the backlog",
    "the settled days of a night",
    "planning a verification",
)
_ONCE = "the first look ever"
_MOST_SECONDS, _MOST_REQUESTS = 300, 20_000
_MORE_REQUESTS = 60  # a page more of each listing, and an object more of each year


def run(bench: Bench) -> list[Section]:
    """Measure an archive of a hundred days and one of three years, of the same days."""
    small, large, calls = (92, 110, 20) if bench.is_quick else (100, 1_095, 20_000)
    rows = []
    for name in (*_BOUNDED, _ONCE, _ERASURE):
        measured = {
            days: one
            for days in (small, large)
            if (one := bench.measure(f"{days:,} days, {name}", _ACT, name=name, days=days, calls=calls)) is not None
        }
        rows += list(_rows(name, calls, measured, large))
    return [Section(f"An archive of years, of {calls:,} calls a day", _NOTES, rows)]


def _rows(name: str, calls: int, measured: dict[int, Measure], large: int) -> Iterator[Row]:
    fewest = min((one.facts["s3"] for one in measured.values()), default=0)
    for days, one in measured.items():
        target, reached = "", None
        if name == _ERASURE and days == large:
            target = f"at most {_MOST_SECONDS // 60} minutes and {_MOST_REQUESTS:,} requests"
            reached = one.seconds <= _MOST_SECONDS and one.facts["s3"] <= _MOST_REQUESTS
        elif name in _BOUNDED and days == large:
            target = f"at most {_MORE_REQUESTS} requests more"
            reached = one.facts["s3"] <= fewest + _MORE_REQUESTS
        yield Row(
            f"{days:,} days, {days * calls:,} recordings",
            name,
            f"{one.seconds:.1f} s; {one.facts['bytes_read'] / 1e6:,.0f} MB read",
            target=target,
            reached=reached,
            cpu=f"{one.cpu_seconds:.1f} s",
            peak_bytes=one.peak_bytes,
            requests=f"{one.facts['s3']:,} S3, {one.facts['s3_writes']:,} of them writes and lists",
            how="measured",
        )


_NOTES = (
    "The store generates listings, tables and records when they are asked for: its own CPU and memory are in the "
    "figures. It answers at once; where S3 takes 50 ms, a request adds that much, divided by the threads. Waiting is "
    "left out: an erasure waits 10 seconds for late uploads. Each figure is of a fresh process that has opened a run."
)
