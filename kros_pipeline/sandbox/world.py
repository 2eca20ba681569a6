"""What the simulator knows and what has happened to it: calls, deletions, extensions, counters, its clock."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from kros_pipeline.sandbox.calls import Call, calls_of_day, in_progress
from kros_pipeline.sandbox.config import SandboxConfig
from kros_pipeline.sandbox.faults import Fault, Faults, Switchboard
from kros_pipeline.sandbox.presigning import Signer


@dataclass(slots=True)
class Counters:
    """What has been asked of the simulator since the start or the last reset."""

    requests_by_route: Counter[str] = field(default_factory=Counter)
    responses_by_status: Counter[str] = field(default_factory=Counter)
    storage_requests: int = 0
    storage_responses_by_status: Counter[str] = field(default_factory=Counter)
    downloads_by_call: Counter[str] = field(default_factory=Counter)
    """Answers with the whole, sound audio; `audio_bytes` is their sum."""
    audio_bytes: int = 0
    leaked_credentials: int = 0
    """Storage requests that carried an x-api-key or Authorization header."""
    extend_requests_by_call: Counter[str] = field(default_factory=Counter)
    extends_applied_by_call: Counter[str] = field(default_factory=Counter)
    replayed: int = 0
    """Answers repeated for a known Idempotency-Key."""
    deletes_by_call: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    """Times that each knob acted on a request."""
    api_connections: int = 0
    storage_connections: int = 0


Filter = Callable[[Call], bool]


class World:
    """One organization's calls at KrosAI, as they are at this moment."""

    def __init__(self, config: SandboxConfig) -> None:
        self.config = config
        self.switchboard = Switchboard(config.faults)
        self.counters = Counters()
        self.signer = Signer(secrets.token_bytes(32))
        self.storage_origin = ""
        self.settings = {"recording_enabled": True, "transcription_enabled": True}
        self.extended_days: dict[str, list[int]] = {}
        self.deleted: set[str] = set()
        self.late_released = False
        self._clock_offset_seconds = 0.0
        self._batches: Counter[str] = Counter()
        self._calls: dict[str, Call] = {}
        self._shown: dict[str, Call] = {}
        self._held: list[str] = []
        self._doomed: list[str] = []
        self._selections: dict[Any, list[Call]] = {}
        for day, count in config.calls_by_day.items():
            self.add_calls(day, count)
        self.set_faults(config.faults)

    # The clock.

    def now(self) -> float:
        """Unix time by the simulator's clock."""
        return time.time() + self._clock_offset_seconds

    def advance_clock(self, seconds: float) -> None:
        """URLs expire, quotas renew."""
        self._clock_offset_seconds += seconds

    # Calls.

    def add_calls(self, day: str, count: int) -> list[str]:
        """More calls of a day, other ones each time; returns their ids."""
        added = {call.id: call for call in calls_of_day(self.config, day, count, batch=self._batches[day])}
        self._batches[day] += 1
        self._calls |= added
        self._shown |= added
        self._selections.clear()
        return list(added)

    def remove_call(self, call_id: str) -> None:
        """As if it had never been. KeyError: there is none."""
        del self._calls[call_id]
        for waiting in (self._held, self._doomed):
            if call_id in waiting:
                waiting.remove(call_id)
        self._show(call_id, None)

    def complete_calls(self) -> list[str]:
        """Every call that is held in progress completes at once."""
        completed, self._held = self._held, []
        for call_id in completed:
            self._show(call_id, self._calls[call_id])
        return completed

    def find(self, call_id: str) -> Call | None:
        """The call as it is now."""
        return self._shown.get(call_id)

    def truth(self) -> list[Call]:
        """What there is in the end: held calls completed."""
        return list(self._calls.values())

    def select(self, key: Any, keep: Filter) -> list[Call]:
        """The calls that `keep` keeps, in the list's order. `key` identifies `keep`: paging asks again and again."""
        if key not in self._selections:
            if len(self._selections) > 64:
                self._selections.clear()
            kept = filter(keep, self._shown.values())
            self._selections[key] = sorted(kept, key=self._place, reverse=self.config.order == "newest")
        return self._selections[key]

    def _place(self, call: Call) -> Any:
        if self.config.order == "shuffled":
            return hashlib.blake2b(call.id.encode(), digest_size=8).digest()
        return call.created_at, call.id

    def _show(self, call_id: str, call: Call | None) -> None:
        if call is None:
            self._shown.pop(call_id, None)
        else:
            self._shown[call_id] = call
        self._selections.clear()

    # Faults that move the list.

    def set_faults(self, faults: Faults) -> None:
        """New knobs; what the old ones held in progress completes."""
        self.complete_calls()
        self.switchboard.set(faults)
        completed = [call.id for call in self._calls.values() if call.status == "completed"]
        self._held = [call_id for call_id in completed if self.switchboard.chooses("list_completing", call_id)]
        self._doomed = [call_id for call_id in completed if self.switchboard.chooses("list_vanishing", call_id)]
        for call_id in self._held:
            self._show(call_id, in_progress(self._calls[call_id]))

    def page_was_served(self) -> None:
        """One more held call completes, one more doomed call vanishes."""
        if self._held:
            call_id = self._held.pop()
            self._show(call_id, self._calls[call_id])
        if self._doomed:
            self.remove_call(self._doomed[-1])

    def hits(self, knob: str, subject: str, route: str = "") -> Fault | None:
        """The fault, if the knob acts on this request; counted."""
        if not self.switchboard.active:
            return None
        fault = self.switchboard.hits(knob, subject, route)
        self.counters.faults[knob] += fault is not None
        return fault

    # Recordings.

    def is_ready(self, call: Call) -> bool:
        """Late ones are not, until they are released."""
        return self.late_released or not call.late

    def release_late(self) -> None:
        """Late recordings and transcripts appear."""
        self.late_released = True

    def has_recording(self, call: Call) -> bool:
        """Whether there is audio to fetch at this moment."""
        return call.recorded and self.is_ready(call) and call.id not in self.deleted

    def recording_url(self, call_id: str) -> str:
        """A fresh presigned URL, as the API hands it out."""
        fault = self.hits("url_foreign", call_id)
        if fault:
            return self._presigned(str(fault.value or "https://recordings.example.com"), call_id)
        return self.own_url(call_id)

    def own_url(self, call_id: str) -> str:
        """A fresh presigned URL that works."""
        return self._presigned(self.storage_origin, call_id)

    def _presigned(self, origin: str, call_id: str) -> str:
        path = f"/recordings/{quote(call_id, safe='')}.mp3"
        return self.signer.presign(origin, path, now=self.now(), seconds=self.config.url_seconds)


def utc_text(moment: datetime) -> str:
    """ISO 8601 as the API writes it: `2025-01-10T10:00:00Z`, with a fraction only where there is one."""
    precision = "milliseconds" if moment.microsecond else "seconds"
    return moment.astimezone(UTC).isoformat(timespec=precision).replace("+00:00", "Z")


def plain(counters: Counters) -> dict[str, Any]:
    """The counters as JSON."""
    values: Mapping[str, Any] = {name: getattr(counters, name) for name in Counters.__slots__}
    return {name: dict(value) if isinstance(value, Counter) else value for name, value in values.items()}
