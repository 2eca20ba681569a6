"""What a day costs the account's quota, and the bucket: as the servers count it."""

from __future__ import annotations

from math import ceil

from benchmarks.contest import measure
from benchmarks.outside import DAY, outside
from benchmarks.table import Row, Section


def run(*, is_quick: bool) -> Section:
    """All steps of a day, and all of them again."""
    calls = 300 if is_quick else 3_000
    budgets = {
        "first run": (2 * ceil(calls / 100) + 5, int(1.1 * calls + 60)),
        "again, complete": (ceil(calls / 100) + 3, int(0.01 * calls + 60)),
    }
    rows = []
    with outside(calls, (1, 2)) as world:
        environment = world.environment()
        for case, (most_api, most_s3) in budgets.items():
            before = world.sink.counters()["requests"]
            world.source.reset_counters()
            measured = measure("benchmarks.ours:day", environment, day=DAY)
            api = sum(world.source.counters()["requests_by_route"].values())
            s3 = sum(world.sink.counters()["requests"].values()) - sum(before.values())
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
    return Section("3. Requests", "All seven steps in one process, transcripts whole in the list.", rows)
