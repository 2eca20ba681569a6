"""Each fault of the call list does what its name says."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from kros_pipeline.sandbox import Fault
from kros_pipeline.sandbox.faults import MALFORMED
from kros_pipeline_tests.support.sandbox_client import inject


def test_a_list_of_unknown_shape_has_neither_calls_nor_data() -> None:
    page = inject(list_unknown_shape=Fault()).get("/calls")
    assert sorted(page) == ["count", "items"]


def test_a_list_can_be_html_instead_of_json() -> None:
    answer = inject(list_not_json=Fault()).answer("GET", "/calls")
    assert (answer.status, answer.content_type) == (200, "text/html")


MALFORMED_ROWS: dict[str, Callable[[Any], bool]] = {
    "missing_id": lambda row: "id" not in row,
    "id_not_text": lambda row: row["id"] == 12345,
    "missing_created_at": lambda row: "created_at" not in row,
    "unreadable_created_at": lambda row: row["created_at"] == "yesterday at noon",
    "not_an_object": lambda row: isinstance(row, str),
}


@pytest.mark.parametrize("how", MALFORMED)
def test_a_malformed_call_stands_among_good_calls(how: str) -> None:
    good = inject().all_calls()
    api = inject(list_malformed=Fault(calls=(good[3]["id"],), value=how))
    rows = api.get("/calls")["calls"]
    assert len(rows) == 45 and MALFORMED_ROWS[how](rows[3])
    assert [row["id"] for row in rows[:3] + rows[4:]] == [call["id"] for call in good[:3] + good[4:]]


def test_malformed_calls_are_of_every_kind_if_none_is_named() -> None:
    rows = inject(list_malformed=Fault()).get("/calls")["calls"]
    assert all(any(_is(row) for row in rows) for _is in map(_safely, MALFORMED_ROWS.values()))


def _safely(test: Callable[[Any], bool]) -> Callable[[Any], bool]:
    def holds(row: Any) -> bool:
        try:
            return test(row)
        except (KeyError, TypeError):
            return False

    return holds


def test_a_wrong_total_is_the_same_on_all_pages_of_a_pass() -> None:
    api = inject(list_total_wrong=Fault(attempts=2, value=-3))
    totals = [api.get("/calls", limit=20, offset=offset)["total"] for _ in range(3) for offset in (0, 20, 40)]
    assert totals == [42] * 6 + [45] * 3


def test_an_ignored_offset_answers_the_first_page() -> None:
    api = inject(list_offset_ignored=Fault())
    assert api.get("/calls", limit=5, offset=20)["calls"][0]["id"] == api.get("/calls", limit=5)["calls"][0]["id"]


def test_an_ignored_limit_is_reported_by_the_answer() -> None:
    page = inject(list_limit_ignored=Fault()).get("/calls", limit=100)
    assert (len(page["calls"]), page["limit"], page["total"]) == (20, 20, 45)


def test_ignored_filters_answer_all_calls() -> None:
    api = inject(list_dates_ignored=Fault(), list_status_ignored=Fault())
    assert api.get("/calls", from_date="2030-01-01T00:00:00Z", status="failed")["total"] == 45


def test_duplicates_are_listed_in_a_row_while_total_counts_distinct_calls() -> None:
    api = inject(list_duplicates=Fault(share=0.3))
    ids = [call["id"] for call in api.all_calls()]
    assert len(ids) > 50 and len(set(ids)) == 45 == api.get("/calls")["total"]


def test_one_call_completes_after_each_page() -> None:
    api = inject(list_completing=Fault(share=0.3))
    totals = [api.get("/calls", status="completed", limit=10)["total"] for _ in range(30)]
    assert totals[0] < 40 and totals[-1] == 45
    assert all(after - before in (0, 1) for before, after in pairwise(totals))


def test_one_call_vanishes_after_each_page() -> None:
    api = inject(list_vanishing=Fault(share=0.1))
    totals = [api.get("/calls", limit=10)["total"] for _ in range(30)]
    assert totals[0] == 45 and totals[-1] == len(api.world.list_final_calls()) < 45


def test_a_call_can_vanish_before_it_completes() -> None:
    api = inject(list_completing=Fault(), list_vanishing=Fault())
    for _ in range(60):
        api.get("/calls")
    assert api.get("/calls")["total"] == 0 == len(api.world.list_final_calls())
