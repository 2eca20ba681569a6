"""Measure each step of a day of up to a million calls, and what a day of the largest size costs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from benchmarks.contest import Measure
from benchmarks.results import SECOND_RUN
from benchmarks.scale.bench import Bench
from benchmarks.scale.cost import DayUse, cost_section
from benchmarks.table import Row, Section

_CONTESTANTS = "benchmarks.scale.contestants"
_MOVED, _AGAIN = "recordings", "recordings, archived before"
_STEPS = ("calls", _MOVED, "transcripts", "utterances", "flagged_calls", "retention_extensions", "reconciliation")
_ORDER = ("calls", _MOVED, _AGAIN, *_STEPS[2:], SECOND_RUN, "sealing", "verification")
_MOST_BYTES, _MOST_GROWTH = 1e9, 1.2
_LIMIT_SECONDS = 2_400  # of a loaded machine, too
_CALLS_PER_PAGE = 100
_FULL, _QUICK = (10_000, 100_000, 1_000_000), (100, 300, 1_000)


@dataclass
class _Measures:
    """What was measured, by step and calls."""

    by_step: dict[str, dict[int, Measure]] = field(default_factory=dict)

    def add(self, step: str, calls: int, measured: Measure | None) -> None:
        if measured is not None:
            self.by_step.setdefault(step, {})[calls] = measured

    def of(self, step: str) -> dict[int, Measure]:
        return self.by_step.get(step, {})

    def of_size(self, calls: int) -> list[Measure]:
        return [of_step[calls] for of_step in self.by_step.values() if calls in of_step]


def run(bench: Bench) -> list[Section]:
    """Measure all steps at three sizes, a second run of the same day, its sealing and its verification."""
    sizes, measures = _QUICK if bench.is_quick else _FULL, _Measures()
    idle = bench.measure("a process before any step", f"{_CONTESTANTS}:idle")
    source = bench.measure("the source", f"{_CONTESTANTS}:list_only", calls=sizes[1])
    for calls in sizes:
        _run_day(bench, measures, calls)
    rows = [
        *(Row("", "before any step", "", peak_bytes=one.peak_bytes, how="measured") for one in (idle,) if one),
        *(_source_row(one) for one in (source,) if one),
        *_step_rows(measures, sizes),
        *_growth_rows(measures, sizes),
    ]
    sections = [Section("One day of up to a million calls", _NOTES, rows)]
    use = _use_of(measures, sizes[-1])
    if use is not None:
        sections.append(cost_section(use))
    return sections


def _run_day(bench: Bench, measures: _Measures, calls: int) -> None:
    """Run the steps of one day one after the other: each finds what those before it have written."""
    with tempfile.TemporaryDirectory(prefix="scale-") as folder:
        for name in _ORDER:
            names = _STEPS if name == SECOND_RUN else (name.partition(",")[0],)
            measured = bench.measure(
                f"{calls:,} calls, {name}",
                f"{_CONTESTANTS}:steps_of_day",
                most_seconds=_LIMIT_SECONDS,
                names=names,
                folder=folder,
                calls=calls,
            )
            measures.add(name, calls, measured)


def _source_row(measured: Measure) -> Row:
    each = measured.cpu_seconds / measured.facts["units"] * 1e6
    return Row(f"{measured.facts['units']:,} calls", "the source only", f"{each:.1f} µs each", how="measured")


def _step_rows(measures: _Measures, sizes: Sequence[int]) -> Iterator[Row]:
    for calls in sizes:
        for step in _ORDER:
            measured = measures.of(step).get(calls)
            if measured is not None:
                yield _step_row(step, calls, measured)


def _step_row(step: str, calls: int, measured: Measure) -> Row:
    facts = measured.facts
    return Row(
        f"{calls:,} calls",
        step,
        f"{measured.seconds:.1f} s",
        target="below 1 GB",
        reached=measured.peak_bytes < _MOST_BYTES,
        cpu=f"{measured.cpu_seconds:.1f} s",
        peak_bytes=measured.peak_bytes,
        requests=f"{facts['api']:,} API, {facts['s3']:,} S3",
        how="measured",
    )


def _growth_rows(measures: _Measures, sizes: Sequence[int]) -> Iterator[Row]:
    for step in _ORDER:
        of_step = measures.of(step)
        if any(size not in of_step for size in sizes):
            continue
        costs = [_cost_of_additional_call(of_step, small, large) for small, large in pairwise(sizes)]
        texts = [f"{cost * 1e6:.1f} µs up to {size:,} calls" for cost, size in zip(costs, sizes[1:], strict=True)]
        yield Row(
            "an additional call",
            step,
            ", ".join(texts),
            target=f"at most {_MOST_GROWTH} times",
            reached=costs[1] <= _MOST_GROWTH * costs[0],
            how="measured, CPU",
        )


def _cost_of_additional_call(measures: dict[int, Measure], small: int, large: int) -> float:
    return (measures[large].cpu_seconds - measures[small].cpu_seconds) / (large - small)


def _use_of(measures: _Measures, calls: int) -> DayUse | None:
    """Add up what the seven steps of the largest day used; None where one of them failed."""
    of_steps = {step: measures.of(step).get(calls) for step in _STEPS}
    known = {step: one for step, one in of_steps.items() if one is not None}
    if len(known) < len(_STEPS):
        return None
    return DayUse(
        calls=calls,
        api_requests=sum(one.facts["api"] for one in known.values()),
        s3_writes=sum(one.facts["s3_writes"] for one in known.values()),
        s3_reads=sum(one.facts["s3"] - one.facts["s3_writes"] for one in known.values()),
        other_seconds=sum(one.seconds for step, one in known.items() if step != _MOVED),
        peak_bytes=max(one.peak_bytes for one in measures.of_size(calls)),
    )


_NOTES = (
    "Each step runs in a fresh process that has loaded the definitions, over the same archive, so that it finds what "
    "the steps before it have written. The source makes its answers when it is asked: a list that is proved, pages of "
    f"{_CALLS_PER_PAGE} calls with transcripts of about 600 characters, one call in a hundred flagged. The store is a "
    "file; of audio it keeps key and size. Recordings have 60 kB. Nothing is sent over a network, no JSON is parsed "
    "and no TLS used: `make bench` measures these. An additional call's cost is of CPU, between a size and the one "
    "before; a cheaper one reaches the target, too."
)
