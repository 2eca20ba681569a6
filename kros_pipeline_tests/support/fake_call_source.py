"""A call source in memory: a second implementation of `CallSource`, held to the same contract suite as `KrosAI`.

It fails as KrosAI fails: with 404 for what never was, with 410 for what was deleted, and with a refused request where
a plan's maximum is exceeded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from urllib.parse import quote, unquote

from kros_pipeline.core.call_counters import CallCounter
from kros_pipeline.core.calls import Call
from kros_pipeline.core.clock import Clock
from kros_pipeline.core.errors import (
    AudioGone,
    CallGone,
    CallNotFound,
    NotOffered,
    RequestRefused,
    TooManyRequests,
    UrlExpired,
    UrlRefused,
)
from kros_pipeline.source.call_source import (
    Body,
    CallEvent,
    Delivery,
    DeliveryPage,
    ListedCall,
    Page,
    RecordingAnswer,
    TranscriptAnswer,
    WebhookEvent,
    Window,
)

STORAGE = "https://storage.example/recordings/"
SIGNATURE = "?signature=fake"


@dataclass
class FakeCall:
    """One call upstream. `audio` and `transcript` are None where there is none; a deleted recording had audio once."""

    call_id: str
    created_at: datetime
    audio: bytes | None = None
    transcript: str | None = None
    duration_seconds: float | None = None
    status: str = "completed"
    language: str | None = None
    confidence: float | None = None
    is_deleted: bool = False


class FakeCallSource:
    """One account in memory. `calls` may be changed at any time; `extended_days` counts what was applied."""

    plan_name = "fake"
    dialect = "fake"

    def __init__(
        self,
        calls: Iterable[FakeCall],
        clock: Clock,
        *,
        page_limit: int = 100,
        retention_days: int | None = None,
        maximum_retention_days: int | None = None,
        requests_per_run: int | None = None,
        has_webhook: bool = True,
        shows_payloads: bool = True,
    ) -> None:
        self.calls = {call.call_id: call for call in calls}
        self.extended_days: dict[str, list[int]] = {}
        self.settings: dict[str, bool] = {"recording_enabled": False, "transcription_enabled": False}
        self.page_limit = page_limit
        self.has_webhook, self.shows_payloads = has_webhook, shows_payloads
        self._clock = clock
        self._retention_days, self._maximum_retention_days = retention_days, maximum_retention_days
        self._requests_per_run, self._requests_made = requests_per_run, 0

    @property
    def requests_made(self) -> int:
        return self._requests_made

    def close(self) -> None:
        pass

    def list_page(self, window: Window | None, offset: int, page_number: int) -> Page:
        self._count_request()
        calls = self._completed(window)
        listed = [self._list(call) for call in calls[offset : offset + self.page_limit]]
        return Page(listed, [], len(calls), self.page_limit)

    def pages(self, window: Window, *, prefetch: int = 0, first: Page | None = None) -> Iterator[Page]:
        offset, number = 0, 1
        while True:
            page = first if first is not None and not offset else self.list_page(window, offset, number)
            yield page
            if page.row_count < self.page_limit:
                return
            offset, number = offset + page.row_count, number + 1

    def recording(self, call_id: str) -> RecordingAnswer:
        self._count_request()
        call = self._find(call_id)
        if call.is_deleted:
            raise CallGone("GET /calls/{id}/recording: status 410")
        if call.audio is None:
            raise CallNotFound("GET /calls/{id}/recording: status 404")
        return RecordingAnswer(_url_of(call), call.duration_seconds, len(call.audio))

    def transcript(self, call_id: str) -> TranscriptAnswer:
        self._count_request()
        call = self._find(call_id)
        if call.transcript is None:
            raise CallNotFound("GET /calls/{id}/transcript: status 404")
        return TranscriptAnswer(call.transcript, len(call.transcript.split()), call.language, call.confidence)

    def events(self, call_id: str) -> list[CallEvent]:
        self._count_request()
        call = self._find(call_id)
        ended_at = call.created_at + timedelta(seconds=call.duration_seconds or 0.0)
        return [
            CallEvent("initiated", call.created_at, None, None),
            CallEvent("hangup", ended_at, "normal_clearing", None),
        ]

    def statistics(self, window: Window) -> list[CallCounter]:
        self._count_request()
        return [CallCounter("stats.completed_calls", len(self._completed(window)), counts_completed=True)]

    def trends(self, day: date) -> list[CallCounter]:
        self._count_request()
        count = sum(call.status == "completed" and call.created_at.date() == day for call in self.calls.values())
        return [CallCounter("trends.completed", count, counts_completed=True)]

    def allowed_extension_days(self, requested_days: int) -> int | None:
        maximum = self._maximum_retention_days
        if maximum is None:
            return requested_days
        is_kept_that_long = self._retention_days is not None and self._retention_days >= maximum
        return None if is_kept_that_long else min(requested_days, maximum)

    def extend(self, call_id: str, days: int, *, idempotency_key: str) -> None:
        self._count_request()
        maximum = self._maximum_retention_days
        if maximum is not None and days > maximum:
            raise RequestRefused("POST /calls/{id}/recording/extend: status 403")
        self._find_recorded(call_id)
        self.extended_days.setdefault(call_id, []).append(days)

    def delete_recording(self, call_id: str) -> None:
        self._count_request()
        self._find_recorded(call_id).is_deleted = True

    def turn_on_recording(self) -> Mapping[str, bool]:
        self._count_request()
        self.settings = dict.fromkeys(self.settings, True)
        return dict(self.settings)

    def webhook_deliveries(self, page_number: int) -> DeliveryPage:
        self._count_request()
        if not self.has_webhook:
            raise NotOffered("GET /webhook-deliveries: status 404")
        rows, end = self._deliveries(), page_number * self.page_limit
        shown = [
            row if self.shows_payloads else replace(row, event=None, needs_detail=True)
            for row in rows[end - self.page_limit : end]
        ]
        return DeliveryPage(shown, len(rows), self.page_limit)

    def webhook_delivery(self, delivery_id: str) -> Delivery:
        self._count_request()
        for row in self._deliveries():
            if row.delivery_id == delivery_id:
                return row
        raise CallNotFound("GET /webhook-deliveries/{id}: status 404")

    @contextmanager
    def open_recording(self, url: str) -> Iterator[Body]:
        if not url.startswith(STORAGE):
            raise UrlRefused("the recording's URL names another host")
        path, mark, signature = url.partition("?")
        if mark + signature != SIGNATURE:
            raise UrlExpired("the storage does not accept the URL (status 403)")
        call = self.calls.get(unquote(path.removeprefix(STORAGE).removesuffix(".mp3")))
        if call is None or call.audio is None or call.is_deleted:
            raise AudioGone("the storage has no such recording (status 404)")
        yield Body(call.audio, None, len(call.audio), hashlib.sha256(call.audio).hexdigest())

    def _count_request(self) -> None:
        if self._requests_per_run is not None and self._requests_made >= self._requests_per_run:
            raise TooManyRequests(f"the run's share of {self._requests_per_run:,} API requests is used up (budget)")
        self._requests_made += 1

    def _completed(self, window: Window | None) -> list[FakeCall]:
        """The completed calls of a window, the newest first; both ends belong to it."""
        calls = [
            call
            for call in self.calls.values()
            if call.status == "completed" and (window is None or window.start <= call.created_at <= window.end)
        ]
        return sorted(calls, key=lambda call: (call.created_at, call.call_id), reverse=True)

    def _deliveries(self) -> list[Delivery]:
        """One delivery for each completed call, at its end; the newest first."""
        rows = []
        for call in self.calls.values():
            if call.status == "completed":
                sent_at = call.created_at + timedelta(seconds=call.duration_seconds or 0.0)
                event = WebhookEvent(f"evt_{call.call_id}", call.call_id, call.created_at, sent_at)
                rows.append(Delivery(f"del_{call.call_id}", event.event_id, sent_at, event))
        return sorted(rows, key=lambda row: (row.sent_at, row.delivery_id), reverse=True)

    def _find(self, call_id: str) -> FakeCall:
        if call_id not in self.calls:
            raise CallNotFound("status 404")
        return self.calls[call_id]

    def _find_recorded(self, call_id: str) -> FakeCall:
        call = self._find(call_id)
        if call.audio is None or call.is_deleted:
            raise CallNotFound("status 404")
        return call

    def _list(self, call: FakeCall) -> ListedCall:
        has_recording = call.audio is not None and not call.is_deleted
        listed = Call(
            call_id=call.call_id,
            call_date=call.created_at.date(),
            organization_id=None,
            status=call.status,
            direction=None,
            from_number=None,
            to_number=None,
            duration_seconds=call.duration_seconds,
            cost_cents=None,
            endpoint_id=None,
            phone_number_id=None,
            created_at=call.created_at,
            answered_at=None,
            completed_at=None,
            has_recording=has_recording,
            listed_transcript=call.transcript,
            extra=None,
            listed_at=self._clock.now(),
        )
        return ListedCall(listed, _url_of(call) if has_recording else None)


def _url_of(call: FakeCall) -> str:
    return f"{STORAGE}{quote(call.call_id, safe='')}.mp3{SIGNATURE}"
