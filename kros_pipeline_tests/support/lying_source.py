"""A call source whose list lies as upstream's may: limits, shifted filters, exclusive bounds, changes meanwhile."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Literal

from kros_pipeline.core.call_counters import CallCounter
from kros_pipeline.core.clock import Clock
from kros_pipeline.core.errors import ApiServerError, RequestRefused, UnexpectedResponse
from kros_pipeline.source.call_source import ListedCall, Page, RecordingAnswer, TranscriptAnswer, Window
from kros_pipeline.source.pager import read_pages
from kros_pipeline_tests.support.fake_call_source import FakeCall, FakeCallSource

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Lies:
    """How the list differs from an honest one. The defaults are an honest list, newest first."""

    order: Literal["newest", "oldest", "shuffled"] = "newest"
    page_limit: int = 100
    total_cap: int | None = None
    depth_cap: int | None = None
    is_depth_refused: bool = False
    shift_hours: float = 0.0
    """The filter reads our times as those of an account at this offset from UTC."""
    reads_days_only: bool = False
    is_start_inclusive: bool = True
    is_end_inclusive: bool = True
    filter_by: Literal["created_at", "completed_at"] = "created_at"
    naive_hours: float | None = None
    """Rows show times without a zone: local times of an account at this offset."""
    status: str = "completed"
    ignores_dates: bool = False
    refuses_dates: bool = False
    added_to_counters: int | None = 0
    """What the counters count too many; None: they answer 404."""
    gateway_share: float = 0.0
    """The share of requests for one call that a gateway answers instead, with HTML and any status."""


class LyingSource(FakeCallSource):
    """`FakeCallSource` with a list that lies. `before_page` is called before each page is made, and may change it."""

    def __init__(self, calls: Iterable[FakeCall], clock: Clock, lies: Lies | None = None) -> None:
        self.lies = lies or Lies()
        super().__init__(calls, clock, page_limit=self.lies.page_limit)
        self._random = random.Random(7)
        self.before_page: Callable[[], None] = lambda: None
        self.shown: set[str] = set()
        self.rows_asked_for: dict[Window | None, int] = {}

    def list_page(self, window: Window | None, offset: int, page_number: int) -> Page:
        self._count_request()
        self.before_page()
        if window is not None and self.lies.refuses_dates:
            raise RequestRefused("GET /calls: status 400")
        lies, calls = self.lies, self.select(window)
        if lies.depth_cap is not None and offset >= lies.depth_cap and lies.is_depth_refused:
            raise RequestRefused("GET /calls: status 400")
        self.rows_asked_for[window] = len(calls)
        shown = calls[offset : min(offset + lies.page_limit, lies.depth_cap or len(calls))]
        self.shown |= {call.call_id for call in shown}
        total = len(calls) if lies.total_cap is None else min(len(calls), lies.total_cap)
        return Page([self.show(call) for call in shown], [], total, lies.page_limit)

    def statistics(self, window: Window) -> list[CallCounter]:
        return self._lie_about(super().statistics(window))

    def trends(self, day: date) -> list[CallCounter]:
        return self._lie_about(super().trends(day))

    def _lie_about(self, counters: list[CallCounter]) -> list[CallCounter]:
        added = self.lies.added_to_counters
        if added is None:
            raise RequestRefused("status 404")
        return [replace(counter, value=max(0, counter.value + added)) for counter in counters]

    def recording(self, call_id: str) -> RecordingAnswer:
        self._meet_gateway()
        return super().recording(call_id)

    def transcript(self, call_id: str) -> TranscriptAnswer:
        self._meet_gateway()
        return super().transcript(call_id)

    def _meet_gateway(self) -> None:
        """Fail as a gateway's answer does: no 404 of it is an answer of upstream's."""
        if self._random.random() < self.lies.gateway_share:
            self._count_request()
            raise self._random.choice((ApiServerError, RequestRefused, UnexpectedResponse))("a gateway's answer")

    def pages(self, window: Window, *, prefetch: int = 0, first: Page | None = None) -> Iterator[Page]:
        def fetch(offset: int, number: int) -> Page:
            return self.list_page(window, offset, number)

        return read_pages(fetch, page_limit=self.lies.page_limit, first=first)

    def select(self, window: Window | None) -> list[FakeCall]:
        """Return the completed calls that the filter takes for those of a window, in the list's order."""
        lies = self.lies
        if window is None or lies.ignores_dates:
            window = Window(datetime.min.replace(tzinfo=UTC) + 2 * DAY, datetime.max.replace(tzinfo=UTC) - 2 * DAY)
        shift = timedelta(hours=lies.shift_hours)
        start, end = window.start - shift, window.end - shift
        if lies.reads_days_only:
            start = datetime.combine(window.start.date(), time.min, UTC) - shift
            end = datetime.combine(window.end.date(), time.min, UTC) - shift + DAY - timedelta(microseconds=1)

        def is_in(call: FakeCall) -> bool:
            moment = call.created_at
            if lies.filter_by == "completed_at":
                moment += timedelta(seconds=call.duration_seconds or 0.0)
            after = moment > start or (moment == start and lies.is_start_inclusive)
            return after and (moment < end or (moment == end and lies.is_end_inclusive))

        calls = sorted((call for call in self.calls.values() if call.status != "in_progress" and is_in(call)), key=_key)
        if lies.order == "newest":
            calls.reverse()
        if lies.order == "shuffled":
            random.Random(7).shuffle(calls)
        return calls

    def show(self, call: FakeCall) -> ListedCall:
        """Return a call as its row is parsed, with the times that the list shows."""
        listed = self._list(call)
        ended_at = call.created_at + timedelta(seconds=call.duration_seconds or 0.0)
        shown = replace(listed.call, status=self.lies.status, completed_at=ended_at)
        if self.lies.naive_hours is None:
            return replace(listed, call=shown)
        zone = timezone(timedelta(hours=self.lies.naive_hours))
        created_at = shown.created_at.astimezone(zone).replace(tzinfo=UTC)
        shown = replace(
            shown,
            created_at=created_at,
            call_date=created_at.date(),
            completed_at=ended_at.astimezone(zone).replace(tzinfo=UTC),
        )
        return replace(listed, call=shown, has_zone=False)


def _key(call: FakeCall) -> tuple[datetime, str]:
    return call.created_at, call.call_id
