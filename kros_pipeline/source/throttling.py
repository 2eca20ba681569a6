"""Recognizes a rate limit in every form in which it was seen, and reads for how long it asks to wait.

The documented form is a 429 with `Retry-After`. Gateways, and other deployments, put the same error into a 200 or a
403, answer 503 with `Retry-After`, or name the time only in `X-RateLimit-Reset`.
"""

import math
from datetime import datetime

from .api_answers import ApiAnswer
from .rate_limiter import parse_http_date, retry_after_seconds

_RATE_LIMIT_CODE = "RATE_LIMIT_EXCEEDED"
_LONGEST_RESET_SECONDS = 2 * 86_400.0  # quotas are by the day: what is further away is no time in Unix seconds


def is_rate_limit(answer: ApiAnswer, *, now: datetime) -> bool:
    """Return whether an answer refuses a request for its rate, so that it had no effect.

    A 503 is one only where its `Retry-After` can be read.
    """
    if answer.status == 503 and _header_seconds(answer, now) is not None:
        return True
    return answer.status == 429 or answer.error_code == _RATE_LIMIT_CODE


def seconds_to_wait(answer: ApiAnswer, *, now: datetime) -> float | None:
    """Return for how long a rate limit asks to wait; None where it does not say.

    `Retry-After` comes first, then `retry_after` in the body, then `X-RateLimit-Reset`. Times are compared with the
    server's own `Date`, or with `now` where it sent none.
    """
    for seconds in (_header_seconds(answer, now), _body_seconds(answer, now), _reset_seconds(answer, now)):
        if seconds is not None:
            return seconds
    return None


def _header_seconds(answer: ApiAnswer, now: datetime) -> float | None:
    return retry_after_seconds(answer.headers.get("Retry-After"), date=answer.headers.get("Date"), now=now)


def _body_seconds(answer: ApiAnswer, now: datetime) -> float | None:
    value = answer.fields.get("retry_after")
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    return retry_after_seconds(str(value), date=answer.headers.get("Date"), now=now)


def _reset_seconds(answer: ApiAnswer, now: datetime) -> float | None:
    """Return the seconds until `X-RateLimit-Reset`; None where it is no time that is soon to come."""
    try:
        reset_at = float(answer.headers.get("X-RateLimit-Reset") or "")
    except ValueError:
        return None
    date = parse_http_date(answer.headers.get("Date")) or now
    seconds = reset_at - date.timestamp()
    return seconds if math.isfinite(seconds) and 0 < seconds <= _LONGEST_RESET_SECONDS else None
