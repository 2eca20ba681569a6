"""The call list has the documented dialects, filters, order and fields."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from kros_pipeline_tests.support.sandbox_client import DAY, PLAIN, VARIED, InProcessApi


def test_the_offset_dialect_answers_calls_total_limit_and_offset(plain: InProcessApi) -> None:
    page = plain.get("/calls", offset=40)
    assert {name: page[name] for name in page if name != "calls"} == {"total": 45, "limit": 50, "offset": 40}
    assert len(page["calls"]) == 5


def test_the_page_dialect_answers_data_total_page_limit_and_total_pages() -> None:
    page = InProcessApi(replace(PLAIN, dialect="page")).get("/calls", page=3)
    facts = {name: page[name] for name in page if name != "data"}
    assert facts == {"total": 45, "page": 3, "limit": 20, "total_pages": 3}
    assert len(page["data"]) == 5


@pytest.mark.parametrize(("asked", "given"), [(1, 1), (100, 100), (101, 100), (5000, 100)])
def test_a_limit_is_never_more_than_100(plain: InProcessApi, asked: int, given: int) -> None:
    assert plain.get("/calls", limit=asked)["limit"] == given


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=-1", "limit=many", "offset=-1", "offset=1.5", "from_date=yesterday", "to_date=2025-13-01"],
)
def test_an_invalid_query_is_answered_with_400(plain: InProcessApi, query: str) -> None:
    assert plain.refusal("GET", f"/calls?{query}") == (400, "VALIDATION_ERROR")


def test_pages_cover_the_list_without_gap_or_overlap(plain: InProcessApi) -> None:
    pages = [plain.get("/calls", limit=10, offset=offset)["calls"] for offset in range(0, 50, 10)]
    assert [call["id"] for page in pages for call in page] == [call["id"] for call in plain.all_calls()]


@pytest.mark.parametrize("order", ["newest", "oldest", "shuffled"])
def test_the_list_has_a_stable_order(order: Any) -> None:
    times = [call["created_at"] for call in InProcessApi(replace(PLAIN, order=order)).all_calls()]
    assert times == [call["created_at"] for call in InProcessApi(replace(PLAIN, order=order)).all_calls()]
    assert (times == sorted(times), times == sorted(times, reverse=True)) == (order == "oldest", order == "newest")


@pytest.mark.parametrize("name", ["status", "direction", "phone_number_id", "endpoint_id"])
def test_the_values_of_an_equality_filter_partition_the_list(varied: InProcessApi, name: str) -> None:
    calls = varied.all_calls()
    values = {call[name] for call in calls}
    assert len(values) > 1
    for value in values:
        assert varied.all_calls(**{name: value}) and all(
            call[name] == value for call in varied.all_calls(**{name: value})
        )
    assert sum(len(varied.all_calls(**{name: value})) for value in values) == len(calls)


@pytest.mark.parametrize(
    ("changes", "to_date", "counts"),
    [
        ({}, "2025-01-10T23:59:59.500Z", True),  # to_date is inclusive, unless the config says otherwise
        ({"to_date_inclusive": False}, "2025-01-10T23:59:59.500Z", False),
        ({}, "2025-01-10T23:59:59Z", False),
        ({}, "2025-01-11T00:59:59.500+01:00", True),  # any offset
        ({"filter_by": "completed_at"}, "2025-01-10T23:59:59.500Z", False),  # it completed the next day
        ({"filter_reads_days_only": True}, "2025-01-10T01:00:00Z", True),
    ],
)
def test_the_time_filter_decides_whether_the_last_half_second_of_a_day_is_listed(
    changes: dict[str, Any], to_date: str, counts: bool
) -> None:
    api = InProcessApi(replace(VARIED, days=(DAY,), **changes))
    times = [call["created_at"] for call in api.all_calls(from_date="2025-01-10T00:00:00Z", to_date=to_date)]
    assert ("2025-01-10T23:59:59.500Z" in times) is counts


def test_a_listed_call_has_the_documented_fields(plain: InProcessApi) -> None:
    call = plain.get("/calls", limit=1)["calls"][0]
    assert set(call) == {
        *("id", "from_number", "to_number", "direction", "status", "duration", "cost_cents", "endpoint_id"),
        *("phone_number_id", "recording_url", "transcript", "created_at", "answered_at", "completed_at"),
    }
    assert re.fullmatch(r"call_[0-9a-f]{14}", call["id"])
    assert re.fullmatch(r"2025-01-10T\d\d:\d\d:\d\dZ", call["created_at"])
    answered, completed = (datetime.fromisoformat(call[name]) for name in ("answered_at", "completed_at"))
    assert completed - answered == timedelta(seconds=call["duration"])


def test_the_call_route_answers_the_same_call_as_the_list_with_another_url(plain: InProcessApi) -> None:
    listed = plain.get("/calls", limit=1)["calls"][0]
    alone = plain.get(f"/calls/{listed['id']}")
    assert alone.pop("recording_url") != listed.pop("recording_url")  # every answer mints another URL
    assert alone == listed


def test_stats_count_the_same_calls_as_the_list(varied: InProcessApi) -> None:
    window = {"from_date": "2025-01-10T00:00:00Z", "to_date": "2025-01-10T23:59:59.999Z"}
    assert varied.get("/calls/stats", **window)["total_calls"] == len(varied.all_calls(**window)) == 200
