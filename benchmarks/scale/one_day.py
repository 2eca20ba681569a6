"""Measure each step of a day of up to a million calls, and what a day of the largest size costs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

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
_LIMIT_SECONDS = 1_200  # of a loaded machine, too
_CALLS_PER_PAGE = 100


@dataclass(frozen=True)
class _Sizes:
    """Sizes of whole days; up to `most_moved` calls the audio is moved, one call after the other. One more size is.

    A smaller size would not do: buffers that are not full yet look like memory that grows with the day.
    """

    days: tuple[int, int, int]
    only_moved: int
    most_moved: int


_FULL = _Sizes((10_000, 100_000, 1_000_000), 300_000, 300_000)
_QUICK = _Sizes((100, 300, 1_000), 600, 600)


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
    source = bench.measure("the source", f"{_CONTESTANTS}:list_only", calls=sizes.days[1])
    for calls in sorted((*sizes.days, sizes.only_moved)):
        steps = ("calls", _MOVED) if calls == sizes.only_moved else _ORDER
        _run_day(bench, measures, calls, steps, is_audio_made=calls > sizes.most_moved)
    rows = [
        *(Row("", "before any step", "", peak_bytes=one.peak_bytes, how="measured") for one in (idle,) if one),
        *(_source_row(one) for one in (source,) if one),
        *_step_rows(measures, sizes),
        *_growth_rows(measures),
    ]
    sections = [Section("One day of up to a million calls", _NOTES, rows)]
    use = _use_of(measures, sizes)
    if use is not None:
        sections.append(cost_section(use))
    return sections


def _run_day(bench: Bench, measures: _Measures, calls: int, steps: Sequence[str], *, is_audio_made: bool) -> None:
    """Run the steps of one day one after the other: each finds what those before it have written."""
    with tempfile.TemporaryDirectory(prefix="scale-") as folder:
        for name in steps:
            case = f"{calls:,} calls, {name}"
            if name == _MOVED and is_audio_made:
                bench.measure(f"{case} (made)", f"{_CONTESTANTS}:make_recordings", folder=folder, calls=calls)
                continue
            names = _STEPS if name == SECOND_RUN else (name.partition(",")[0],)
            measured = bench.measure(
                case,
                f"{_CONTESTANTS}:steps_of_day",
                most_seconds=_LIMIT_SECONDS,
                names=names,
                folder=folder,
                calls=calls,
                is_audio_made=is_audio_made and name != "calls",
            )
            measures.add(name, calls, measured)


def _source_row(measured: Measure) -> Row:
    each = measured.cpu_seconds / measured.facts["units"] * 1e6
    return Row(f"{measured.facts['units']:,} calls", "the source only", f"{each:.1f} µs each", how="measured")


def _step_rows(measures: _Measures, sizes: _Sizes) -> Iterator[Row]:
    for calls in sizes.days:
        for step in _ORDER:
            measured = measures.of(step).get(calls)
            if measured is not None:
                yield _step_row(step, calls, measured, "measured")
            elif step == _MOVED and (computed := _compute_moved(measures, calls)) is not None:
                yield _step_row(step, calls, computed, "computed")
        if calls == sizes.days[1] and (moved := measures.of(_MOVED).get(sizes.only_moved)) is not None:
            yield _step_row(_MOVED, sizes.only_moved, moved, "measured")


def _step_row(step: str, calls: int, measured: Measure, how: str) -> Row:
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
        how=how,
    )


def _compute_moved(measures: _Measures, calls: int) -> Measure | None:
    """Compute the step `recordings` of a larger day: by what an additional call costs between the measured sizes."""
    sizes = sorted(measures.of(_MOVED))[-2:]
    if len(sizes) < 2:
        return None
    small, large = (measures.of(_MOVED)[size] for size in sizes)
    times = (calls - sizes[1]) / (sizes[1] - sizes[0])

    def extend(small_figure: float, large_figure: float) -> float:
        return large_figure + max(0.0, large_figure - small_figure) * times

    facts = {name: round(extend(small.facts[name], large.facts[name])) for name in ("api", "s3", "s3_writes")}
    return Measure(
        extend(small.seconds, large.seconds),
        extend(small.cpu_seconds, large.cpu_seconds),
        round(extend(small.peak_bytes, large.peak_bytes)),
        facts,
    )


def _growth_rows(measures: _Measures) -> Iterator[Row]:
    for step in _ORDER:
        of_step = measures.of(step)
        known = sorted(of_step)[-3:]
        if len(known) < 3:
            continue
        costs = [_cost_of_additional_call(of_step, *known[at : at + 2]) for at in (0, 1)]
        texts = [f"{cost * 1e6:.1f} µs up to {size:,} calls" for cost, size in zip(costs, known[1:], strict=True)]
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


def _use_of(measures: _Measures, sizes: _Sizes) -> DayUse | None:
    """Add up what the seven steps of the largest day used; None where one of them failed."""
    calls = sizes.days[-1]
    others = [measures.of(step).get(calls) for step in _STEPS if step != _MOVED]
    moved = measures.of(_MOVED).get(calls) or _compute_moved(measures, calls)
    known = [one for one in (*others, moved) if one is not None]
    if moved is None or len(known) < len(_STEPS):
        return None
    return DayUse(
        calls=calls,
        api_requests=sum(one.facts["api"] for one in known),
        s3_writes=sum(one.facts["s3_writes"] for one in known),
        s3_reads=sum(one.facts["s3"] - one.facts["s3_writes"] for one in known),
        other_seconds=sum(one.seconds for one in others if one is not None),
        peak_bytes=max(one.peak_bytes for one in (moved, *measures.of_size(calls))),
    )


_NOTES = (
    "Each step runs in a fresh process that has loaded the definitions, over the same folder, so that it finds what "
    "the steps before it have written. The source makes its answers when it is asked: a list that is proved, pages of "
    f"{_CALLS_PER_PAGE} calls with transcripts of about 600 characters, one call in a hundred flagged. The store is a "
    "folder; of audio it keeps key and size. Recordings have 60 kB. Of the largest day the table `recordings` is made, "
    "and moving its audio computed from the sizes before. Nothing is sent over a network, no JSON is parsed and no "
    "TLS used: `make bench` measures these. An additional call's cost is of CPU, between a size and the one before; "
    "a cheaper one reaches the target, too."
)
