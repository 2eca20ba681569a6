"""Run `make scale`: `python -m benchmarks.scale [--quick] [--only days,years]`.

Print progress and the tables, and write their part of results.md, and docs/sizing.md, after a full run.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from benchmarks import sizing
from benchmarks.results import RESULTS
from benchmarks.scale import one_day, workers, years
from benchmarks.scale.bench import Bench
from benchmarks.table import Section, as_markdown, as_text, replace_part

_TITLE = "Scale"
_NOTES = (
    "Each figure is measured once, or computed from measured ones: its row says which. CPU and peak RSS are of the "
    "measured process only."
)
Part = Callable[[Bench], list[Section]]
PARTS: dict[str, Part] = {
    "days": one_day.run,
    "years": years.run,
    "workers": workers.run,
}


def run(parts: Mapping[str, Part], *, is_quick: bool) -> tuple[list[Section], list[str]]:
    """Run some parts. Return what they have measured, and the names of what failed; the others went on."""
    bench = Bench(lambda sentence: print(sentence, flush=True), is_quick=is_quick)
    sections = []
    for name, part in parts.items():
        bench.say(f"part {name}")
        try:
            measured = part(bench)
        except Exception as error:
            traceback.print_exc()
            bench.fail(f"part {name}", error)
            continue
        for section in measured:
            print(f"\n{as_text(section)}", flush=True)
        sections += measured
    return sections, bench.failures


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser("python -m benchmarks.scale")
    parser.add_argument("--quick", action="store_true", help="small sizes, in this process; writes nothing")
    parser.add_argument("--only", help=f"names, separated by commas: {','.join(PARTS)}")
    options = parser.parse_args()
    began = datetime.now(UTC)
    names = options.only.split(",") if options.only else list(PARTS)
    sections, failures = run({name: PARTS[name] for name in names}, is_quick=options.quick)
    if not options.quick and not options.only:
        notes = f"{_NOTES} **Failed: {'; '.join(failures)}.**" if failures else _NOTES
        part = as_markdown(_TITLE, notes, sections, "make scale", began)
        RESULTS.write_text(replace_part(RESULTS.read_text("utf-8"), part), "utf-8")
        print(f"Wrote {RESULTS}.")
        sizing.write_page()
    print(f"FAILED: {'; '.join(failures)}." if failures else "Nothing failed.")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
