"""Faults that the simulator can inject: which, for which calls, how often.

    Faults(storage_truncated=Fault(share=0.2, attempts=1), api_error=Fault(routes=("transcript",), value=503))

Routes of the API are `list`, `call`, `recording`, `transcript`, `stats`, `trends`, `extend`, `delete`, `settings`,
`deliveries` and `delivery`.
A share below 1 selects calls by a hash of fault name and call id, so that every run selects the same calls.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Fault:
    """When a fault is injected. Its subject is a call, or a page of the list (identified by its query)."""

    share: float = 1.0
    """Share of the subjects that have the fault, 0 to 1."""
    attempts: int | None = None
    """Only the first n attempts of each subject have the fault; None: every attempt."""
    calls: tuple[str, ...] = ()
    """Exactly these call ids; `share` is then ignored."""
    routes: tuple[str, ...] = ()
    """Only these routes (for the `api_` faults); empty: all routes."""
    value: float | str | None = None
    """Its meaning and default stand beside each fault."""

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"a fault's share must be between 0 and 1, not {self.share}")
        if self.attempts is not None and self.attempts < 1:
            raise ValueError(f"a fault's attempts must be at least 1, or None for every attempt, not {self.attempts}")


@dataclass(frozen=True)
class Faults:
    """All faults, each off by default. The comments give the meaning of `value` and, in brackets, its default."""

    # The API, any route.
    api_latency_seconds: float = 0.0  # delays every answer, but not the other requests
    api_key_refused: Fault | None = None  # 401 for a valid key
    api_reset: Fault | None = None  # the connection is reset instead of an answer
    api_timeout: Fault | None = None  # no answer for `value` seconds (10), then the connection closes
    api_rate_limited: Fault | None = None  # 429; `value` is Retry-After ("0.2"), or a form of `answers.rate_limited`
    api_error: Fault | None = None  # `value` is the status (500)
    api_gateway: Fault | None = None  # a gateway's answer; `value` is status and body ("404 html"): `answers.gateway`

    # GET /calls
    list_unknown_shape: Fault | None = None  # JSON, but neither "calls" nor "data"
    list_not_json: Fault | None = None  # 200 with HTML
    list_malformed: Fault | None = None  # per call; `value` is one of MALFORMED (chosen by call id)
    list_heavy: Fault | None = None  # per call; a good row with costly metadata; `value` is one of HEAVY (by call id)
    list_odd_status: Fault | None = None  # per call; shows the status `value` ("archived"), filtered by the real one
    list_total_wrong: Fault | None = None  # `value` (1) is added to total; `attempts` counts passes (first pages)
    list_offset_ignored: Fault | None = None  # every page is the first page
    list_limit_ignored: Fault | None = None  # at most `value` (20) calls on a page; the answer reports this limit
    list_foreign_rows: Fault | None = None  # calls of another organization are listed, too, even to the Bridge's query
    list_dates_ignored: Fault | None = None  # from_date and to_date have no effect
    list_status_ignored: Fault | None = None  # status has no effect
    list_duplicates: Fault | None = None  # per call; listed twice in a row; total counts distinct calls
    list_completing: Fault | None = None  # per call; in progress at first; one more completes after each page
    list_vanishing: Fault | None = None  # per call; one more is removed for good after each page
    list_swapping: Fault | None = None  # per call; one of each page is removed for good after it, a new one replaces it

    # GET /calls/stats, and /calls?action=trends
    counters_wrong: Fault | None = None  # `value` (1) is added to the completed calls

    # The URLs that the API mints.
    url_foreign: Fault | None = None  # per call; `value` replaces scheme and host ("https://recordings.example.com")

    # Storage, per call.
    storage_latency_seconds: float = 0.0
    storage_reset: Fault | None = None  # half the body, then a reset
    storage_truncated: Fault | None = None  # half the body, then the connection closes; Content-Length is the whole
    storage_cut_silently: Fault | None = None  # half the body, no Content-Length, Connection: close
    storage_html: Fault | None = None  # 200 with an HTML page
    storage_json: Fault | None = None  # 200 with a JSON error
    storage_empty: Fault | None = None  # 200, Content-Length: 0
    storage_rubbish: Fault | None = None  # the first half is good frames, the second half is noise
    storage_longer: Fault | None = None  # more bytes than Content-Length declares
    storage_other_length: Fault | None = None  # good audio, `value` (0.5) times as long
    storage_wav: Fault | None = None  # another format, 10 s of it; `value` "whole": as many bytes as the recording
    storage_slow: Fault | None = None  # the body arrives in pieces over `value` seconds (5)
    storage_redirect: Fault | None = None  # 302 to `value` (a valid URL)
    storage_gzip: Fault | None = None  # Content-Encoding: gzip, whatever the client accepts
    storage_denied: Fault | None = None  # 403 before the URL expires
    storage_missing: Fault | None = None  # 404
    storage_gone: Fault | None = None  # 410
    storage_error: Fault | None = None  # `value` is the status (500)
    storage_slow_down: Fault | None = None  # 503 SlowDown

    # POST /calls/{id}/recording/extend
    extend_rate_limited: Fault | None = None  # as api_rate_limited; not applied
    extend_error: Fault | None = None  # `value` is the status (500); not applied
    extend_lost: Fault | None = None  # applied, but the answer is `value` (502)
    extend_timeout: Fault | None = None  # applied, then no answer for `value` seconds (10)
    extend_refused: Fault | None = None  # `value` is the status (403); not applied

    def to_json(self) -> dict[str, Any]:
        """Return the faults that are on, as JSON values."""
        return {name: value for name, value in asdict(self).items() if value}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Faults:
        """Make the faults from what `to_json` returned. Raises ValueError for an unknown fault."""
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(data) - known):
            raise ValueError(f"no such fault: {', '.join(unknown)}")
        given: dict[str, Any] = {
            name: _parse_fault(value) if isinstance(value, Mapping) else value for name, value in data.items()
        }
        return cls(**given)


MALFORMED = ("missing_id", "id_not_text", "missing_created_at", "unreadable_created_at", "not_an_object")
HEAVY = ("huge_integer", "deep", "many_schemes")
"""An integer of 5,000 digits, a list nested 1,000 deep, 120 kB of `://`."""


def choose_kind(name: str, fault: Fault, kinds: Sequence[str], subject: str) -> str:
    """Return the kind that the fault's value names; without a value, one chosen by the subject.

    Raises ValueError for an unknown kind.
    """
    if fault.value is None:
        return kinds[sum(subject.encode(errors="surrogatepass")) % len(kinds)]
    if fault.value not in kinds:
        raise ValueError(f"{name} must be one of {', '.join(kinds)}, not {fault.value!r}")
    return str(fault.value)


def _parse_fault(data: Mapping[str, Any]) -> Fault:
    given: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in data.items()}
    return Fault(**given)


class FaultInjector:
    """Decides which requests have a fault; counts the attempts of each subject."""

    def __init__(self, faults: Faults) -> None:
        self.set(faults)

    def set(self, faults: Faults) -> None:
        """Replace all faults; attempts count from zero."""
        self.faults = faults
        self.is_active = any(isinstance(getattr(faults, field.name), Fault) for field in fields(faults))
        self._attempts: Counter[tuple[str, str, str]] = Counter()

    def select(self, name: str, subject: str) -> Fault | None:
        """Return the fault if it is on and selects `subject`, whatever the number of attempts."""
        fault: Fault | None = getattr(self.faults, name)
        if fault is None:
            return None
        if fault.calls:
            return fault if subject in fault.calls else None
        return fault if fault.share == 1 or _hash_position(name, subject) < fault.share else None

    def trigger(self, name: str, subject: str, route: str = "") -> Fault | None:
        """Count the attempt, and return the fault if it applies to this attempt."""
        fault = self.select(name, subject)
        if fault is None or (fault.routes and route not in fault.routes):
            return None
        self._attempts[name, route, subject] += 1
        return fault if fault.attempts is None or self._attempts[name, route, subject] <= fault.attempts else None


def _hash_position(name: str, subject: str) -> float:
    """Map fault and subject to a number between 0 and 1, uniformly distributed."""
    digest = hashlib.blake2b(f"{name}/{subject}".encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64
