"""The state of the simulator: calls, deletions, extensions, counters and clock."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from .calls import Call, as_in_progress, draw_calls, move_call, place_call, replace_call
from .config import CHANGEABLE, SandboxConfig
from .faults import Fault, FaultInjector, Faults
from .presigning import Signer


@dataclass(slots=True)
class Counters:
    """Counters of requests and effects since the start or the last reset."""

    requests_by_route: Counter[str] = field(default_factory=Counter)
    responses_by_status: Counter[str] = field(default_factory=Counter)
    storage_requests: int = 0
    storage_responses_by_status: Counter[str] = field(default_factory=Counter)
    downloads_by_call: Counter[str] = field(default_factory=Counter)
    """Answers with the whole, undamaged audio; `audio_bytes` is their sum."""
    audio_bytes: int = 0
    leaked_credentials: int = 0
    """Storage requests that carried an x-api-key or Authorization header."""
    extend_requests_by_call: Counter[str] = field(default_factory=Counter)
    extends_applied_by_call: Counter[str] = field(default_factory=Counter)
    replayed: int = 0
    """Answers that were repeated for a known Idempotency-Key."""
    deletes_by_call: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    """How often each fault was injected."""
    api_connections: int = 0
    storage_connections: int = 0


Filter = Callable[[Call], bool]
OTHER_ORGANIZATION = "org-of-somebody-else"
_FOREIGN_CALLS_PER_DAY = 3


class World:
    """The calls of one organization at KrosAI, as they are now, and a few of another organization."""

    def __init__(self, config: SandboxConfig) -> None:
        self.config = config
        self.fault_injector = FaultInjector(config.faults)
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
        self._incomplete: list[str] = []
        self._vanishing: list[str] = []
        self._swapping: list[str] = []
        self._selections: dict[Any, list[Call]] = {}
        ordinary = replace(config, variety=False, late_share=0.0)
        self._foreign = {
            call.id: call
            for day in config.calls_by_day
            for call in draw_calls(ordinary, day, _FOREIGN_CALLS_PER_DAY, batch=-1)
        }
        for day, count in config.calls_by_day.items():
            self.add_calls(day, count)
        self.set_faults(config.faults)

    # The clock.

    def now(self) -> float:
        """Return the Unix time of the simulator's clock."""
        return time.time() + self._clock_offset_seconds

    def advance_clock(self, seconds: float) -> None:
        """Move the clock forward: URLs expire and quotas renew."""
        self._clock_offset_seconds += seconds

    # The list.

    def change_config(self, **changes: Any) -> None:
        """Change how calls are listed from now on. Raises ValueError for a field that is not CHANGEABLE."""
        if fixed := sorted(set(changes) - CHANGEABLE):
            raise ValueError(f"a running simulator cannot change {', '.join(fixed)}")
        self.config = replace(self.config, **changes)
        self._selections.clear()

    # Calls.

    def add_calls(self, day: str, count: int) -> list[str]:
        """Add calls to a day, different ones each time. Returns their ids."""
        added = {call.id: call for call in draw_calls(self.config, day, count, batch=self._take_batch(day))}
        self._calls |= added
        self._shown |= added
        self._selections.clear()
        return list(added)

    def add_call(
        self,
        created_at: str,
        *,
        status: str = "completed",
        duration_seconds: int | None = None,
        recorded: bool = True,
        hidden: bool = False,
        call_id: str | None = None,
    ) -> str:
        """Add one call that begins at an ISO 8601 time (without a zone: UTC). Returns its id.

        `duration_seconds` None draws a duration. A recording has 12,000 bytes for each second. The list leaves a
        `hidden` call out. Raises ValueError for an id that exists.
        """
        moment = datetime.fromisoformat(created_at)
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        batch = self._take_batch(moment.date().isoformat())
        call = place_call(
            self.config, moment, batch, status=status, duration_seconds=duration_seconds, recorded=recorded
        )
        call = replace(call, hidden=hidden)
        if call_id is not None:
            call = replace_call(call, call_id)
        if call.id in self._calls:
            raise ValueError(f"there is a call {call.id} already")
        self._calls[call.id] = call
        self._show(call.id, call)
        return call.id

    def move_call(self, call_id: str, seconds: float) -> str:
        """Move all times of a call by `seconds`. Returns the new `created_at`. Raises KeyError for an unknown id."""
        call = self._calls[call_id]
        call = self._calls[call_id] = move_call(call, call.created_at + timedelta(seconds=seconds))
        self._show(call_id, as_in_progress(call) if call_id in self._incomplete else call)
        return format_time(call.created_at)

    def remove_call(self, call_id: str) -> None:
        """Remove a call without a trace. Raises KeyError if there is no such call."""
        del self._calls[call_id]
        for pending in (self._incomplete, self._vanishing, self._swapping):
            if call_id in pending:
                pending.remove(call_id)
        self._show(call_id, None)

    def complete_calls(self) -> list[str]:
        """Complete all calls that `list_completing` shows as in progress. Returns their ids."""
        completed, self._incomplete = self._incomplete, []
        for call_id in completed:
            self._show(call_id, self._calls[call_id])
        return completed

    def find(self, call_id: str, *, with_foreign: bool = False) -> Call | None:
        """Return the call as the API shows it now; None if there is none."""
        return self._shown.get(call_id) or (self._foreign.get(call_id) if with_foreign else None)

    def organization_of(self, call: Call) -> str | None:
        """Return the organization that a call names; our own calls name one only to the Bridge's clients."""
        if call.id in self._foreign:
            return OTHER_ORGANIZATION
        return self.config.organization_id if self.config.bridge else None

    def list_final_calls(self) -> list[Call]:
        """Return all calls as they are in the end, with those of `list_completing` completed."""
        return list(self._calls.values())

    def select(self, key: Any, keep: Filter, *, with_foreign: bool = False) -> list[Call]:
        """Return the calls that `keep` accepts, in the list's order.

        `key` identifies `keep` in a cache: each page of a listing selects the same calls again.
        """
        key = key, with_foreign
        if key not in self._selections:
            if len(self._selections) > 64:
                self._selections.clear()
            kept = filter(keep, [*self._shown.values(), *(self._foreign.values() if with_foreign else ())])
            self._selections[key] = sorted(kept, key=self._sort_key, reverse=self.config.order == "newest")
        return self._selections[key]

    def _take_batch(self, day: str) -> int:
        """Return the number of the day's next batch of calls."""
        self._batches[day] += 1
        return self._batches[day] - 1

    def _sort_key(self, call: Call) -> Any:
        if self.config.order == "shuffled":
            return hashlib.blake2b(call.id.encode(), digest_size=8).digest()
        return call.created_at, call.id

    def _show(self, call_id: str, call: Call | None) -> None:
        if call is None:
            self._shown.pop(call_id, None)
        else:
            self._shown[call_id] = call
        self._selections.clear()

    # Faults that change the list.

    def set_faults(self, faults: Faults) -> None:
        """Replace all faults; calls that the old ones showed as in progress complete."""
        self.complete_calls()
        self.fault_injector.set(faults)
        completed = [call.id for call in self._calls.values() if call.status == "completed"]
        self._incomplete = [call_id for call_id in completed if self.fault_injector.select("list_completing", call_id)]
        self._vanishing = [call_id for call_id in completed if self.fault_injector.select("list_vanishing", call_id)]
        self._swapping = [call_id for call_id in completed if self.fault_injector.select("list_swapping", call_id)]
        for call_id in self._incomplete:
            self._show(call_id, as_in_progress(self._calls[call_id]))

    def on_page_served(self, page: Sequence[Call]) -> None:
        """Complete, remove and swap one call each of `list_completing`, `list_vanishing` and `list_swapping`.

        The call that is swapped was on the page, so that no later page shows the change.
        """
        if self._swapping and (call := next((call for call in page if call.id in self._swapping), None)):
            self._swap_call(call.id)
        if self._incomplete:
            call_id = self._incomplete.pop()
            self._show(call_id, self._calls[call_id])
        if self._vanishing:
            self.remove_call(self._vanishing[-1])

    def _swap_call(self, call_id: str) -> None:
        call = self._calls[call_id]
        self.remove_call(call_id)
        day = call.created_at.date().isoformat()
        drawn = next(draw_calls(self.config, day, 1, batch=self._take_batch(day)))
        self._calls[drawn.id] = replace_call(call, drawn.id)
        self._show(drawn.id, self._calls[drawn.id])

    def trigger_fault(self, name: str, subject: str, route: str = "") -> Fault | None:
        """Return the fault if it applies to this request, and count it."""
        if not self.fault_injector.is_active:
            return None
        fault = self.fault_injector.trigger(name, subject, route)
        self.counters.faults[name] += fault is not None
        return fault

    # Recordings.

    def is_ready(self, call: Call) -> bool:
        """Return whether the call's recording and transcript are visible: late ones only after `release_late`."""
        return self.late_released or not call.late

    def release_late(self) -> None:
        """Make late recordings and transcripts visible."""
        self.late_released = True

    def has_recording(self, call: Call) -> bool:
        """Return whether the recording can be downloaded now."""
        return call.recorded and self.is_ready(call) and call.id not in self.deleted

    def mint_url(self, call_id: str) -> str:
        """Mint a presigned URL, as the API returns it."""
        fault = self.trigger_fault("url_foreign", call_id)
        if fault:
            return self._presign(str(fault.value or "https://recordings.example.com"), call_id)
        return self.mint_valid_url(call_id)

    def mint_valid_url(self, call_id: str) -> str:
        """Mint a presigned URL that is valid, whatever the faults."""
        return self._presign(self.storage_origin, call_id)

    def _presign(self, origin: str, call_id: str) -> str:
        path = f"/recordings/{quote(call_id, safe='')}.mp3"
        return self.signer.presign(origin, path, now=self.now(), seconds=self.config.url_seconds)


def format_time(moment: datetime) -> str:
    """Format a time as the API does: `2025-01-10T10:00:00Z`, with milliseconds only if there are any."""
    precision = "milliseconds" if moment.microsecond else "seconds"
    return moment.astimezone(UTC).isoformat(timespec=precision).replace("+00:00", "Z")


def counters_to_json(counters: Counters) -> dict[str, Any]:
    """Return the counters as JSON values."""
    values: Mapping[str, Any] = {name: getattr(counters, name) for name in Counters.__slots__}
    return {name: dict(value) if isinstance(value, Counter) else value for name, value in values.items()}
