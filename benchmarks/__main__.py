"""Run the benchmarks: `python -m benchmarks [--quick] [--only moving,memory]`.

Print the tables, and write their part of results.md after a full run.
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import dagster_overhead, enumerating, memory, moving, reading, requests_count, utterances
from benchmarks.table import as_markdown, as_text, replace_part

_SECTIONS = {
    "moving": moving.run,
    "memory": memory.run,
    "requests": requests_count.run,
    "enumerating": enumerating.run,
    "utterances": utterances.run,
    "dagster_overhead": dagster_overhead.run,
    "reading": reading.run,
}
_NOTES = (
    "A result is the median of its rounds, followed by the least and the most. Contestants take turns in each round, "
    "each in its own process, so that noise affects all of them: compare only ratios within one run. Source, sink and "
    "contestant share the machine's cores; CPU and peak RSS are of the contestant only."
)


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser("python -m benchmarks")
    parser.add_argument("--quick", action="store_true", help="less data and one round; takes two minutes")
    parser.add_argument("--only", help=f"names, separated by commas: {','.join(_SECTIONS)}")
    options = parser.parse_args()
    names = options.only.split(",") if options.only else list(_SECTIONS)
    began, sections = datetime.now(UTC), []
    for name in names:
        sections.append(_SECTIONS[name](is_quick=options.quick))
        print(as_text(sections[-1]), flush=True)
    if not options.quick and not options.only:
        results = Path(__file__).with_name("results.md")
        part = as_markdown("Results", _NOTES, sections, "make bench", began)
        results.write_text(replace_part(results.read_text("utf-8"), part), "utf-8")
        print(f"Wrote {results}.")
    missed_targets = [
        f"{row.case}: {row.contestant}" for section in sections for row in section.rows if row.reached is False
    ]
    print(f"Targets missed: {'; '.join(missed_targets)}." if missed_targets else "Every target was reached.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
