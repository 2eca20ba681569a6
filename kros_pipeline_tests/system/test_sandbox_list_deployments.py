"""A deployment can list calls in a misleading way: capped, in another zone, with other borders or another status."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from kros_pipeline.sandbox import Fault, Faults
from kros_pipeline_tests.support.sandbox_client import DAY, PLAIN, VARIED, InProcessApi

THREE_DAYS = replace(PLAIN, days=("2025-01-09", DAY, "2025-01-11"))
WINDOW = {"from_date": "2025-01-10T00:00:00Z", "to_date": "2025-01-10T23:59:59.999Z"}
MIDNIGHT = datetime(2025, 1, 10, tzinfo=UTC)


def shown_by(**changes: Any) -> InProcessApi:
    """Make the API of three plain days, deployed in another way."""
    return InProcessApi(replace(THREE_DAYS, **changes))


def created_hours(api: InProcessApi, **query: Any) -> list[float]:
    """Return when the listed calls were created, in hours after the day's first moment, in order."""
    times = [datetime.fromisoformat(call["created_at"]) for call in api.all_calls(**query)]
    return sorted((time - MIDNIGHT) / timedelta(hours=1) for time in times)


def expected_hours(after: float, before: float) -> list[float]:
    """Return when the calls between two hours were created; both are inclusive."""
    return [hours for hours in created_hours(shown_by()) if after <= hours <= before]


def test_a_capped_total_counts_no_further_while_all_rows_are_listed() -> None:
    api = InProcessApi(replace(PLAIN, total_cap=30, faults=Faults(list_total_wrong=Fault(value=9))))
    assert api.get("/calls")["total"] == 30 and len(api.all_calls()) == 45
    assert api.get("/calls/stats")["total_calls"] == 45


def test_a_cap_above_the_number_of_calls_changes_nothing() -> None:
    page = InProcessApi(replace(PLAIN, total_cap=46, depth_cap=46)).get("/calls")
    assert (page["total"], len(page["calls"])) == (45, 45)


def test_the_page_that_reaches_the_depth_cap_is_cut_there_and_an_offset_behind_it_is_refused() -> None:
    api = InProcessApi(replace(PLAIN, depth_cap=25))
    page = api.get("/calls", limit=20, offset=20)
    assert (len(page["calls"]), page["total"]) == (5, 45)
    for offset in (25, 40, 1000):
        assert api.refusal("GET", f"/calls?limit=20&offset={offset}") == (400, "VALIDATION_ERROR")


def test_an_offset_behind_the_depth_cap_can_be_answered_with_an_empty_page() -> None:
    api = InProcessApi(replace(PLAIN, total_cap=25, depth_cap=25, depth_answer="empty"))
    assert len(api.all_calls()) == 25 == api.get("/calls", offset=25)["total"]
    assert api.get("/calls/stats")["total_calls"] == 45


def test_caps_hold_for_pages_with_numbers_too() -> None:
    api = InProcessApi(replace(PLAIN, dialect="page", total_cap=25, depth_cap=25))
    page = api.get("/calls", limit=10, page=3)
    assert (len(page["data"]), page["total"], page["total_pages"]) == (5, 25, 3)
    assert api.refusal("GET", "/calls?limit=10&page=4") == (400, "VALIDATION_ERROR")


def test_a_list_can_say_nothing_while_the_statistics_count_its_calls() -> None:
    api = InProcessApi(replace(PLAIN, total_cap=0, depth_cap=0, depth_answer="empty"))
    page = api.get("/calls")
    assert (page["calls"], page["total"], api.get("/calls/stats")["total_calls"]) == ([], 0, 45)


def test_duplicates_are_capped_as_rows() -> None:
    api = InProcessApi(replace(PLAIN, depth_cap=30, faults=Faults(list_duplicates=Fault())))
    assert len({call["id"] for call in api.get("/calls")["calls"]}) == 15


def test_completed_calls_can_show_another_status_than_the_one_that_selects_them() -> None:
    honest, api = InProcessApi(VARIED), InProcessApi(replace(VARIED, listed_status="ended"))
    ids = [call["id"] for call in honest.all_calls(status="completed")]
    calls = api.all_calls(status="completed")
    assert ids == [call["id"] for call in calls] and {call["status"] for call in calls} == {"ended"}
    assert {call["status"] for call in api.all_calls(status="failed")} == {"failed"}
    assert api.all_calls(status="ended") == []
    assert api.get(f"/calls/{ids[0]}")["status"] == "ended"


@pytest.mark.parametrize(("shift", "first", "last"), [(-8, 8, 32), (5.5, -5.5, 18.5)])
def test_a_shifted_filter_reads_a_utc_time_as_local_time(shift: float, first: float, last: float) -> None:
    assert created_hours(shown_by(filter_shift_hours=shift), **WINDOW) == expected_hours(first, last)


def test_a_shifted_filter_drops_the_zone_of_a_time() -> None:
    api = shown_by(filter_shift_hours=-8)
    window = {name: time.replace("Z", "+03:00") for name, time in WINDOW.items()}
    assert api.all_calls(**window) and created_hours(api, **window) == created_hours(api, **WINDOW)


def test_a_shifted_filter_that_reads_days_only_covers_local_days() -> None:
    api = shown_by(filter_shift_hours=-8, filter_reads_days_only=True)
    window = {"from_date": "2025-01-10T13:00:00Z", "to_date": "2025-01-10T15:00:00Z"}
    assert created_hours(api, **window) == expected_hours(8, 32)


def test_a_shifted_filter_can_be_on_the_time_of_completion() -> None:
    api = shown_by(filter_shift_hours=-8, filter_by="completed_at")
    completed = [call["completed_at"] for call in api.all_calls(**WINDOW)]
    assert completed and all("2025-01-10T08" <= time < "2025-01-11T08" for time in completed)


@pytest.mark.parametrize("days_only", [False, True])
def test_a_window_beyond_the_years_of_a_date_is_refused(days_only: bool) -> None:
    api = shown_by(filter_shift_hours=-8, filter_reads_days_only=days_only)
    assert api.refusal("GET", "/calls?to_date=9999-12-31T23:00:00Z") == (400, "VALIDATION_ERROR")


@pytest.mark.parametrize("days_only", [False, True])
@pytest.mark.parametrize("to_inclusive", [False, True])
@pytest.mark.parametrize("from_inclusive", [False, True])
@pytest.mark.parametrize("shift", [0, 2])
def test_each_border_of_the_window_is_inclusive_or_not(
    shift: int, from_inclusive: bool, to_inclusive: bool, days_only: bool
) -> None:
    api = shown_by(
        days={DAY: 0},
        filter_shift_hours=shift,
        from_date_inclusive=from_inclusive,
        to_date_inclusive=to_inclusive,
        filter_reads_days_only=days_only,  # which includes both
    )
    first = api.world.add_call("2025-01-10T10:00:00Z")
    last = api.world.add_call("2025-01-10T11:00:00Z")
    window = {"from_date": f"2025-01-10T{10 + shift}:00:00Z", "to_date": f"2025-01-10T{11 + shift}:00:00Z"}
    ids = {call["id"] for call in api.all_calls(**window)}
    assert (first in ids, last in ids) == (from_inclusive or days_only, to_inclusive or days_only)


@pytest.mark.parametrize(
    ("changes", "created_at"),
    [
        ({}, "2025-01-10T23:30:00.250Z"),
        ({"zone_hours": 1}, "2025-01-10T23:30:00.250Z"),
        ({"times": "local", "zone_hours": 1}, "2025-01-11T00:30:00.250+01:00"),
        ({"times": "local", "zone_hours": -3.5}, "2025-01-10T20:00:00.250-03:30"),
        ({"times": "local"}, "2025-01-10T23:30:00.250+00:00"),
        ({"times": "naive", "zone_hours": 1}, "2025-01-11T00:30:00.250"),
    ],
)
def test_the_times_of_a_call_are_written_in_the_zone_of_the_account(changes: dict[str, Any], created_at: str) -> None:
    api = shown_by(days={DAY: 0}, **changes)
    call_id = api.world.add_call("2025-01-10T23:30:00.250Z", duration_seconds=4 * 3600)
    call = api.get(f"/calls/{call_id}")
    assert call["created_at"] == created_at and [call] == _without_urls(api.all_calls(), call)
    answered, completed = (datetime.fromisoformat(call[name]) for name in ("answered_at", "completed_at"))
    assert completed - answered == timedelta(hours=4)
    assert answered.utcoffset() == datetime.fromisoformat(created_at).utcoffset()


def _without_urls(calls: list[dict[str, Any]], like: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the calls with the URL of `like`, because each answer mints another."""
    return [{**call, "recording_url": like["recording_url"]} for call in calls]


def test_an_account_in_another_zone_can_shift_the_filter_and_write_local_times() -> None:
    api = shown_by(filter_shift_hours=-8, times="naive", zone_hours=-8)
    times = [datetime.fromisoformat(call["created_at"]) for call in api.all_calls(**WINDOW)]
    assert times and all(str(time.date()) == DAY for time in times)  # it looks right, and is another day
    moments = {time.replace(tzinfo=timezone(timedelta(hours=-8))).astimezone(UTC) for time in times}
    assert any(str(moment.date()) == "2025-01-11" for moment in moments)


def test_a_running_simulator_can_change_how_it_lists_its_calls() -> None:
    api = shown_by(days=(DAY,))
    before = api.all_calls(**WINDOW)
    api.world.change_config(times="local", zone_hours=1, listed_status="ended", total_cap=7, filter_shift_hours=-8)
    page = api.get("/calls", limit=100)
    assert page["total"] == 7 and {call["status"] for call in page["calls"]} == {"ended"}
    assert {call["created_at"][-6:] for call in page["calls"]} == {"+01:00"}
    assert {call["id"] for call in page["calls"]} == {call["id"] for call in before}
    assert len(api.all_calls(**WINDOW)) < len(before)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"seed": 3, "days": (), "order": "oldest"}, "a running simulator cannot change days, seed"),
        ({"depth_cap": -1}, "depth_cap must not be negative, but is -1"),
    ],
)
def test_a_change_that_is_impossible_is_refused(changes: dict[str, Any], sentence: str) -> None:
    api = shown_by()
    with pytest.raises(ValueError) as raised:
        api.world.change_config(**changes)
    assert str(raised.value) == sentence and api.world.config == THREE_DAYS
