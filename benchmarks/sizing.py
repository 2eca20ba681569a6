"""Write docs/sizing.md: what an archive needs of a machine, of time and of the account's quota.

`python -m benchmarks.sizing` writes the page from `results.md`, the plans and the rule of the quota; a test compares.
Each figure is marked: measured, by the benchmarks or once by hand, or computed from such figures.
"""

import sys
import textwrap
from math import ceil
from pathlib import Path

from benchmarks.results import RESULTS, Measured, Million, read_million, read_results
from kros_pipeline.core.request_quota import QuotaDay, QuotaRule, RunKind
from kros_pipeline.old_runs import KEPT_DAYS
from kros_pipeline.source.plans import PLANS, Plan

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/sizing.md"

CALLS_PER_PAGE = 100
FIXED_REQUESTS = 9  # totals of the day and its halves, the first pages again, two counters
DAYS_PER_HOUR = 3  # that owed_days_schedule takes up
BYTES_PER_AUDIO_SECOND = 12_000  # 96 kbit/s, as KrosAI documents
EXAMPLE_SECONDS = 180
EXAMPLE_CALLS = (100, 1_000, 10_000)
# By hand, in November 2026, on the machine of results.md: resident memory after a minute, growth by one run of a day.
PROCESS_MEGABYTES = {"code server": 137, "web server": 157, "daemon": 133}
KILOBYTES_PER_RUN = 528
RUNS_PER_DAY = 30  # a day, the hourly look, and a few more


def requests_of_day(calls: int, *, asks_each_call: bool = False) -> int:
    """Return the API requests of a day: its pages twice, a few more, and one for each call where that is needed."""
    return 2 * ceil(calls / CALLS_PER_PAGE) + FIXED_REQUESTS + (calls if asks_each_call else 0)


def most_calls_of_run(budget: int, *, asks_each_call: bool) -> int:
    """Return the most calls of a day that one run lists and archives within a budget of requests."""
    low, high = 0, budget * CALLS_PER_PAGE
    while low < high:
        middle = (low + high + 1) // 2
        fits = requests_of_day(middle, asks_each_call=asks_each_call) <= budget
        low, high = (middle, high) if fits else (low, middle - 1)
    return low


def describe_quota_days(requests_per_day: int, days: int, requests_of_one_day: int) -> str:
    """Return over how many days of quota a catch-up of so many days goes, while each day's newest day comes first."""
    rule = QuotaRule(requests_per_day, requests_per_day // 2)
    done = QuotaDay(sent={RunKind.NEWEST_DAY: requests_of_one_day}, is_newest_day_done=True)
    for_older_days = rule.available(done, RunKind.OLDER_DAY)
    if not for_older_days:
        return "**no end: the newest day needs all of it**"
    needed = ceil(days * requests_of_one_day / for_older_days)
    return f"**{needed}**" if needed >= days else str(needed)


def render(measured: Measured, million: Million) -> str:
    """Return the page."""
    parts = [
        _HEAD,
        _per_thousand(measured),
        _memory(measured, million),
        _million(million),
        _per_plan(),
        _first_catch_up(),
    ]
    return "\n\n".join(parts) + "\n"


def _table(columns: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [columns, ["---"] * len(columns), *rows])


def _prose(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), 120)


def _per_thousand(measured: Measured) -> str:
    move_seconds = 1_000 / measured.recordings_per_second
    audio_gb = 1_000 * EXAMPLE_SECONDS * BYTES_PER_AUDIO_SECOND / 1e9
    text_cpu_seconds = measured.list_cpu_ms + measured.turns_cpu_seconds_of_30_000 / 30
    rows = [
        [
            "API requests, where the list has recordings and whole transcripts",
            f"{requests_of_day(1_000):,}",
            f"computed: 2 × 10 pages + {FIXED_REQUESTS}; measured for 3,000 calls: {measured.api_requests_of_3_000}",
        ],
        [
            "API requests, where each call is asked for (`KROS_TRANSCRIPT_DETAILS=always`)",
            f"{requests_of_day(1_000, asks_each_call=True):,}",
            "computed: one more a call",
        ],
        [
            "requests to S3",
            f"{measured.s3_requests_of_3_000 / 3:,.0f}",
            f"computed from {measured.s3_requests_of_3_000:,} for 3,000 calls, measured",
        ],
        [
            "time to move the audio (2 MB each)",
            f"{move_seconds:.0f} s",
            f"computed from {measured.recordings_per_second:.0f} recordings/s, measured with TLS and 50 ms latency",
        ],
        ["CPU for the audio", f"{measured.audio_cpu_ms:.1f} s", "measured, of one core"],
        ["CPU for list and turns", f"{text_cpu_seconds:.1f} s", "computed from measured figures"],
        [
            f"audio in S3, {EXAMPLE_SECONDS // 60} minutes a call",
            f"{audio_gb:.2f} GB",
            "computed: 96 kbit/s, as KrosAI documents",
        ],
        [
            "table `utterances` in S3, 14 turns a call",
            f"{measured.table_megabytes_of_180_000 / 180:.1f} MB",
            "computed from a measured table of 180,000 calls",
        ],
    ]
    overhead = f"Each day costs {measured.empty_day_seconds:.1f} s more, for Dagster (measured)."
    return "\n\n".join(["## Per 1,000 calls", _table(["what", "per 1,000 calls", "how"], rows), overhead])


def _memory(measured: Measured, million: Million) -> str:
    rows = [[f"{name}, always running", f"{mb} MB", "measured"] for name, mb in PROCESS_MEGABYTES.items()]
    rows += [
        ["a run while it moves audio (`KROS_DOWNLOAD_WORKERS=32`)", f"{measured.audio_peak_mb} MB", "measured"],
        *(
            [f"a run while it lists a day of {calls:,} calls", f"{mb} MB", "measured"]
            for calls, mb in measured.peak_mb_by_calls.items()
        ),
        ["a run while it splits a day of 1,000,000 calls", f"{measured.turns_peak_mb_of_a_million} MB", "measured"],
        ["a second run of a day of 1,000,000 calls, all steps", f"{million.peak_mb:,} MB", "measured"],
        ["one machine, one run, days of 10,000 calls", f"{_machine_mb(measured):,} MB", "computed: the sum"],
    ]
    kept_gb = KILOBYTES_PER_RUN * RUNS_PER_DAY * KEPT_DAYS / 1e6
    disk = _prose(
        f"""Disk: {KILOBYTES_PER_RUN} kB for each run in Dagster's own storage (measured, on SQLite), so about
        {kept_gb:.1f} GB for {RUNS_PER_DAY} runs a day, which are kept for {KEPT_DAYS} days (computed). Recordings
        larger than 32 MB pass through
        a temporary file: keep as much free as the largest recording times `KROS_DOWNLOAD_WORKERS`, at most 16 GiB; and
        0.4 GB more for each million calls of a day, twice that where the list has no date filter. Each of
        `KROS_PARALLEL_DAYS` is one more run at a time: its memory adds up, and its CPU, too. Beside the days go up to
        two other runs, such as the hourly look and the verification."""
    )
    return "\n\n".join(["## Memory and disk", _table(["what", "memory, at most", "how"], rows), disk])


def _million(million: Million) -> str:
    before = _prose(
        f"""Recordings of {EXAMPLE_SECONDS // 60} minutes, where the list has recordings and whole transcripts. The
        [results](../benchmarks/results.md#one-day-of-up-to-a-million-calls) have each step's memory and time."""
    )
    rows = [list(row) for row in million.costs]
    return "\n\n".join(["## A day of a million calls", before, _table(["what", "a day", "how"], rows)])


def _plans() -> list[tuple[Plan, int, int, int]]:
    """Return each plan that has figures, with its requests per second, its requests per day and its retention."""
    return [
        (plan, plan.requests_per_second, plan.requests_per_day, plan.default_retention_days)
        for plan in PLANS.values()
        if plan.requests_per_second and plan.requests_per_day and plan.default_retention_days
    ]


def _per_plan() -> str:
    before = _prose(
        """One run uses at most half of the plan's day, and all runs share the day's quota. A larger day is continued by
        the next run. All computed."""
    )
    columns = ["plan", "requests/s", "requests/day", "calls that one run can archive", "where each call is asked for"]
    rows = [
        [
            plan.name,
            str(per_second),
            f"{per_day:,}",
            f"{most_calls_of_run(per_day // 2, asks_each_call=False):,}",
            f"{most_calls_of_run(per_day // 2, asks_each_call=True):,}",
            f"{1_000 / per_second:.0f} s",
        ]
        for plan, per_second, per_day, _ in _plans()
    ]
    after = "Enterprise's figures are by contract: set `KROSAI_REQUESTS_PER_SECOND` and `KROSAI_RETENTION_DAYS`."
    return "\n\n".join(["## Per plan", before, _table([*columns, "time to ask for 1,000 calls"], rows), after])


def _first_catch_up() -> str:
    before = _prose(
        f"""The schedule takes up {DAYS_PER_HOUR} days an hour, the one that KrosAI deletes first at the front. Older
        days have what the quota of the newest day leaves. All computed. **A catch-up that takes more days of quota than
        KrosAI keeps recordings loses some**: ask for each call only later, or take a larger plan meanwhile."""
    )
    each = "where each call is asked for"
    columns = ["plan", "calls a day", "days kept", "by the schedule", "requests", "days of quota"]
    rows = []
    for plan, _, per_day, days in _plans():
        for calls in EXAMPLE_CALLS:
            cells = [plan.name, f"{calls:,}", str(days), f"{days / DAYS_PER_HOUR:.0f} hours"]
            for asks in (False, True):
                newest = requests_of_day(calls, asks_each_call=asks)
                cells += [f"{days * newest:,}", describe_quota_days(per_day, days, newest)]
            rows.append(cells)
    table = _table([*columns, f"requests, {each}", f"days of quota, {each}"], rows)
    after = "A backfill in the Dagster UI does not wait for the schedule: it takes as long as its days do."
    return "\n\n".join(["## The first catch-up", before, table, after])


def _machine_mb(measured: Measured) -> int:
    return sum(PROCESS_MEGABYTES.values()) + max(measured.audio_peak_mb, measured.peak_mb_by_calls[10_000])


def write_page() -> None:
    """Write the page from the results."""
    results = RESULTS.read_text("utf-8")
    PAGE.write_text(render(read_results(results), read_million(results)), "utf-8")
    sys.stdout.write(f"{PAGE.relative_to(ROOT)} is written.\n")


_HEAD = """# Sizing

How much machine, time and quota an archive needs. Written by `python -m benchmarks.sizing` from
[the benchmarks](../benchmarks/results.md) and the plans. Measured figures are of that page's machine, two cores; CPU
scales with the clock, time with the latency to KrosAI and S3."""

if __name__ == "__main__":
    write_page()
