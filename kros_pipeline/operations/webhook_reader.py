"""Reads webhook deliveries, the newest first, within a budget of requests.

The list is read from its top down to the deliveries that an earlier pull has read, and one day further: a delivery may
come late to the list, and a call of a day that was not over yet is looked at again.

Where the budget, or upstream's rate limit, ends a pull before that, the rest is a gap. The state keeps `read_until` as
it was, and beside it how far down this pull came (`DeliveryGap`). The next pull reads what is new at the top, and the
day that was not over, and goes on at the gap: its page has moved down by as many rows as are new. Where it cannot
finish the top, the gap grows up to there; nothing of it is forgotten.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from ..archive.delivery_progress import DeliveryGap, DeliveryProgress
from ..core.days import start_of
from ..core.errors import (
    CallGone,
    CallNotFound,
    NotOffered,
    RequestRefused,
    TooManyRequests,
    UnaddressableCall,
    UnexpectedResponse,
)
from ..source.call_source import CallSource, Delivery, DeliveryPage, WebhookEvent

_OVERLAP = timedelta(days=1)
_MAX_CALLS = 100_000  # a pull keeps no more in memory; the next one goes on
_NO_DETAIL = (CallNotFound, CallGone, RequestRefused, UnaddressableCall, UnexpectedResponse)

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class NamedCall:
    """A call that deliveries named: its own time, and the earliest time of an event about it."""

    created_at: datetime | None
    sent_at: datetime | None

    def merge(self, other: "NamedCall") -> "NamedCall":
        """Return what two events say of one call."""
        sent_at = min(filter(None, (self.sent_at, other.sent_at)), default=None)
        return NamedCall(self.created_at or other.created_at, sent_at)


class _Stopped(Exception):
    """The pull ends before it has read everything; the message says why."""


class DeliveryReader:
    """One pull. `calls` are the completed calls by id; `ended_early` says what ended the reading, if anything did.

    `since` is the time before which no delivery matters, and `now` the time of the pull.
    """

    def __init__(
        self,
        source: CallSource,
        progress: DeliveryProgress,
        *,
        since: datetime,
        now: datetime,
        max_requests: int,
    ):
        self._source, self._before, self._since, self._now = source, progress, since, now
        self._began, self._max_requests = source.requests_made, max_requests
        self.calls: dict[str, NamedCall] = {}
        self.delivery_count, self.unreadable = 0, Counter[str]()
        self.ended_early = ""
        self.is_newest_first = True
        self._event_ids: set[str] = set()
        self._page, self._page_size, self._new_rows = 0, 0, 0
        self._is_at_end = self._has_passed_over = False
        self._newest: datetime | None = None
        self._last: datetime | None = None

    @property
    def requests_made(self) -> int:
        """How many requests the pull has sent."""
        return self._source.requests_made - self._began

    def read(self) -> None:
        """Read what is new, and then what is left in the gap. Raises `NotOffered`, and `ApiError` where nothing helps.

        A rate limit, or the end of a budget, only ends the reading.
        """
        gap = self._before.gap
        try:
            floor = self._floor(self._before.read_until)
            self._read_down(1, floor if gap is None else max(self._since, start_of(gap.newest.date())))
            if gap is not None and (self._has_passed_over or not self._is_at_end):
                self._read_gap(gap, floor)
        except _Stopped as stopped:
            self.ended_early = str(stopped)

    @property
    def progress(self) -> DeliveryProgress:
        """How far the deliveries are read once the calls were looked at."""
        before = self._before
        if self._newest is None or (self.ended_early and not self.is_newest_first):
            return before  # in another order, nobody can tell what was left
        newest = min(self._newest, self._now)
        if not self.ended_early:
            return DeliveryProgress(max(newest, before.read_until or newest))
        if self._last is None:
            return before
        return DeliveryProgress(before.read_until, DeliveryGap(newest, min(self._last, newest), self._page))

    def _read_gap(self, gap: DeliveryGap, floor: datetime) -> None:
        """Go on where the last pull ended: its page has moved down by the rows that are new."""
        top_page, top_last = self._page, self._last
        self._page, self._last = gap.page + self._new_rows // max(1, self._page_size), gap.end
        if not self._read_down(self._page, floor, gap_end=gap.end):
            self._page, self._last = top_page, top_last  # the list has lost rows: read it from the top again
            self.delivery_count, self.unreadable = 0, Counter()
            self._read_down(1, floor)

    def _floor(self, read_until: datetime | None) -> datetime:
        return self._since if read_until is None else max(self._since, read_until - _OVERLAP)

    def _read_down(self, number: int, floor: datetime, *, gap_end: datetime | None = None) -> bool:
        """Read pages from `number` on, until one is older than `floor`, or the list ends.

        With `gap_end`, newer rows were read by an earlier pull. Returns False, and reads nothing, where the first page
        does not begin with such a row: part of the gap may lie above it.
        """
        previous: list[Delivery] = []
        while True:
            page = self._ask_page(number)
            rows = page.deliveries if page is not None else []
            times = [row.sent_at for row in rows if row.sent_at is not None]
            if gap_end is not None and not previous and not (times and times[0] >= gap_end):
                return False
            if not rows or rows == previous:
                self._is_at_end = True
                return True
            self._page_size = self._page_size or len(rows)
            if number == 1 and len(times) > 1:
                self.is_newest_first = times[0] >= times[-1]
            for row in rows:
                if gap_end is None or row.sent_at is None or row.sent_at <= gap_end:
                    self._handle(row, floor)
                    self._page = number
            if page is None or self._is_last(page, number):
                self._is_at_end = True
                return True
            if self.is_newest_first and times and max(times) < floor:
                return True
            previous, number = rows, number + 1

    def _is_last(self, page: DeliveryPage, number: int) -> bool:
        """Return whether a page is the list's last one.

        A short first page is the last only where the answer names a total or its limit: a server may have pages that
        are shorter than what was asked for.
        """
        count = len(page.deliveries)
        if page.total is not None and (number - 1) * self._page_size + count >= page.total:
            return True
        return count < (page.limit or self._page_size)

    def _ask_page(self, number: int) -> DeliveryPage | None:
        """Return a page; None where a server refuses one behind the end, and others answer an empty one."""
        try:
            return self._ask(lambda: self._source.webhook_deliveries(number))
        except (NotOffered, RequestRefused):
            if number == 1:
                raise
            return None

    def _ask(self, request: Callable[[], _Answer]) -> _Answer:
        if self.requests_made >= self._max_requests:
            raise _Stopped(f"the pull's share of {self._max_requests:,} API requests is used up")
        try:
            return request()
        except TooManyRequests as error:
            raise _Stopped(str(error)) from None

    def _handle(self, row: Delivery, floor: datetime) -> None:
        """Note what a delivery says. One that is too old is not asked for."""
        is_old = row.sent_at is not None and row.sent_at < floor
        is_known = row.event_id is not None and row.event_id in self._event_ids
        event, problem = row.event, row.problem
        if row.needs_detail and is_old:
            self._has_passed_over = True
        elif row.needs_detail and not is_known:
            event, problem = self._ask_detail(row)
        if len(self.calls) >= _MAX_CALLS:
            raise _Stopped(f"a pull looks at {_MAX_CALLS:,} calls at most")
        self.delivery_count += 1
        if problem:
            self.unreadable[problem] += 1
        if event is not None:
            self._add(event, row.sent_at)
        if row.sent_at is not None:
            gap = self._before.gap
            self._new_rows += gap is not None and row.sent_at > gap.newest
            self._newest = max(self._newest or row.sent_at, row.sent_at)
            self._last = row.sent_at

    def _ask_detail(self, row: Delivery) -> tuple[WebhookEvent | None, str]:
        try:
            detail = self._ask(lambda: self._source.webhook_delivery(row.delivery_id or ""))
        except _NO_DETAIL as error:
            return None, str(error).partition(", “")[0]  # upstream's own text may name the call
        if row.event_id is not None:
            self._event_ids.add(row.event_id)
        return detail.event, detail.problem

    def _add(self, event: WebhookEvent, sent_at: datetime | None) -> None:
        self._event_ids.add(event.event_id)
        said = NamedCall(event.created_at, event.sent_at or sent_at)
        if said == NamedCall(None, None):
            self.unreadable["the event has no time"] += 1
            return
        known = self.calls.get(event.call_id)
        self.calls[event.call_id] = known.merge(said) if known is not None else said
