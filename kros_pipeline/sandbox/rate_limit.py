"""Limit the API's request rate: a token bucket by the second and a quota by the UTC day."""

from __future__ import annotations

import math

_UNLIMITED = 1_000_000
_DAY_SECONDS = 86_400


class RateLimit:
    """A token bucket that refills with `per_second` tokens and holds as many, and a quota of `per_day` requests.

    None: no limit.
    """

    def __init__(self, per_second: float | None, per_day: int | None) -> None:
        self._per_second = per_second
        self._per_day = per_day
        self._capacity = max(1.0, per_second or _UNLIMITED)
        self._tokens = self._capacity
        self._refilled_at = 0.0
        self._day = -1
        self._used_today = 0

    def take(self, now: float) -> float:
        """Count one request at Unix time `now`. Returns 0 if it may pass, otherwise the seconds to wait."""
        if (day := int(now // _DAY_SECONDS)) != self._day:
            self._day, self._used_today = day, 0
        if self._per_day is not None and self._used_today >= self._per_day:
            return (day + 1) * _DAY_SECONDS - now
        if self._per_second is not None:
            self._tokens = min(self._capacity, self._tokens + (now - self._refilled_at) * self._per_second)
            self._refilled_at = now
            if self._tokens < 1:
                return (1 - self._tokens) / self._per_second
            self._tokens -= 1
        self._used_today += 1
        return 0.0

    def headers(self, now: float) -> dict[str, str]:
        """Return the X-RateLimit-* headers of every answer."""
        left = _UNLIMITED if self._per_second is None else int(self._tokens)
        if self._per_day is not None:
            left = min(left, self._per_day - self._used_today)
        return {
            "X-RateLimit-Limit": str(math.ceil(self._capacity)),
            "X-RateLimit-Remaining": str(max(0, left)),
            "X-RateLimit-Reset": str(math.ceil(now + 1)),
        }
