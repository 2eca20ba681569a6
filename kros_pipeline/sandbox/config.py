"""Configure a sandbox: a frozen dataclass that checks its values and can be sent to a child process as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any, Literal, get_args, get_type_hints

from .faults import Faults

IdStyle = Literal["call", "uuid", "hostile"]
Dialect = Literal["offset", "page"]
Order = Literal["newest", "oldest", "shuffled"]
FilterBy = Literal["created_at", "completed_at"]
DateFilter = Literal["honoured", "ignored", "refused"]
Auth = Literal["any", "x-api-key", "bearer"]
Bridge = Literal["", "/api/v1", "/v1"]
DepthAnswer = Literal["refused", "empty"]
Times = Literal["utc", "local", "naive"]
WebhookNames = Literal["completed", "ended", "upper"]
WebhookPayload = Literal["object", "text", "detail"]
WebhookData = Literal["call_id", "id", "call", "bare"]
WebhookList = Literal["data", "deliveries", "webhook_deliveries"]

CHANGEABLE = frozenset(
    {
        *(
            "dialect",
            "date_filter",
            "order",
            "total_cap",
            "depth_cap",
            "depth_answer",
            "from_date_inclusive",
            "to_date_inclusive",
        ),
        *("filter_by", "filter_reads_days_only", "filter_shift_hours", "listed_status", "times", "zone_hours"),
        *("webhook", "webhook_names", "webhook_payload", "webhook_data", "webhook_list", "webhook_total"),
    }
)
"""The fields that a running simulator can change: how calls are listed and delivered, but not which calls there are."""


@dataclass(frozen=True)
class SandboxConfig:
    """The configuration of a sandbox. Equal configurations give equal calls, texts and audio bytes."""

    # The calls.
    seed: int = 7
    days: Sequence[str] | Mapping[str, int] = ("2025-01-09", "2025-01-10", "2025-01-11")
    """UTC days of `created_at`; a mapping gives the number of calls for each day."""
    calls_per_day: int = 40
    variety: bool = True
    """False: every call is completed, recorded and listed with its whole, labelled transcript."""
    id_style: IdStyle = "call"
    audio_seconds: tuple[int, int] = (5, 600)
    """Duration of the shortest and the longest call."""
    late_share: float = 0.0
    """Share (0 to 1) of completed calls whose recording and transcript appear only after `release_late()`."""
    longest_transcript_characters: int = 20_000
    """With variety, one call of each day has a transcript of at least this length; 0: no call has."""
    hostile_text: bool = False
    """Some transcripts contain NUL, lone surrogates, unusual line separators and lines of 100,000 characters."""

    # The API.
    dialect: Dialect = "offset"
    order: Order = "newest"
    total_cap: int | None = None
    """The list's `total` is never more than this, however many calls it has."""
    depth_cap: int | None = None
    """The list shows only this many rows: the page that reaches it is cut there. Statistics count all calls."""
    depth_answer: DepthAnswer = "refused"
    """The answer to an offset at or behind `depth_cap`: 400 VALIDATION_ERROR, or an empty page."""
    date_filter: DateFilter = "honoured"
    """What `from_date` and `to_date` of the list do: select calls, nothing, or make it answer 400."""
    from_date_inclusive: bool = True
    to_date_inclusive: bool = True
    filter_by: FilterBy = "created_at"
    filter_reads_days_only: bool = False
    """The date filter covers the whole days of `from_date` and `to_date`, both inclusive."""
    filter_shift_hours: float = 0.0
    """Offset of the account's zone from UTC. If it is not 0, the date filter drops the zone of a time and reads it as
    local time: at -8, `2025-01-10T00:00:00Z` means 08:00 UTC. `filter_reads_days_only` then means local days.
    """
    listed_status: str = "completed"
    """The status that completed calls show. The filter still selects them by `status=completed`."""
    times: Times = "utc"
    """How a call's times are written: `…T10:00:00Z`; `local`: `…T11:00:00+01:00`; `naive`: `…T11:00:00`."""
    zone_hours: float = 0.0
    """Offset of the zone of `local` and `naive` times from UTC."""
    api_key: str = "kros_test_sandbox"
    auth: Auth = "any"
    organization_id: str | None = None
    """The only organization that requests may name; requests that name none are accepted."""
    bridge: Bridge = ""
    """The newer deployment, the Bridge, answers below this path; behind `/v1` only its headers show it. It accepts
    `bearer` only. Requests without the query `organization_id` get the calls of another organization, too.
    """
    requests_per_second: float | None = None
    requests_per_day: int | None = None
    idempotency: bool = True
    """Whether Idempotency-Key is honoured, as the newer deployment does."""
    maximum_retention_days: int = 365
    deleted_recording_status: Literal[404, 410] = 410

    # Webhook deliveries.
    webhook: bool = False
    """Whether the account has a webhook. False: 404 to /webhook-deliveries."""
    webhook_names: WebhookNames = "completed"
    """The spelling of the events: `call.completed`, `call.ended` or `CALL_COMPLETED`, and likewise for the others."""
    webhook_payload: WebhookPayload = "object"
    """What a row of the list shows of what was sent: an object, its JSON as a text, or nothing; the detail has all."""
    webhook_data: WebhookData = "call_id"
    """Where the event's data has the call's id; `bare`: as `call_id`, and nothing else, not even a time."""
    webhook_list: WebhookList = "data"
    """The name of the list's rows."""
    webhook_total: bool = True
    """Whether the list says `total`, `page` and `limit`."""

    # Storage.
    url_seconds: float = 3600.0

    # Both.
    tls: bool = False
    """HTTPS with a certificate for `localhost` and 127.0.0.1; needs the package `cryptography`."""
    faults: Faults = field(default_factory=Faults)

    # The archive.
    bucket: str = "kros-archive"
    prefix: str = "krosai"
    versioning: bool = False
    object_lock: bool = False

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(type(self)).items():
            allowed = get_args(kind)
            if getattr(kind, "__origin__", None) is Literal and getattr(self, name) not in allowed:
                choices = ", ".join(repr(value) for value in allowed)
                raise ValueError(f"{name} must be one of {choices}, not {getattr(self, name)!r}")
        if not self.days:
            raise ValueError("days must name at least one day")
        for day, count in self.calls_by_day.items():
            try:
                date.fromisoformat(day)
            except ValueError:
                raise ValueError(f"days must be written YYYY-MM-DD, not {day!r}") from None
            if count < 0:
                raise ValueError(f"the number of calls of {day} must not be negative, but is {count}")
        shortest, longest = self.audio_seconds
        if not 1 <= shortest <= longest:
            raise ValueError(f"audio_seconds must be (shortest, longest), each at least 1, not {self.audio_seconds}")
        if not 0 <= self.late_share <= 1:
            raise ValueError(f"late_share must be between 0 and 1, not {self.late_share}")
        for name in ("requests_per_second", "requests_per_day", "url_seconds"):
            if (value := getattr(self, name)) is not None and value <= 0:
                raise ValueError(f"{name} must be more than 0, not {value}")
        for name in ("total_cap", "depth_cap"):
            if (value := getattr(self, name)) is not None and value < 0:
                raise ValueError(f"{name} must not be negative, but is {value}")
        for name in ("filter_shift_hours", "zone_hours"):
            if not -24 < (value := getattr(self, name)) < 24:
                raise ValueError(f"{name} must be more than -24 and less than 24, not {value}")
        if not self.api_key:
            raise ValueError("api_key must not be empty")
        if self.bridge and not self.organization_id:
            raise ValueError("the Bridge needs an organization_id")

    @property
    def base_path(self) -> str:
        """Return the path below which the API answers."""
        return self.bridge or "/v1"

    @property
    def calls_by_day(self) -> dict[str, int]:
        """Return the number of calls of each UTC day."""
        if isinstance(self.days, Mapping):
            return dict(self.days)
        return dict.fromkeys(self.days, self.calls_per_day)

    def to_json(self) -> dict[str, Any]:
        """Return the configuration as JSON values."""
        return {**asdict(self), "faults": self.faults.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SandboxConfig:
        """Make the configuration from what `to_json` returned."""
        faults = Faults.from_json(data["faults"])
        return cls(**{**data, "audio_seconds": tuple(data["audio_seconds"]), "faults": faults})
