"""Count the API and S3 requests of a day, as the servers see them."""

from __future__ import annotations

from math import ceil

from benchmarks.contest import measure
from benchmarks.services import DAY, start_services
from benchmarks.table import Row, Section


def run(*, is_quick: bool) -> Section:
    """Count the first run of all steps of a day, and a second run."""
    calls = 300 if is_quick else 3_000
    budgets = {
        "first run": (2 * ceil(calls / 100) + 5, int(1.1 * calls + 60)),
        "again, complete": (ceil(calls / 100) + 3, int(0.01 * calls + 60)),
    }
    rows = []
    with start_services(calls, (1, 2)) as services:
        environment = services.environment()
        for case, (most_api, most_s3) in budgets.items():
            before = services.sink.counters()["requests"]
            services.source.reset_counters()
            measured = measure("benchmarks.pipeline_steps:day", environment, day=DAY)
            api = sum(services.source.counters()["requests_by_route"].values())
            s3 = sum(services.sink.counters()["requests"].values()) - sum(before.values())
            rows.append(
                Row(
                    f"{calls:,} calls",
                    case,
                    f"{measured.seconds:.1f} s, {measured.facts['verdict']}",
                    target=f"at most {most_api} API, {most_s3:,} S3",
                    reached=api <= most_api and s3 <= most_s3 and measured.facts["verdict"] == "complete",
                    peak_bytes=measured.peak_bytes,
                    requests=f"{api} API, {s3:,} S3",
                )
            )
    return Section("3. Requests", "All seven steps in one process; the list contains the whole transcripts.", rows)
