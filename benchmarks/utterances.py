"""Compare the `utterances` step with a minimal program and with a naive pandas loop."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

from benchmarks.contest import Measure, Rounds, measure
from benchmarks.services import DAY, start_services
from benchmarks.table import Row, Section, spread

_OURS, _BARE, _PANDAS = "the utterances step", "bare str.split + pyarrow", "naive pandas loop"
_MOST_BYTES = 600e6


def run(*, is_quick: bool) -> Section:
    """Compare the contestants, then measure days of 100,000 and 1,000,000 calls."""
    calls, rounds = (5_000, 1) if is_quick else (30_000, 3)
    sizes = (20_000,) if is_quick else (100_000, 1_000_000)
    rows = []
    with start_services(1, (1, 1)) as services, tempfile.TemporaryDirectory(prefix="bench-") as folder:
        environment, transcripts, to = (
            services.environment(),
            f"{folder}/transcripts.parquet",
            f"{folder}/turns.parquet",
        )
        measure("benchmarks.transcript_tables:save", environment, path=transcripts, calls=calls)
        arguments: dict[str, Any] = {"path": transcripts, "to": to}
        contestants: dict[str, Callable[[], Measure]] = {
            _OURS: lambda: _ours(services.environment(), calls),
            _BARE: lambda: measure("benchmarks.alternatives.split_and_write:split", environment, **arguments),
            _PANDAS: lambda: measure("benchmarks.alternatives.pandas_loop:split", environment, **arguments),
        }
        results: dict[str, list[Measure]] = {name: [] for name in contestants}
        for _ in range(rounds):
            for name, contestant in contestants.items():
                services.clear()
                results[name].append(contestant())
        ours, least = Rounds(results[_OURS]), {_BARE: 0.6, _PANDAS: 2.0}
        for name, measures in results.items():
            theirs = Rounds(measures)
            ratio = None if name == _OURS else ours.rate() / theirs.rate()
            rows.append(
                Row(
                    f"{calls:,} calls",
                    name,
                    spread([rate / 1e6 for rate in theirs.rates()], "million turns/s", 2),
                    ratio,
                    f"at least {least[name]:g}" if name in least else "",
                    ratio >= least[name] if ratio is not None else None,
                    f"{theirs.cpu_seconds():.1f} s",
                    theirs.peak_bytes(),
                )
            )
        for size in sizes:
            services.clear()
            step = Rounds([_ours(services.environment(), size)])
            rows.append(
                Row(
                    f"{size:,} calls",
                    _OURS,
                    spread([rate / 1e6 for rate in step.rates()], "million turns/s", 2),
                    target=f"below {_MOST_BYTES / 1e6:.0f} MB",
                    reached=step.peak_bytes() < _MOST_BYTES,
                    cpu=f"{step.cpu_seconds():.1f} s",
                    peak_bytes=step.peak_bytes(),
                )
            )
    return Section(
        "5. Utterances",
        "The step reads two tables from S3, writes one Parquet object back, and finds labels anywhere in a line. The "
        "other two read and write a local file, have fewer columns, and handle only ordinary transcripts.",
        rows,
    )


def _ours(environment: dict[str, str], calls: int) -> Measure:
    measure("benchmarks.transcript_tables:store", environment, day=DAY, calls=calls)
    return measure("benchmarks.pipeline_steps:utterances", environment, day=DAY)
