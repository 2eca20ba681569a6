"""Measure an archive of years: erasure, the hourly look, the backlog, and what a verification plans."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

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
_LIMIT_SECONDS = 360
_MORE_REQUESTS = 60  # a page more of each listing, and an object more of each year


def run(bench: Bench) -> list[Section]:
    """Measure an archive of a hundred days and one of three years, of the same days."""
    small, large, calls, retention_days = (10, 14, 20, 7) if bench.is_quick else (100, 1_095, 20_000, 90)
    rows = []
    for name in (*_BOUNDED, _ONCE, _ERASURE):
        measured = {
            days: bench.measure(
                f"{days:,} days, {name}",
                _ACT,
                most_seconds=_LIMIT_SECONDS,
                name=name,
                days=days,
                calls=calls,
                retention_days=retention_days,
            )
            for days in (small, large)
        }
        rows += list(_rows(name, calls, measured, large))
    return [Section(f"An archive of years, of {calls:,} calls a day", _NOTES, rows)]


def _rows(name: str, calls: int, measured: Mapping[int, Measure | None], large: int) -> Iterator[Row]:
    fewest = min((one.facts["s3"] for one in measured.values() if one is not None), default=0)
    for days, one in measured.items():
        case, target, most = f"{days:,} days, {days * calls:,} recordings", "", None
        if name == _ERASURE and days == large:
            target, most = f"at most {_MOST_SECONDS // 60} minutes and {_MOST_REQUESTS:,} requests", _MOST_REQUESTS
        elif name in _BOUNDED and days == large:
            target, most = f"at most {_MORE_REQUESTS} requests more", fewest + _MORE_REQUESTS
        if one is None:
            yield Row(
                case,
                name,
                f"failed, or took more than {_LIMIT_SECONDS} s",
                target=target,
                reached=False,
                how="measured",
            )
            continue
        yield Row(
            case,
            name,
            f"{one.seconds:.1f} s; {one.facts['bytes_read'] / 1e6:,.0f} MB read",
            target=target,
            reached=one.seconds <= _MOST_SECONDS and one.facts["s3"] <= most if most is not None else None,
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
