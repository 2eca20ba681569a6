"""Measure the `calls` step: how its cost grows with the day, and how close it comes to the plan's rate."""

from __future__ import annotations

from benchmarks.contest import Measure, Rounds, measure
from benchmarks.services import DAY, start_services
from benchmarks.table import Row, Section, cpu_each, spread

_PLAN_RATE = 50.0  # requests a second: Pro's


def run(*, is_quick: bool) -> Section:
    """Measure days of growing size, then a slow API at the rates of two plans."""
    sizes = (1_000, 5_000) if is_quick else (1_000, 10_000, 100_000)
    rows = []
    smaller: list[float] = []
    for calls in sizes:
        with start_services(calls, (1, 2)) as services:
            rounds = Rounds([_measure_list(services.environment()) for _ in range(1 if is_quick else 3)])
        slower = max(smaller, default=0.0) / rounds.rate()
        rows.append(
            Row(
                f"{calls:,} calls",
                "the calls step",
                spread(rounds.rates(), "calls/s"),
                target="each call at most 20 % slower than on any smaller day" if smaller else "",
                reached=slower <= 1.2 if smaller else None,
                cpu=cpu_each(rounds),
                peak_bytes=rounds.peak_bytes(),
                requests=f"{rounds.measures[0].facts['pages']} pages",
            )
        )
        smaller.append(rounds.rate())
    calls = 3_000 if is_quick else 10_000
    with start_services(calls, (1, 2)) as services:
        services.set_delay(0.05, includes_sink=False)
        for plan, rate in (("pro", _PLAN_RATE), ("business", 200.0)):
            limited = {"KROSAI_PLAN": plan, "KROSAI_REQUESTS_PER_SECOND": f"{rate:g}"}
            measured = _measure_list(services.environment() | limited)
            pages = measured.facts["pages"] / measured.seconds
            rows.append(
                Row(
                    f"{calls:,} calls, 50 ms",
                    f"plan {plan}, {rate:g} requests/s",
                    f"{pages:.0f} pages/s (one at a time: at most 20)",
                    target=f"at least {0.8 * rate:g} pages/s" if plan == "pro" else "",
                    reached=pages >= 0.8 * rate if plan == "pro" else None,
                    peak_bytes=measured.peak_bytes,
                    requests=f"{measured.facts['pages']} pages",
                )
            )
    return Section(
        "4. Enumerating",
        "Every list was proved complete. Each page of a hundred calls contains their transcripts.",
        rows,
    )


def _measure_list(environment: dict[str, str]) -> Measure:
    measured = measure("benchmarks.pipeline_steps:calls", environment, day=DAY)
    if not measured.facts["proved"]:
        raise RuntimeError("the list was not proved complete")
    return measured
