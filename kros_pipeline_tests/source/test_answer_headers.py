"""What the headers of an answer show; what is not readable counts as absent."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from kros_pipeline.source.answer_headers import AnswerHeaders, read_answer_headers


def test_clock_and_rate_limit_are_read() -> None:
    headers = {
        "Date": "Fri, 10 Jan 2025 12:00:00 GMT",
        "X-RateLimit-Limit": "50",
        "X-RateLimit-Remaining": "49",
        "X-RateLimit-Reset": "1736510401.5",
    }
    assert read_answer_headers(headers) == AnswerHeaders(
        datetime(2025, 1, 10, 12, tzinfo=UTC), 50, 49, datetime(2025, 1, 10, 12, 0, 1, tzinfo=UTC)
    )


@pytest.mark.parametrize("text", ["", " ", "soon", "-1", "9" * 13, "٣", "1e3", "NaN"])
def test_what_cannot_be_read_is_absent(text: str) -> None:
    names = ("Date", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
    assert read_answer_headers(dict.fromkeys(names, text)) == AnswerHeaders(None, None, None, None)
    assert read_answer_headers({}) == AnswerHeaders(None, None, None, None)


def test_a_time_beyond_every_calendar_is_absent() -> None:
    assert read_answer_headers({"X-RateLimit-Reset": "9" * 12}).reset_at is None
