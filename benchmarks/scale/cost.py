"""Compute what a day costs: requests, money, time and machines."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil

from benchmarks.results import COSTS_OF_DAY, RESULTS, read_results
from benchmarks.sizing import BYTES_PER_AUDIO_SECOND, EXAMPLE_SECONDS
from benchmarks.table import Row, Section
from kros_pipeline.core.s3_prices import LIST_PRICES, estimate_month_usd
from kros_pipeline.source.plans import PLANS

_JANUARY = datetime(2025, 1, 31, tzinfo=UTC)


@dataclass(frozen=True)
class DayUse:
    """What all seven steps of a day used.

    `other_seconds` are those of the steps but `recordings`. `peak_bytes` is the most that a process held, that of
    a second run, the sealing or the verification of the day, too.
    """

    calls: int
    api_requests: int
    s3_writes: int
    s3_reads: int
    other_seconds: float
    peak_bytes: float


def cost_section(use: DayUse) -> Section:
    """Compute the costs of a day, with audio of usual length, at the speed that `make bench` has measured."""
    measured = read_results(RESULTS.read_text("utf-8"))
    audio_bytes = use.calls * EXAMPLE_SECONDS * BYTES_PER_AUDIO_SECOND
    move_seconds = use.calls / measured.recordings_per_second
    hours = (move_seconds + use.other_seconds) / 3600
    requests_usd = use.s3_writes / 1000 * LIST_PRICES.per_1000_writes + use.s3_reads / 1000 * LIST_PRICES.per_1000_reads
    plans = [plan for plan in PLANS.values() if plan.requests_per_second and plan.requests_per_day]
    rows = [
        ("requests to KrosAI", f"{use.api_requests:,}", "computed: the sum of the steps"),
        *(
            (
                f"their share of plan {plan.name}'s day, and the time at its rate",
                f"{100 * use.api_requests / (plan.requests_per_day or 1):,.0f} %, "
                f"{use.api_requests / (plan.requests_per_second or 1) / 60:,.0f} minutes",
                "computed",
            )
            for plan in plans
        ),
        (
            "requests to S3",
            f"{use.s3_writes:,} writes and lists, {use.s3_reads:,} reads",
            "computed: the sum of the steps",
        ),
        ("price of these requests", f"{requests_usd:,.2f} USD", f"computed: list prices of {LIST_PRICES.as_of}"),
        (
            "audio, 3 minutes a call",
            f"{audio_bytes / 1e12:.2f} TB; {estimate_month_usd(audio_bytes, 0, 0, _JANUARY):,.0f} USD a month",
            "computed: 96 kbit/s, list prices",
        ),
        (
            "time to move it, one machine of two cores",
            f"{move_seconds / 3600:.2f} hours, at {audio_bytes * 8 / move_seconds / 1e9:.1f} Gbit/s",
            f"computed from {measured.recordings_per_second:.0f} recordings/s, measured with TLS and 50 ms",
        ),
        ("time of the other steps", f"{use.other_seconds / 60:.1f} minutes", "measured"),
        (
            "machines of two cores",
            f"{ceil(hours / 24)}, busy {hours:.1f} of 24 hours; {use.peak_bytes / 1e6:,.0f} MB at most",
            "computed",
        ),
    ]
    return Section(
        f"What a day of {use.calls:,} calls costs",
        "Where the list has recordings and whole transcripts. Requests for the transcripts of single calls would add "
        "one a call.",
        [Row(COSTS_OF_DAY.format(use.calls), what, figure, how=how) for what, figure, how in rows],
    )
