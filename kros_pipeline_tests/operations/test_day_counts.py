"""Counting the calls of many days takes one request a day at most, and fewer where a page answers for several."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kros_pipeline.core.errors import RequestRefused, TooManyRequests
from kros_pipeline.operations.day_counts import CallCounts, count_calls
from kros_pipeline.source.call_source import Page, Window
from kros_pipeline_tests.support.clocks import clock_without_waits
from kros_pipeline_tests.support.fake_call_source import FakeCall, FakeCallSource

FIRST = date(2025, 1, 1)
CLOCK = clock_without_waits(lambda: datetime(2025, 3, 1, tzinfo=UTC))


def source_of(
    calls: list[int], *, page_limit: int = 10, seconds: float = 60, cls: type = FakeCallSource
) -> FakeCallSource:
    """One account with so many calls a day, from the first of January on, evenly over each day."""
    made = [
        FakeCall(
            f"call_{number}_{n}",
            datetime.combine(FIRST + timedelta(days=number), time(), UTC) + timedelta(seconds=1 + n * 80_000 // count),
            b"audio",
            "[Agent]: Hello" if n % 2 else None,
            seconds,
        )
        for number, count in enumerate(calls)
        for n in range(count)
    ]
    source: FakeCallSource = cls(made, CLOCK, page_limit=page_limit)
    return source


def counted(calls: list[int], **options: object) -> tuple[list[int | None], CallCounts]:
    source = source_of(calls, **options)  # type: ignore[arg-type]
    found = count_calls([FIRST + timedelta(days=number) for number in range(len(calls))], source)
    assert found.requests == source.requests_made
    return [found.days[day].calls if day in found.days else None for day in sorted(found.days)], found


@pytest.mark.parametrize(
    ("calls", "requests"),
    [
        ([], 0),
        ([0], 1),
        ([25], 1),
        # one page answers for all of them
        ([0] * 30, 1),
        ([1, 2, 3, 4], 1),
        # a page a day where days are large: the last one follows from the totals
        ([25, 30, 35, 40], 4),
        # and fewer where some of them are small
        ([0, 0, 0, 0, 0, 0, 0, 40], 4),
        ([40, 1, 1, 1, 1, 1, 1, 1], 6),
    ],
)
def test_the_calls_of_each_day_are_counted_with_few_requests(calls: list[int], requests: int) -> None:
    found, report = counted(calls)
    assert found == calls
    assert report.requests == requests <= max(1, len(calls)) or not calls


@given(st.lists(st.integers(0, 60).filter(lambda count: count % 16), max_size=24))
def test_whatever_the_days_hold_they_are_counted_with_a_request_a_day_at_most(calls: list[int]) -> None:
    found, report = counted(calls)
    assert found == calls and report.requests <= len(calls)


def test_days_apart_are_counted_apart() -> None:
    source = source_of([3, 50, 4])
    found = count_calls([FIRST + timedelta(days=2), FIRST], source)
    assert {day: count.calls for day, count in found.days.items()} == {FIRST: 3, FIRST + timedelta(days=2): 4}
    assert found.requests == 2


def test_rows_show_how_many_have_a_recording_how_long_they_are_and_which_texts_are_missing() -> None:
    _, report = counted([8], seconds=45)
    count = report.days[FIRST]
    assert (count.rows, count.recorded, count.seconds, count.timed, count.without_text) == (8, 8, 360, 8, 4)
    assert not count.is_at_least


class Limited(FakeCallSource):
    """Shows no total above 500."""

    def list_page(self, window: Window | None, offset: int, page_number: int) -> Page:
        page = super().list_page(window, offset, page_number)
        return Page(page.calls, [], min(page.total or 0, 500), page.limit)


def test_a_total_that_may_be_a_limit_is_not_subtracted_from_and_a_day_that_is_not_asked_has_no_count() -> None:
    found, report = counted([700, 20, 30, 40], cls=Limited)
    assert report.days[FIRST].calls == 500 and report.days[FIRST].is_at_least
    assert report.requests <= 4
    assert set(found) <= {500, 20, 30, 40} and FIRST + timedelta(days=1) in report.days


class Throttled(FakeCallSource):
    """Answers `quota` requests."""

    def list_page(self, window: Window | None, offset: int, page_number: int) -> Page:
        if self.requests_made >= self.quota:
            raise TooManyRequests("the run's share of 3 API requests is used up (budget)")
        return super().list_page(window, offset, page_number)

    quota = 3


def test_a_quota_that_ends_in_the_middle_leaves_the_other_days_without_a_count() -> None:
    found, report = counted([1, 2, 3, 4, 40, 50, 60, 70], cls=Throttled)
    assert report.requests == 3 and found == [1, 2, 3, 4]
    assert report.note.startswith("Not every day was asked about: the run's share of 3 API requests is used up")


def test_a_quota_that_is_used_up_before_the_first_answer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Throttled, "quota", 0)
    with pytest.raises(TooManyRequests):
        counted([20, 30], cls=Throttled)


class Unfiltered(FakeCallSource):
    """Ignores dates, and lists the newest call first."""

    def list_page(self, window: Window | None, offset: int, page_number: int) -> Page:
        return super().list_page(None, offset, page_number)


class Refusing(FakeCallSource):
    """Refuses dates."""

    def list_page(self, window: Window | None, offset: int, page_number: int) -> Page:
        if window is not None:
            self._count_request()
            raise RequestRefused("GET /calls: status 400: unknown parameter from_date")
        return super().list_page(None, offset, page_number)


@pytest.mark.parametrize(("cls", "requests"), [(Unfiltered, 4), (Refusing, 3)])
def test_a_list_without_a_date_filter_is_spread_over_its_days(cls: type, requests: int) -> None:
    source = source_of([20, 40, 60], cls=cls)
    days = [FIRST + timedelta(days=number) for number in range(-2, 5)]
    found = count_calls(days, source)
    assert [found.days[day].calls for day in days] == [0, 0, 40, 40, 40, 0, 0]
    assert found.requests == requests
    assert "no date filter: its 120 calls are spread evenly over the 3 days" in found.note
    assert found.days[FIRST].is_at_least
