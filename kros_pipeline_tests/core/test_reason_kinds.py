"""Reasons of many calls are grouped by what they have in common."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import pytest

from kros_pipeline.core.reason_kinds import describe_kinds, kind_of_reason
from kros_pipeline.core.two_answers import FirstAnswer

FIRST = FirstAnswer(datetime(2025, 1, 12, tzinfo=UTC), is_asked=True)


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        # numbers differ from call to call
        ("the body broke off after 1,234 bytes (reset)", "the body broke off after … bytes (reset)"),
        ("the body is cut: 10 bytes came, and 2,160,000 must", "the body is cut: … bytes came, and … must"),
        ("not a whole MP3: an HTML or JSON answer at byte 0 of 512", "not a whole MP3: an HTML or JSON answer"),
        # the status of an answer says who is to act
        ("the storage answered 403", "the storage answered 403"),
        ("GET /calls/call_a1/recording: status 500, 3 times", "GET /calls/…/recording: status 500, … times"),
        ("host 'a.example' is not in KROS_RECORDING_HOSTS", "host 'a.example' is not in KROS_RECORDING_HOSTS"),
        # ids differ, too
        ("status 404: call_8a7bXY12 was not found (req-550e8400-e29b)", "status 404: … was not found (…)"),
        # the first clause is the reason
        ("audio is lost: 5 of 9 frames; there is no frame at 3", "audio is lost: … of … frames"),
        (f"{FIRST}; the storage answered 500", "the storage answered 500"),
        (None, "no reason is recorded"),
        ("x" * 200, "x" * 79 + "…"),
    ],
)  # fmt: skip
def test_a_kind_is_what_reasons_have_in_common(reason: str | None, kind: str) -> None:
    assert kind_of_reason(reason) == kind


def test_the_most_frequent_kinds_come_first_and_the_rest_is_counted() -> None:
    kinds = Counter({"a": 1, "b": 3, "c": 2, "d": 2, "e": 1})
    assert describe_kinds(kinds) == "3 × b, 2 × c, 2 × d, 2 × other reasons"
    assert describe_kinds(Counter()) == ""
