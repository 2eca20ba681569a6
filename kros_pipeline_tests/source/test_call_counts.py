"""Upstream's own counts, in the shapes that they may have."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from kros_pipeline.source.call_counts import read_statistics, read_trends

DAY = date(2025, 1, 10)


@pytest.mark.parametrize(
    ("answer", "counters"),
    [
        (
            {"total_calls": 7, "completed_calls": 5},
            [("stats.completed_calls", 5, True), ("stats.total_calls", 7, False)],
        ),
        ({"stats": {"completed": 5}}, [("stats.completed", 5, True)]),
        ({"data": {"total": 7, "by_status": {"completed": 5}}}, [("stats.total", 7, False)]),
        ({"by_status": {"completed": 5, "failed": 2}}, [("stats.completed", 5, True)]),
        ({"completed": 5, "stats": {"completed": 4}}, [("stats.completed", 5, True)]),
        ({"completed": "5", "total": -1, "count": True, "calls": [{"id": "a"}]}, []),
        ({"completed": 1 << 70}, []),
        ({}, []),
    ],
)
def test_statistics_are_read_where_their_shape_is_readable(
    answer: dict[str, Any], counters: list[tuple[str, int, bool]]
) -> None:
    assert [(c.name, c.value, c.counts_completed) for c in read_statistics(answer)] == counters


@pytest.mark.parametrize(
    ("answer", "counters"),
    [
        (
            {"trends": [{"date": "2025-01-09", "completed": 9}, {"date": "2025-01-10", "completed": 5}]},
            [("completed", 5)],
        ),
        ({"data": [{"day": "2025-01-10T00:00:00Z", "total": 7, "completed": 5}]}, [("completed", 5), ("total", 7)]),
        ({"2025-01-10": 7, "2025-01-11": 8}, [("", 7)]),
        ({"trends": {"2025-01-10": {"completed_calls": 5}}}, [("completed_calls", 5)]),
        ({"daily": {"2025-01-10": 7}}, [("", 7)]),
        ({"trends": [{"date": "2025-01-09", "completed": 9}]}, []),
        ({"trends": [{"date": "2025-01-10", "completed": 9}, {"date": "2025-01-10", "completed": 5}]}, []),
        ({"trends": [{"date": "2025-01-10", "completed": None}, 3, None, [], {"date": 7}]}, []),
        # the list, of a deployment that does not know the action
        ({"calls": [{"id": "a", "created_at": "2025-01-10T10:00:00Z", "duration": 5}], "total": 60, "limit": 50}, []),
        ({"data": [{"id": "a", "created_at": "2025-01-10T10:00:00Z"}], "total": 60, "page": 1}, []),
        ({}, []),
    ],
)
def test_trends_are_read_where_they_show_the_day_once(answer: dict[str, Any], counters: list[tuple[str, int]]) -> None:
    found = [(c.name.removeprefix("trends").removeprefix("."), c.value) for c in read_trends(answer, DAY)]
    assert found == counters
