"""The call source: what the archive needs of a voice platform, as a Protocol. KrosAI is its implementation.

Raw JSON does not pass it, and no URL of a recording is ever shown by its types.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import IO, Protocol

from ..core.call_counters import CallCounter
from ..core.calls import Call


@dataclass(frozen=True, slots=True)
class Window:
    """A range of time that is listed: `from_date` and `to_date`, which may be inclusive or not."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class ListedCall:
    """A call and the presigned URL that came with it. The URL lives as long as this object, and is stored nowhere.

    `has_zone` is False where `created_at` named no time zone, and no setting says which one is meant.
    """

    call: Call
    recording_url: str | None
    has_zone: bool = True

    def __repr__(self) -> str:  # the URL is a secret: no traceback or log line may show it
        return f"ListedCall({self.call.call_id!r})"


@dataclass(frozen=True, slots=True)
class UnparsedRow:
    """A row of the list that is no call: its JSON without URLs, the call's id if it has one, and what is wrong."""

    call_id: str | None
    created_at: datetime | None
    raw_json: str
    problem: str


@dataclass(frozen=True, slots=True)
class Page:
    """One answer of the list. `total` is None where it gave none; `limit` is the one that the answer names.

    `size_bytes` is the length of its body, 0 where that is unknown. `foreign_ids` identify the rows of another
    organization: they count, and nothing else of them is here.
    """

    calls: list[ListedCall]
    unparsed: list[UnparsedRow]
    total: int | None
    limit: int | None
    size_bytes: int = 0
    foreign_ids: list[str] = field(default_factory=list)

    @property
    def row_count(self) -> int:
        """How many rows the answer has: parsed, not parsed, or refused."""
        return len(self.calls) + len(self.unparsed) + len(self.foreign_ids)

    @property
    def identities(self) -> set[str]:
        """What identifies its rows: the ids, and the JSON of a row that has none."""
        ours = {listed.call.call_id for listed in self.calls} | {row.call_id or row.raw_json for row in self.unparsed}
        return ours.union(self.foreign_ids)


@dataclass(frozen=True, slots=True)
class RecordingAnswer:
    """The answer about one call's recording. The URL is a secret, and None where there is no recording (yet)."""

    recording_url: str | None
    duration_seconds: float | None
    size_bytes: int | None = None

    def __repr__(self) -> str:
        return f"RecordingAnswer(has_url={self.recording_url is not None})"


@dataclass(frozen=True, slots=True)
class TranscriptAnswer:
    """The answer about one call's transcript. `text` is None where there is none (yet).

    `raw_json` is the whole answer where it holds something in a form that is not understood.
    """

    text: str | None
    word_count: int | None
    language: str | None
    confidence: float | None
    raw_json: str | None = None


@dataclass(frozen=True, slots=True)
class CallEvent:
    """One event of a call's timeline. `extra` is JSON of what is not in the other fields, without URLs of recordings.

    `name` is None only in the row of a call that has no events.
    """

    name: str | None
    occurred_at: datetime | None
    hangup_cause: str | None
    extra: str | None


@dataclass(frozen=True, slots=True)
class WebhookEvent:
    """An event that says that a call completed. Every attempt to deliver it has the same `event_id`.

    `created_at` is the call's own time, `sent_at` the event's; each may be unknown.
    """

    event_id: str
    call_id: str
    created_at: datetime | None
    sent_at: datetime | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One attempt to deliver an event to one of the account's webhooks at KrosAI.

    `event` is None where the event says nothing of a completed call. It is also None where `needs_detail` is True: the
    list does not show what was sent, so the delivery has to be asked for by its id; and where `problem` says what
    cannot be read. `sent_at` is the attempt's time, and `event_id` the event's id; each may be unknown.
    """

    delivery_id: str | None = None
    event_id: str | None = None
    sent_at: datetime | None = None
    event: WebhookEvent | None = None
    needs_detail: bool = False
    problem: str = ""


@dataclass(frozen=True, slots=True)
class DeliveryPage:
    """One page of the webhook deliveries. `total` and `limit` are None where the answer names none."""

    deliveries: list[Delivery]
    total: int | None
    limit: int | None


@dataclass(slots=True)
class Body:
    """The whole body of a recording: in memory, or in an open file if it is large. Valid while it is open only.

    `is_length_known` is True where the storage declared its length, and all of it came.
    """

    data: bytes | memoryview
    file: IO[bytes] | None
    size_bytes: int
    sha256: str
    is_length_known: bool = True


class CallSource(Protocol):
    """One account of a voice platform. Threads share it. Methods raise `ApiError`, `open_recording` `DownloadError`."""

    page_limit: int
    """The rows of a full page of the list."""
    plan_name: str
    """The account's plan, for messages."""

    @property
    def requests_made(self) -> int:
        """How many API requests were sent so far, retries included. Downloads do not count."""

    @property
    def dialect(self) -> str:
        """How the API's list is asked for, in words, as its answers showed it; "unknown" before the first one."""

    def list_page(self, window: Window | None, offset: int, page_number: int) -> Page:
        """Return one page of a window's completed calls: `offset` rows, or `page_number - 1` pages, into the list.

        Without a window it is a page of all completed calls: a list may have no date filter.
        """

    def pages(self, window: Window, *, prefetch: int = 0, first: Page | None = None) -> Iterator[Page]:
        """Yield all pages of a window's completed calls, in the server's order; up to `prefetch` are asked ahead.

        `first` is the first page, where it was asked for already.
        """

    def recording(self, call_id: str) -> RecordingAnswer:
        """Mint a URL for one call. Raises `CallNotFound` or `CallGone` where there is no recording of it."""

    def transcript(self, call_id: str) -> TranscriptAnswer:
        """Return the transcript of one call. Raises `CallNotFound` or `CallGone` where there is none."""

    def events(self, call_id: str) -> list[CallEvent]:
        """Return the timeline of one call. Raises `CallNotFound` or `CallGone` where there is none."""

    def statistics(self, window: Window) -> list[CallCounter]:
        """Return what the statistics count in a window, completed calls first; none where no number can be read."""

    def trends(self, day: date) -> list[CallCounter]:
        """Return what the daily counts show of a day, completed calls first; none where no number can be read."""

    def allowed_extension_days(self, requested_days: int) -> int | None:
        """Return the days that an extension would send; None where the recording is kept that long already."""

    def extend(self, call_id: str, days: int, *, idempotency_key: str) -> None:
        """Have one recording kept longer. Sent once: whether repeating it adds the days again is not documented.

        After `ApiUnreachable(surely_not_sent=True)` or `TooManyRequests` it surely had no effect. After any other
        `ApiUnreachable`, and after `ApiServerError`, it may have had one.
        """

    def delete_recording(self, call_id: str) -> None:
        """Have one recording deleted for good. Sent once; its errors mean what they mean of `extend`."""

    def turn_on_recording(self) -> Mapping[str, bool]:
        """Have calls recorded and transcribed from now on; return what was accepted. Sent once, like `extend`."""

    def webhook_deliveries(self, page_number: int) -> DeliveryPage:
        """Return one page of what was sent to the account's webhooks; pages count from 1.

        Raises `NotOffered` where upstream does not offer the list, or not to this key.
        """

    def webhook_delivery(self, delivery_id: str) -> Delivery:
        """Return one delivery with what was sent. Raises `CallNotFound` or `CallGone` where there is none."""

    def open_recording(self, url: str) -> AbstractContextManager[Body]:
        """Download the body behind a minted URL.

        Raises `UrlRefused`, `UrlExpired`, `AudioGone`, `DownloadBroken` or `InvalidAudio`.
        """

    def close(self) -> None:
        """Close the connections."""
