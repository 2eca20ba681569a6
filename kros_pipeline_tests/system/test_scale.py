"""`make scale` at a small size: every part runs, says how each figure is known, and survives what fails beside it."""

from __future__ import annotations

import re

import pytest

from benchmarks.results import COSTS_OF_DAY
from benchmarks.scale.__main__ import PARTS, run
from benchmarks.scale.bench import Bench
from benchmarks.scale.contestants import DAY
from benchmarks.scale.made_calls import MadeCalls
from benchmarks.scale.made_source import MadeSource
from benchmarks.table import Row, Section, replace_part
from kros_pipeline.core.days import end_of, start_of
from kros_pipeline.source.call_source import Window
from kros_pipeline_tests.support.accounts import AFTER_GRACE
from kros_pipeline_tests.support.clocks import clock_without_waits


def test_every_part_measures_something_and_says_how_each_figure_is_known() -> None:
    sections, failures = run(PARTS, is_quick=True)
    assert failures == []
    rows = [row for section in sections for row in section.rows]
    assert all(re.match("measured|computed", row.how) for row in rows)
    assert all(row.how == "measured" for row in rows if row.requests), "no step's figures are computed"
    machines = next(
        row for row in rows if (row.case, row.contestant) == (COSTS_OF_DAY.format(1_000), "machines of two cores")
    )
    most = max(row.peak_bytes or 0 for row in rows if row.case == "1,000 calls")
    assert f" {most / 1e6:,.0f} MB at most" in machines.result, "of a second run, the sealing and the verification, too"
    bounded = [row for row in rows if "requests more" in row.target]
    assert len(bounded) == 4 and all(row.reached for row in bounded)


def test_a_part_that_fails_is_named_and_the_others_go_on() -> None:
    def broken(bench: Bench) -> list[Section]:
        bench.measure("broken", "benchmarks.scale.contestants:list_only", calls=0)
        raise AssertionError("unreachable: a day of no calls has no distance between them")

    def fine(bench: Bench) -> list[Section]:
        return [Section("fine", "", [Row("", "", "1", how="measured")])]

    sections, failures = run({"broken": broken, "fine": fine}, is_quick=True)
    assert [section.title for section in sections] == ["fine"]
    assert failures == ["part broken"]


@pytest.mark.parametrize("count", [1, 7, 250])
def test_the_made_source_lists_every_call_once_and_names_its_window_exactly(count: int) -> None:
    made = MadeCalls(DAY, count, AFTER_GRACE)
    source = MadeSource(made, clock_without_waits(lambda: AFTER_GRACE))
    whole = Window(start_of(DAY), end_of(DAY))
    ids = [listed.call.call_id for page in source.pages(whole) for listed in page.calls]
    assert sorted(ids) == list(made.sorted_ids()) and len(set(ids)) == count
    assert [made.number_of(call_id) for call_id in ids] == list(range(count - 1, -1, -1))
    for number in (0, count // 2, count - 1):
        at = made.created_at(number)
        assert list(made.between(at, at)) == [number]
        assert number in made.between(start_of(DAY), at) and number in made.between(at, end_of(DAY))
    assert len({made.sha256(number) for number in range(count)}) == count


def test_each_command_replaces_its_own_part_of_the_results() -> None:
    page = "# Results\n\nold\n\n## 1. One\n"
    both = replace_part(page, "# Scale\n\nmany\n")
    assert both == "# Results\n\nold\n\n## 1. One\n\n# Scale\n\nmany\n"
    assert replace_part(both, "# Results\n\nnew\n") == "# Results\n\nnew\n\n# Scale\n\nmany\n"
    assert replace_part(both, "# Scale\n\nmore\n") == both.replace("many", "more")
