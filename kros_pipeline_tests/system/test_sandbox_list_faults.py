"""Each fault of the call list does what its name says."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from kros_pipeline.sandbox import Fault, Faults
from kros_pipeline.sandbox.faults import HEAVY, MALFORMED
from kros_pipeline_tests.support.sandbox_client import PLAIN, VARIED, InProcessApi, inject


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


HEAVY_JSON: dict[str, bytes] = {
    "huge_integer": b'"metadata":{"heavy":' + b"7" * 5_000 + b"}",
    "deep": b'"metadata":{"heavy":' + b"[" * 1_000 + b"]" * 1_000 + b"}",
    "many_schemes": b'"metadata":{"heavy":"' + b"://" * 40_000 + b'"}',
}


@pytest.mark.parametrize("how", HEAVY)
def test_a_heavy_row_is_a_good_call_with_costly_metadata(how: str) -> None:
    good = inject().all_calls()
    api = inject(list_heavy=Fault(calls=(good[3]["id"],), value=how))
    body = bytes(api.answer("GET", "/calls").body)
    assert body.count(HEAVY_JSON[how]) == 1
    light = json.loads(body.replace(HEAVY_JSON[how], b'"metadata":{"heavy":1}'))["calls"]
    assert light[3].pop("metadata") == {"heavy": 1}
    assert light[3]["recording_url"].startswith("http://127.0.0.1:9/")
    assert [_without_url(row) for row in light] == [_without_url(call) for call in good]


def _without_url(call: dict[str, Any]) -> dict[str, Any]:
    return {**call, "recording_url": None}


def test_heavy_rows_are_of_every_kind_if_none_is_named_and_keep_their_metadata() -> None:
    api = InProcessApi(replace(VARIED, faults=Faults(list_heavy=Fault())))
    body = bytes(api.answer("GET", "/calls?limit=100").body)
    assert all(text.partition(b'"heavy":')[2] in body for text in HEAVY_JSON.values())
    assert body.count(b'"metadata"') == 100 and b'"campaign":' in body


@pytest.mark.parametrize(("name", "kinds"), [("list_heavy", HEAVY), ("list_malformed", MALFORMED)])
def test_an_unknown_kind_of_row_is_refused(name: str, kinds: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=f"{name} must be one of {', '.join(kinds)}, not 'soft'"):
        inject(**{name: Fault(value="soft")}).get("/calls")


@pytest.mark.parametrize(("value", "shown"), [(None, "archived"), ("on_hold", "on_hold")])
def test_a_row_can_show_an_odd_status_and_passes_the_filter(value: str | None, shown: str) -> None:
    good = inject().all_calls()
    api = inject(list_odd_status=Fault(share=0.3, value=value))
    calls = api.all_calls(status="completed")
    odd = [call["id"] for call in calls if call["status"] == shown]
    assert 3 < len(odd) < 30 and {call["status"] for call in calls} == {shown, "completed"}
    assert [{**call, "recording_url": None, "status": "completed"} for call in calls] == list(map(_without_url, good))
    assert api.get(f"/calls/{odd[0]}")["status"] == "completed"  # the fault is of the list


def test_faults_of_a_row_add_up() -> None:
    faults = Faults(
        list_odd_status=Fault(), list_heavy=Fault(value="many_schemes"), list_malformed=Fault(value="id_not_text")
    )
    api = InProcessApi(replace(PLAIN, faults=faults, listed_status="ended", times="local", zone_hours=1))
    row = api.get("/calls", limit=1)["calls"][0]
    assert (row["id"], row["status"], row["recording_url"]) == (12345, "archived", None)
    assert row["created_at"].endswith("+01:00") and row["metadata"]["heavy"].startswith("://://")


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


@pytest.mark.parametrize("dialect", ["offset", "page"])
def test_after_each_page_one_of_its_calls_is_swapped_and_no_later_page_shows_it(dialect: Any) -> None:
    api = InProcessApi(replace(PLAIN, dialect=dialect, faults=Faults(list_swapping=Fault())))
    before = [call.id for call in api.world.list_final_calls()]
    positions: list[dict[str, int]] = [{"offset": 10 * n, "page": n + 1} for n in range(5)]
    pages = [api.get("/calls", limit=10, status="completed", **position) for position in positions]
    assert [page["total"] for page in pages] == [45] * 5
    listed = {call["id"] for page in pages for call in page.get("calls", page.get("data"))}
    after = {call.id for call in api.world.list_final_calls()}
    assert listed == set(before)  # 45 of 45, and yet:
    assert len(after) == 45 and len(after - listed) == 5
    removed = next(iter(listed - after))
    assert api.refusal("GET", f"/calls/{removed}") == (404, "NOT_FOUND")


def test_a_call_that_was_swapped_in_differs_in_id_and_text_only() -> None:
    good = inject().all_calls()
    api = inject(list_swapping=Fault(calls=(good[3]["id"],)))
    api.get("/calls", limit=3)  # does not show the call
    assert [call["id"] for call in api.get("/calls", limit=45)["calls"]] == [call["id"] for call in good]
    calls = api.all_calls()
    [new] = [call for call in calls if call["id"] not in {call["id"] for call in good}]
    assert {name for name in new if new[name] != good[3][name]} == {"id", "recording_url", "transcript"}
    assert api.all_calls(from_date=new["created_at"], to_date=new["created_at"])[0]["id"] == new["id"]
    assert [call["id"] for call in api.all_calls()] == [call["id"] for call in calls]  # it was swapped once


def test_a_page_can_complete_remove_and_swap_calls_at_once() -> None:
    api = inject(list_completing=Fault(), list_vanishing=Fault(), list_swapping=Fault())
    for _ in range(150):
        api.get("/calls", limit=10)
    assert api.get("/calls")["total"] == len(api.world.list_final_calls()) < 45
