"""What days need, and when their turns end at the rate and quota of the settings."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from kros_pipeline.core.backlog_plan import (
    DOCUMENTED_BYTES_PER_SECOND,
    BacklogPlan,
    Capacity,
    DayCount,
    Past,
    plan_backlog,
)

NOW = datetime(2025, 1, 20, 12, 30, tzinfo=UTC)  # ten minutes before a tick
FIRST = date(2025, 1, 1)
UNLIMITED = Capacity(None, None, None, None)


def days(count: int) -> list[date]:
    return [FIRST + timedelta(days=number) for number in range(count)]


def sampled(calls: int, rows: int = 100, recorded: int = 100, seconds: float = 60.0, without_text: int = 0) -> DayCount:
    return DayCount(calls, rows, recorded, seconds * recorded, recorded, without_text)


def plan(counts: list[DayCount | None], capacity: Capacity = UNLIMITED, past: Past | None = None) -> BacklogPlan:
    planned = days(len(counts))
    known = {day: count for day, count in zip(planned, counts, strict=True) if count is not None}
    return plan_backlog(planned, known, past or Past(), capacity, NOW)


@pytest.mark.parametrize(
    ("count", "always", "requests"),
    [
        # measured with whole days: twice the pages, and ten more
        (DayCount(0), False, 10),
        (sampled(3, rows=3, recorded=3), False, 12),
        (sampled(1_000), False, 30),
        (sampled(3_000), False, 70),
        # one request for each transcript that the list does not have whole, or for each call
        (sampled(1_000, without_text=25), False, 280),
        (sampled(1_000), True, 1_030),
    ],
)
def test_requests_are_those_of_the_list_and_of_missing_transcripts(
    count: DayCount, always: bool, requests: int
) -> None:
    [day] = plan([count], Capacity(None, None, None, None, asks_every_transcript=always)).days
    assert day.api_requests == requests


def test_audio_is_estimated_from_the_rows_of_the_day() -> None:
    [day] = plan([sampled(1_000, recorded=80, seconds=30)]).days
    assert (day.recordings, day.audio_seconds) == (800, 24_000)
    assert day.size_bytes == 24_000 * DOCUMENTED_BYTES_PER_SECOND
    assert day.estimated_from == "100 of its rows"


def test_a_day_without_rows_has_the_lengths_of_the_others_and_one_that_was_not_asked_their_mean() -> None:
    first, second, third = plan([sampled(1_000, recorded=50, seconds=30), DayCount(500), None]).days
    assert (second.recordings, second.audio_seconds) == (250, 7_500)
    assert second.estimated_from == "its total; lengths of the other days"
    assert (third.calls, third.estimated_from) == (750, "the mean of the other days")
    assert first.calls == 1_000


def test_the_archives_own_past_gives_bytes_and_lengths_where_there_are_any() -> None:
    past = Past(days=9, recorded_share=0.5, seconds_per_recording=20.0, bytes_per_second=8_000.0)
    [day] = plan([DayCount(100)], past=past).days
    assert (day.recordings, day.audio_seconds, day.size_bytes) == (50, 1_000, 8_000_000)
    [day] = plan([sampled(100, seconds=60)], past=past).days
    assert day.size_bytes == 6_000 * 8_000, "the rows' lengths, and the archive's bytes a second"


def ends(counts: list[DayCount | None], capacity: Capacity) -> list[str]:
    return [f"{day.ends_at:%d %H:%M:%S}" for day in plan(counts, capacity).days]


@pytest.mark.parametrize(
    ("calls", "capacity", "ended"),
    [
        # three turns an hour, from the next tick on
        ([0] * 7, UNLIMITED, ["20 12:40:00"] * 3 + ["20 13:40:00"] * 3 + ["20 14:40:00"]),
        # the rate: 2,010 requests a day, one a second
        ([100_000] * 2, Capacity(1.0, None, None, None), ["20 13:13:30", "20 13:47:00"]),
        # a run's share: a day of 2,010 requests needs three turns of 1,000
        ([100_000, 0], Capacity(None, None, 1_000, None), ["20 12:40:00", "20 13:40:00"]),
        # the quota of a UTC day, without 7 % and the mean day: 10,000 - 700 - 2,010 = 7,290 requests
        ([100_000] * 4, Capacity(None, 10_000, None, None),
         ["20 12:40:00"] * 3 + ["21 00:40:00"]),
        ([100_000] * 8, Capacity(None, 10_000, None, None)
         , ["20 12:40:00"] * 3 + ["21 00:40:00"] * 3 + ["21 01:40:00", "22 00:40:00"]),
    ],
)  # fmt: skip
def test_turns_end_by_ticks_rate_runs_and_quota(calls: list[int], capacity: Capacity, ended: list[str]) -> None:
    assert ends([sampled(count) if count else DayCount(0) for count in calls], capacity) == ended


def test_a_quota_that_is_smaller_than_a_day_still_ends() -> None:
    [end, _] = ends([sampled(1_000), sampled(1_000)], Capacity(None, 30, 15, None))
    assert end.endswith(":40:00")


@pytest.mark.parametrize(
    ("retention", "late"),
    [
        (None, []),
        (30, []),
        # the first day's 7,010 requests end on the 27th at 930 a day, and the second day's turn follows
        (27, []),
        (26, [1]),
        (25, [1, 2]),
        (19, [1, 2]),
    ],
)
def test_a_day_is_late_where_upstream_deletes_of_it_before_its_turn_ends(
    retention: int | None, late: list[int]
) -> None:
    planned = plan([sampled(350_000), DayCount(0)], Capacity(None, 2_000, None, retention))
    assert [day.day.day for day in planned.days if day.is_late] == [day.day for day in planned.late_days] == late
    first, second = planned.days
    assert f"{first.ends_at:%m-%d}" == "01-27" and second.ends_at >= first.ends_at
    assert first.deleted_on == (FIRST + timedelta(days=retention) if retention else None)
