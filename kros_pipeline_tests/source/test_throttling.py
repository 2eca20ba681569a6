"""A rate limit is recognized in each form in which it was seen, and waited for as a 429 is."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import format_datetime

import pytest

from kros_pipeline.core.errors import ApiServerError, TooManyRequests
from kros_pipeline.source.api_answers import ApiAnswer
from kros_pipeline.source.throttling import is_rate_limit, seconds_to_wait
from kros_pipeline_tests.support.scripted_api import HTML, NOW, Scripted, ScriptedApi, error

LIMIT = error("RATE_LIMIT_EXCEEDED", "Rate limit exceeded", retry_after=1.5)
BARE_LIMIT = error("RATE_LIMIT_EXCEEDED", "Rate limit exceeded")
UNIX_NOW = int(NOW.timestamp())
DATE = format_datetime(NOW, usegmt=True)
LATER = {"Date": format_datetime(NOW.replace(minute=5), usegmt=True)}  # the server's clock is five minutes ahead

# The answer, and the seconds that it asks to wait.
FORMS: dict[str, tuple[Scripted, float | None]] = {
    "429": ((429, {"Retry-After": "1.5"}, LIMIT), 1.5),
    "429, the header counts": ((429, {"Retry-After": "3"}, LIMIT), 3.0),
    "429, only in the body": ((429, {}, LIMIT), 1.5),
    "429, nothing": ((429, {}, HTML), None),
    "429, an empty body": ((429, {"Retry-After": "2"}, b""), 2.0),
    "429, a header that cannot be read": ((429, {"Retry-After": "soon"}, LIMIT), 1.5),
    "200": ((200, {}, LIMIT), 1.5),
    "200, with a header": ((200, {"Retry-After": "4"}, BARE_LIMIT), 4.0),
    "403": ((403, {}, LIMIT), 1.5),
    "403, nothing": ((403, {}, BARE_LIMIT), None),
    "403 of another envelope": ((403, {}, b'{"message": "Too fast", "code": "RATE_LIMIT_EXCEEDED"}'), None),
    "503": ((503, {"Retry-After": "2"}, HTML), 2.0),
    "503, a date": (
        (503, {"Retry-After": format_datetime(NOW.replace(second=9), usegmt=True), "Date": DATE}, b""),
        9.0,
    ),
    "503 with the code": ((503, {}, LIMIT), 1.5),
    "reset": ((429, {"X-RateLimit-Reset": str(UNIX_NOW + 7)}, BARE_LIMIT), 7.0),
    "reset, the server's clock": ((429, {"X-RateLimit-Reset": str(UNIX_NOW + 307), **LATER}, BARE_LIMIT), 7.0),
    "reset, and Retry-After": ((429, {"X-RateLimit-Reset": str(UNIX_NOW + 7), "Retry-After": "2"}, b""), 2.0),
    "reset, with a 403": ((403, {"X-RateLimit-Reset": str(UNIX_NOW + 7)}, BARE_LIMIT), 7.0),
    "reset is over": ((429, {"X-RateLimit-Reset": str(UNIX_NOW - 1)}, BARE_LIMIT), None),
    "reset in seconds from now": ((429, {"X-RateLimit-Reset": "30"}, BARE_LIMIT), None),
    "reset in milliseconds": ((429, {"X-RateLimit-Reset": str(UNIX_NOW * 1_000)}, BARE_LIMIT), None),
    "reset is no number": ((429, {"X-RateLimit-Reset": "soon"}, BARE_LIMIT), None),
    "reset is NaN": ((429, {"X-RateLimit-Reset": "nan"}, BARE_LIMIT), None),
    "retry_after is true": ((200, {}, error("RATE_LIMIT_EXCEEDED", retry_after=True)), None),
    "retry_after is negative": ((200, {}, error("RATE_LIMIT_EXCEEDED", retry_after=-1)), None),
    "a code in lower case": ((200, {}, error("rate_limit_exceeded")), None),
}
NO_LIMITS: list[tuple[int, Mapping[str, str], bytes]] = [
    (200, {"Retry-After": "2", "X-RateLimit-Reset": str(UNIX_NOW + 7)}, b"{}"),
    (200, {}, b'{"code": "RATE_LIMIT_EXCEEDED", "transcript": "x"}'),
    (403, {"Retry-After": "2"}, error("FORBIDDEN")),
    (503, {}, HTML),
    (503, {"Retry-After": "soon"}, HTML),
    (503, {"X-RateLimit-Reset": str(UNIX_NOW + 7)}, HTML),
    (500, {"Retry-After": "2"}, HTML),
    (404, {"Retry-After": "2"}, error("NOT_FOUND")),
]
every_form = pytest.mark.parametrize(("answer", "seconds"), FORMS.values(), ids=FORMS)


@every_form
def test_each_form_is_recognized_with_its_seconds(answer: Scripted, seconds: float | None) -> None:
    parsed = ApiAnswer.parse(*answer)
    assert is_rate_limit(parsed, now=NOW)
    assert seconds_to_wait(parsed, now=NOW) == seconds


@pytest.mark.parametrize("answer", NO_LIMITS)
def test_nothing_else_is_taken_for_a_rate_limit(answer: Scripted) -> None:
    assert not is_rate_limit(ApiAnswer.parse(*answer), now=NOW)


@every_form
def test_a_get_and_a_change_wait_and_are_sent_again(answer: Scripted, seconds: float | None) -> None:
    for send in ("get", "extend"):
        api = ScriptedApi(answer, (200, {}, b'{"transcript": "x"}'))
        if send == "get":
            assert api.source.transcript("call_a").text == "x"
        else:
            api.source.extend("call_a", 30, idempotency_key="decision")
        assert len(api.sent) == 2
        assert api.slept_seconds >= (seconds or 0.2)
        assert api.slept_seconds < (seconds or 0.2) + 0.5


@every_form
def test_a_limit_that_lasts_ends_the_run_and_nothing_was_done(answer: Scripted, seconds: float | None) -> None:
    api = ScriptedApi(answer)
    with pytest.raises(TooManyRequests, match=f"{answer[0]}.* again and again .quota"):
        api.source.extend("call_a", 30, idempotency_key="decision")
    assert len(api.sent) <= 10


@pytest.mark.parametrize(
    "answer",
    [
        (429, {"Retry-After": "3600"}, b""),
        (503, {"Retry-After": "3600"}, HTML),
        (200, {}, error("RATE_LIMIT_EXCEEDED", retry_after=3600)),
        (403, {}, error("RATE_LIMIT_EXCEEDED", retry_after="3600")),
        (429, {"X-RateLimit-Reset": str(UNIX_NOW + 3600), "Date": DATE}, b""),
    ],
)
def test_a_quota_ends_the_run_at_once(answer: Scripted) -> None:
    api = ScriptedApi(answer)
    with pytest.raises(TooManyRequests, match="asks to wait 3,600 seconds"):
        api.source.recording("call_a")
    assert len(api.sent) == 1


def test_a_503_that_does_not_say_when_is_retried_as_a_5xx() -> None:
    api = ScriptedApi((503, {}, HTML))
    with pytest.raises(ApiServerError):
        api.source.recording("call_a")
    assert len(api.sent) == 4
