"""Times are parsed as aware UTC times, or not at all."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kros_pipeline.core.days import parse_time

TEN = datetime(2025, 1, 10, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        # one time, in many forms
        *(
            (text, TEN)
            for text in ("2025-01-10T10:00:00Z", "2025-01-10T10:00:00+00:00", "2025-01-10T10:00Z", "20250110T100000Z")
        ),
        *(
            (text, TEN)
            for text in (
                "2025-01-10 10:00:00Z",
                "2025-01-10t10:00:00z",
                " 2025-01-10T10:00:00Z\n",
                "2025-W02-5T10:00:00Z",
            )
        ),
        *(
            (text, TEN)
            for text in ("2025-01-10T11:00:00+01:00", "2025-01-10T15:30:00+05:30", "2025-01-09T23:00:00-11:00")
        ),
        *(
            (text, TEN)
            for text in ("2025-01-10T10:00:00.000Z", "2025-01-10T10:00:00.000000000Z", "2025-01-10T10:00:00-0000")
        ),
        # without an offset it is UTC; without a time it is midnight
        ("2025-01-10T10:00:00", TEN),
        ("2025-01-10", TEN.replace(hour=0)),
        # fractions, to the microsecond
        ("2025-01-10T10:00:00.5Z", TEN.replace(microsecond=500_000)),
        ("2025-01-10T10:00:00,25Z", TEN.replace(microsecond=250_000)),
        ("2025-01-10T10:00:00.123456789Z", TEN.replace(microsecond=123_456)),
    ],
)
def test_an_iso_8601_time_is_parsed_as_aware_utc(text: str, time: datetime) -> None:
    parsed = parse_time(text)
    assert parsed == time
    assert parsed is not None and parsed.tzinfo is UTC


@pytest.mark.parametrize(
    "value",
    [
        *(
            "",
            " ",
            "now",
            "10:00",
            "10.01.2025",
            "01/10/2025",
            "1736503200",
            "2025-13-01",
            "2025-02-30",
            "2025-01-10T25:00:00Z",
        ),
        *(
            "2025-01-10T10:00:60Z",
            "Fri, 10 Jan 2025 10:00:00 GMT",
            "２０２５-01-10",
            "2025-01-10T10:00:00Z!",
        ),
        # times that UTC cannot name
        *("0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00"),
        *(None, 0, 1736503200, 1736503200.5, True, b"2025-01-10", ["2025-01-10"], {}, TEN),
    ],
)
def test_anything_else_is_none(value: object) -> None:
    assert parse_time(value) is None


offsets = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=offsets))
def test_every_time_is_parsed_from_its_own_iso_form(time: datetime) -> None:
    assert parse_time(time.isoformat()) == time


@given(st.text())
def test_no_text_breaks_the_parsing(text: str) -> None:
    assert parse_time(text) is None or isinstance(parse_time(text), datetime)
