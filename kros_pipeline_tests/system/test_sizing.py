"""The sizing guide: computed from the benchmarks, the plans and the quota's rule, and written as it is computed."""

from __future__ import annotations

import pytest

from benchmarks.results import RESULTS, read_million, read_results
from benchmarks.sizing import PAGE, describe_quota_days, most_calls_of_run, render, requests_of_day

MEASURED = read_results(RESULTS.read_text("utf-8"))
MILLION = read_million(RESULTS.read_text("utf-8"))


def test_the_page_is_what_is_computed() -> None:
    assert PAGE.read_text("utf-8") == render(MEASURED, MILLION), "run `python -m benchmarks.sizing`"


def test_each_figure_says_whether_it_is_measured_or_computed() -> None:
    rows = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ") and "---" not in line]
    marked = [row for row in rows if row.rstrip(" |").split("| ")[-1].startswith(("measured", "computed"))]
    assert len(marked) == 8 + 10 + len(MILLION.costs)
    for section in PAGE.read_text("utf-8").split("\n## ")[4:]:
        assert "All computed." in section


def test_the_requests_of_a_day_are_those_that_were_measured() -> None:
    assert requests_of_day(3_000) == pytest.approx(MEASURED.api_requests_of_3_000, abs=5)


@pytest.mark.parametrize(
    ("budget", "asks", "most"), [(500, False, 24_500), (500, True, 481), (9, False, 0), (11, True, 0)]
)
def test_the_most_calls_of_a_run_fit_its_budget_and_one_more_page_does_not(budget: int, asks: bool, most: int) -> None:
    assert most_calls_of_run(budget, asks_each_call=asks) == most
    assert requests_of_day(most + 1, asks_each_call=asks) > budget


@pytest.mark.parametrize(
    ("requests_per_day", "days", "requests", "shown"),
    [
        (1_000, 7, 29, "1"),
        (1_000, 7, 209, "3"),
        (1_000, 7, 460, "**8**"),  # KrosAI deletes after 7 days
        (1_000, 7, 900, "**no end: the newest day needs all of it**"),
        (50_000, 30, 10_209, "9"),
    ],
)
def test_a_catch_up_has_what_the_newest_day_leaves(requests_per_day: int, days: int, requests: int, shown: str) -> None:
    assert describe_quota_days(requests_per_day, days, requests) == shown


def test_a_results_page_without_a_row_is_refused() -> None:
    with pytest.raises(LookupError, match="no row '50 ms, TLS'"):
        read_results("| case | contestant |\n| --- | --- |\n")
    with pytest.raises(LookupError, match="no row '1,000,000 calls'"):
        read_million("| case | contestant |\n| --- | --- |\n")
