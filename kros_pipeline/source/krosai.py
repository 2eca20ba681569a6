"""KrosAI as a call source, as far as it is documented.

Two dialects of the list are known: `{"calls", "total", "limit", "offset"}` and `{"data", "total", "page", "limit"}`.
The first answer shows which one the deployment uses. Its Bridge differs in how requests are sent; see `api_client`.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import date, timedelta
from functools import partial
from urllib.parse import quote

from ..core.call_counters import CallCounter
from ..core.clock import Clock
from ..core.errors import CallGone, CallNotFound, NotOffered, RequestRefused, UnaddressableCall, UnexpectedResponse
from ..core.json_values import finite_number
from .answer_headers import AnswerHeaders
from .api_client import ApiClient
from .api_errors import names_in
from .call_counts import read_statistics, read_trends
from .call_events import parse_events
from .call_parsing import TRANSCRIPT_FIELDS, parse_count, parse_rows, parse_transcript_answer, separate_foreign_rows
from .call_source import Body, CallEvent, Delivery, DeliveryPage, Page, RecordingAnswer, TranscriptAnswer, Window
from .downloads import RecordingDownloads
from .pager import read_pages
from .plans import allowed_extension_days
from .rate_limiter import Quota
from .settings import SourceSettings
from .time_format import format_time
from .webhook_deliveries import find_rows, parse_delivery, parse_detail

PAGE_LIMIT = 100  # the documented maximum
RECORDING_ON: Mapping[str, bool] = {"recording_enabled": True, "transcription_enabled": True}


class KrosAI:
    """One account at KrosAI, for one run; a `CallSource`. Threads share it."""

    page_limit = PAGE_LIMIT

    def __init__(
        self,
        settings: SourceSettings,
        clock: Clock,
        *,
        quota: Quota | None = None,
        api: ApiClient | None = None,
    ):
        self.plan_name = settings.plan.name
        self._settings, self._clock = settings, clock
        self._api = api or ApiClient(settings, clock, quota)
        self._downloads = RecordingDownloads(settings, clock)
        self._uses_page_numbers: bool | None = None  # until the first answer

    @property
    def requests_made(self) -> int:
        """How many API requests were sent so far, retries included."""
        return self._api.requests_made

    @property
    def last_headers(self) -> AnswerHeaders | None:
        """What the headers of the API's last answer show; None before the first one."""
        return self._api.last_headers

    @property
    def dialect(self) -> str:
        """The list's paging, and whether the Bridge answers; "unknown" before the first page came."""
        if self._uses_page_numbers is None:
            return "unknown"
        parts = ["page" if self._uses_page_numbers else "offset"]
        if self._api.is_bridge:
            parts.append("Bridge")
        return ", ".join(parts)

    def close(self) -> None:
        """Close the connections."""
        self._api.close()
        self._downloads.close()

    def list_page(self, window: Window | None, offset: int, page_number: int) -> Page:
        """Return one page of completed calls, `offset` rows, or `page_number - 1` pages, into the list."""
        position: dict[str, int] = {}  # a first page needs none in either dialect, and the other's may be refused
        if offset:
            position = {"page": page_number} if self._uses_page_numbers else {"offset": offset}
        dates = {"from_date": format_time(window.start), "to_date": format_time(window.end)} if window else {}
        query = {"status": "completed", **dates, "limit": PAGE_LIMIT, **position}
        answer, size_bytes = self._api.get_sized("/calls", query, is_about_one_call=False)
        rows = answer.get("calls", answer.get("data"))
        if not isinstance(rows, list):
            raise UnexpectedResponse(f"the list of calls has neither 'calls' nor 'data': it has {names_in(answer)}")
        self._uses_page_numbers = "offset" not in answer and "page" in answer
        ours, foreign_ids = separate_foreign_rows(rows, self._settings.organization_id)
        calls, unparsed = parse_rows(
            ours,
            organization_id=self._settings.organization_id,
            now=self._clock.now(),
            zone=self._settings.timezone,
            country=self._settings.default_country,
            recording_hosts=self._settings.recording_hosts,
        )
        total, limit = parse_count(answer.get("total")), parse_count(answer.get("limit"))
        return Page(calls, unparsed, total, limit, size_bytes, foreign_ids)

    def pages(self, window: Window, *, prefetch: int = 0, first: Page | None = None) -> Iterator[Page]:
        """Yield all pages of a window, in the server's order; see `read_pages` for how they end."""
        return read_pages(
            partial(self.list_page, window),
            page_limit=PAGE_LIMIT,
            prefetch=prefetch,
            first=first,
            clock=self._clock,
        )

    def recording(self, call_id: str) -> RecordingAnswer:
        """Mint a URL for one call. Raises `CallNotFound` or `CallGone` where upstream has no recording of it."""
        answer = self._api.get(f"/calls/{_quote(call_id)}/recording", field="recording_url")
        url = answer.get("recording_url")
        return RecordingAnswer(
            url if isinstance(url, str) and url.strip() else None,
            finite_number(answer.get("duration_seconds")),
            parse_count(answer.get("size_bytes")),
        )

    def transcript(self, call_id: str) -> TranscriptAnswer:
        """Return the transcript of one call. Raises `CallNotFound` or `CallGone` where upstream has none."""
        answer = self._api.get(f"/calls/{_quote(call_id)}/transcript", field=TRANSCRIPT_FIELDS, list_as="transcript")
        return parse_transcript_answer(answer)

    def events(self, call_id: str) -> list[CallEvent]:
        """Return the timeline of one call (undocumented shape). Raises `CallNotFound` where upstream has none."""
        answer = self._api.get(f"/calls/{_quote(call_id)}/events", list_as="events")
        hosts = self._settings.recording_hosts
        return parse_events(answer, zone=self._settings.timezone, recording_hosts=hosts)

    def statistics(self, window: Window) -> list[CallCounter]:
        """Return what `/calls/stats` counts in a window; none where no number can be read (undocumented shape)."""
        query = {"from_date": format_time(window.start), "to_date": format_time(window.end)}
        return read_statistics(self._api.get("/calls/stats", query, is_about_one_call=False))

    def trends(self, day: date) -> list[CallCounter]:
        """Return what `action=trends` counts of a day; none where no number can be read (undocumented shape)."""
        # Whether the end is inclusive is not documented.
        query = {"action": "trends", "start_date": f"{day}", "end_date": f"{day + timedelta(days=1)}"}
        return read_trends(self._api.get("/calls", query, is_about_one_call=False), day)

    def allowed_extension_days(self, requested_days: int) -> int | None:
        """Return the days that an extension would send; None where the recording is kept that long already."""
        return allowed_extension_days(requested_days, self._settings.plan, self._settings.retention_days)

    def extend(self, call_id: str, days: int, *, idempotency_key: str) -> None:
        """Have upstream keep one recording longer; see `CallSource.extend`."""
        self._api.change(
            "POST",
            f"/calls/{_quote(call_id)}/recording/extend",
            body={"days": days},
            headers={"Idempotency-Key": idempotency_key},
        )

    def delete_recording(self, call_id: str) -> None:
        """Have upstream delete one recording, for good."""
        self._api.change("DELETE", f"/calls/{_quote(call_id)}/recording")

    def turn_on_recording(self) -> Mapping[str, bool]:
        """Have KrosAI record and transcribe calls from now on; return what it accepted."""
        self._api.change("PATCH", "/settings", body=dict(RECORDING_ON), is_about_one_call=False)
        return RECORDING_ON

    def webhook_deliveries(self, page_number: int) -> DeliveryPage:
        """Return one page of the webhook deliveries; a 404 or 403 of the API's own means that it offers none."""
        try:
            # Asked for as if it were about one call: a 403 or 404 says something about webhooks, not about the key.
            answer = self._api.get("/webhook-deliveries", {"page": page_number, "limit": PAGE_LIMIT})
        except (CallNotFound, CallGone) as error:
            raise NotOffered(str(error)) from None
        except RequestRefused as error:
            if error.is_forbidden:
                raise NotOffered(str(error)) from None
            raise
        rows = find_rows(answer)
        if rows is None:
            raise UnexpectedResponse(f"the webhook deliveries are in no known field: the answer has {names_in(answer)}")
        deliveries = [parse_delivery(row, zone=self._settings.timezone) for row in rows]
        return DeliveryPage(deliveries, parse_count(answer.get("total")), parse_count(answer.get("limit")))

    def webhook_delivery(self, delivery_id: str) -> Delivery:
        """Return one webhook delivery with what was sent."""
        answer = self._api.get(f"/webhook-deliveries/{_quote(delivery_id)}")
        return parse_detail(answer, zone=self._settings.timezone)

    def open_recording(self, url: str) -> AbstractContextManager[Body]:
        """Download the body behind a minted URL."""
        return self._downloads.open(url)


def _quote(call_id: str) -> str:
    """Return an id as one segment of a path. URL libraries take `.` and `..` for folders, however they are written."""
    if call_id in (".", ".."):
        raise UnaddressableCall("what has an id of only dots cannot be asked for by itself")
    return quote(call_id, safe="")
