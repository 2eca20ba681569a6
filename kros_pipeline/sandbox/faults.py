"""The knobs: what can go wrong, for which calls, how often.

    Faults(storage_truncated=Fault(share=0.2, attempts=1), api_error=Fault(routes=("transcript",), value=503))

Routes of the API are `list`, `call`, `recording`, `transcript`, `stats`, `extend`, `delete`, `settings`.
Which calls a share of less than 1 hits depends on knob and call id alone: the same ones in every run.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Fault:
    """When a knob acts. A call is its subject; for a list page, the page (its query) is."""

    share: float = 1.0
    """The part of the subjects that are hit, 0 to 1."""
    attempts: int | None = None
    """Only the first n attempts of each subject are hit; None: every one."""
    calls: tuple[str, ...] = ()
    """Exactly these call ids, whatever `share` says."""
    routes: tuple[str, ...] = ()
    """Only these routes (for the `api_` knobs); empty: all of them."""
    value: float | str | None = None
    """What it means, and its default, is said beside each knob."""

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"a fault's share must be between 0 and 1, not {self.share}")
        if self.attempts is not None and self.attempts < 1:
            raise ValueError(f"a fault's attempts must be at least 1, or None for every attempt, not {self.attempts}")


@dataclass(frozen=True)
class Faults:
    """Every knob, off unless given. `value` and its default are named where a knob has one."""

    # The API, any route.
    api_latency_seconds: float = 0.0  # every answer comes this much later, without holding up the others
    api_key_refused: Fault | None = None  # 401, though the key is right
    api_reset: Fault | None = None  # the connection is reset instead of an answer
    api_timeout: Fault | None = None  # silence for `value` seconds (10), then the connection closes
    api_rate_limited: Fault | None = None  # 429; `value` is Retry-After as sent ("0.2"), "http-date" or "absent"
    api_error: Fault | None = None  # `value` is the status (500)

    # GET /calls
    list_unknown_shape: Fault | None = None  # JSON, but neither "calls" nor "data"
    list_not_json: Fault | None = None  # 200 with HTML
    list_malformed: Fault | None = None  # per call; `value` names one of MALFORMED, default: one of them by call id
    list_total_wrong: Fault | None = None  # `value` is added to total (1); `attempts` counts passes (first pages)
    list_offset_ignored: Fault | None = None  # every page is the first
    list_limit_ignored: Fault | None = None  # never more than `value` (20) a page, and the answer admits it
    list_dates_ignored: Fault | None = None  # from_date and to_date have no effect
    list_status_ignored: Fault | None = None  # nor has status
    list_duplicates: Fault | None = None  # per call; listed twice in a row, while total counts distinct calls
    list_completing: Fault | None = None  # per call; in progress at first, one more of them completes after each page
    list_vanishing: Fault | None = None  # per call; one more of them is gone for good after each page

    # The URLs that the API hands out.
    url_foreign: Fault | None = None  # per call; `value` replaces scheme and host ("https://recordings.example.com")

    # Storage, per call.
    storage_latency_seconds: float = 0.0
    storage_reset: Fault | None = None  # half the body, then a reset
    storage_truncated: Fault | None = None  # half the body, then the end; Content-Length is the whole
    storage_cut_silently: Fault | None = None  # half the body, no Content-Length, Connection: close
    storage_html: Fault | None = None  # 200 with an HTML page
    storage_json: Fault | None = None  # 200 with a JSON error
    storage_empty: Fault | None = None  # 200, Content-Length: 0
    storage_rubbish: Fault | None = None  # good frames first, the second half of the body is noise
    storage_longer: Fault | None = None  # more bytes than Content-Length announces
    storage_other_length: Fault | None = None  # good audio, `value` (0.5) times as long
    storage_wav: Fault | None = None  # another format
    storage_slow: Fault | None = None  # the body arrives in drips over `value` seconds (5)
    storage_redirect: Fault | None = None  # 302 to `value` (default: a URL that would have worked)
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
    extend_timeout: Fault | None = None  # applied, then silence for `value` seconds (10)
    extend_refused: Fault | None = None  # `value` is the status (403); not applied

    def to_json(self) -> dict[str, Any]:
        """Only what is set."""
        return {name: value for name, value in asdict(self).items() if value}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Faults:
        """ValueError if a name is none of the knobs'."""
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(data) - known):
            raise ValueError(f"no such fault: {', '.join(unknown)}")
        given: dict[str, Any] = {
            name: _fault(value) if isinstance(value, Mapping) else value for name, value in data.items()
        }
        return cls(**given)


MALFORMED = ("missing_id", "id_not_text", "missing_created_at", "unreadable_created_at", "not_an_object")


def _fault(data: Mapping[str, Any]) -> Fault:
    given: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in data.items()}
    return Fault(**given)


class Switchboard:
    """The knobs as they stand now, and how often each has been met by whom."""

    def __init__(self, faults: Faults) -> None:
        self.set(faults)

    def set(self, faults: Faults) -> None:
        """New knobs; attempts count from zero."""
        self.faults = faults
        self.active = any(isinstance(getattr(faults, field.name), Fault) for field in fields(faults))
        self._met: Counter[tuple[str, str, str]] = Counter()

    def chooses(self, knob: str, subject: str) -> Fault | None:
        """The fault, if the knob is on and `subject` is among those it hits; attempts do not matter."""
        fault: Fault | None = getattr(self.faults, knob)
        if fault is None:
            return None
        if fault.calls:
            return fault if subject in fault.calls else None
        return fault if fault.share == 1 or _place(knob, subject) < fault.share else None

    def hits(self, knob: str, subject: str, route: str = "") -> Fault | None:
        """The fault, if it is to happen now. Counts the attempt."""
        fault = self.chooses(knob, subject)
        if fault is None or (fault.routes and route not in fault.routes):
            return None
        self._met[knob, route, subject] += 1
        return fault if fault.attempts is None or self._met[knob, route, subject] <= fault.attempts else None


def _place(knob: str, subject: str) -> float:
    """Where the subject stands between 0 and 1, evenly spread, for this knob."""
    digest = hashlib.blake2b(f"{knob}/{subject}".encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64
