"""Sorted tables are joined as dicts would be, without being held."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kros_pipeline.core.sorted_lookup import SortedLookup, group_by_call, outer_join

ids = st.sets(st.text("abc", max_size=2))


def rows(call_ids: set[str], table: str) -> list[dict[str, Any]]:
    return [{"call_id": call_id, "of": table} for call_id in sorted(call_ids)]


@given(ids, ids)
def test_an_outer_join_has_each_row_of_both_once_in_order(left: set[str], right: set[str]) -> None:
    joined = list(outer_join(rows(left, "left"), rows(right, "right")))
    expected = []
    for call_id in sorted(left | right):
        sides = [
            {"call_id": call_id, "of": name} if call_id in known else None
            for name, known in (("left", left), ("right", right))
        ]
        expected.append(tuple(sides))
    assert joined == expected


def test_a_second_row_of_a_call_stands_alone() -> None:
    twice = [{"call_id": "a"}, {"call_id": "a"}]
    assert list(outer_join(twice, [{"call_id": "a"}])) == [
        ({"call_id": "a"}, {"call_id": "a"}),
        ({"call_id": "a"}, None),
    ]


@given(ids, ids)
def test_a_lookup_finds_what_is_there(known: set[str], asked: set[str]) -> None:
    lookup = SortedLookup(rows(known, "known"))
    found = {call_id for call_id in sorted(asked) if lookup.find(call_id) is not None}
    assert found == known & asked


def test_rows_are_grouped_by_call() -> None:
    turns = [{"call_id": "a", "turn": 0}, {"call_id": "a", "turn": 1}, {"call_id": "b", "turn": 0}]
    assert list(group_by_call(turns)) == [
        {"call_id": "a", "rows": turns[:2]},
        {"call_id": "b", "rows": turns[2:]},
    ]
