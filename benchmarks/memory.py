"""Measure the peak memory of the `recordings` step for small and large files and days."""

from __future__ import annotations

from benchmarks.contest import measure, measure_idle_bytes
from benchmarks.services import DAY, start_services
from benchmarks.table import Row, Section

_MOST_BYTES = 300e6


def run(*, is_quick: bool) -> Section:
    """Measure small and large files, then small and large days."""
    small, large = (500, 2_000) if is_quick else (1_000, 20_000)
    rows = [
        _files("300 files of 2 MB", 300, (126, 207)),
        _files("40 files of 20 MB", 40, (1_600, 1_740)),
    ]
    peaks = {calls: _peak_bytes(calls, (1, 2)) for calls in (small, large)}
    growth = peaks[large] / peaks[small]
    rows += [
        Row("tiny files", f"a day of {small:,} calls", "", peak_bytes=peaks[small]),
        Row(
            "tiny files",
            f"a day of {large:,} calls",
            f"{growth:.2f} times the small day",
            target="at most 1.1 times",
            reached=growth <= 1.1,
            peak_bytes=peaks[large],
        ),
    ]
    return Section("2. Memory of the recordings step", "32 at once, no delay; one round each: peaks hardly vary.", rows)


def _files(case: str, calls: int, audio_seconds: tuple[int, int]) -> Row:
    peak = _peak_bytes(calls, audio_seconds)
    above = peak - measure_idle_bytes()
    return Row(
        case,
        "the recordings step",
        f"{above / 1e6:.0f} MB above an idle interpreter",
        target=f"at most {_MOST_BYTES / 1e6:.0f} MB",
        reached=above <= _MOST_BYTES,
        peak_bytes=peak,
    )


def _peak_bytes(calls: int, audio_seconds: tuple[int, int]) -> int:
    with start_services(calls, audio_seconds) as services:
        environment = services.environment()
        measure("benchmarks.pipeline_steps:calls", environment, day=DAY)
        return measure("benchmarks.pipeline_steps:recordings", environment, day=DAY).peak_bytes
