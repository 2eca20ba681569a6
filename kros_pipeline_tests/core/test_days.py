"""Times are parsed as aware UTC times, or not at all."""

from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kros_pipeline.core.days import days_beside, days_from, names_zone, parse_time

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


# Times without a zone, where the account's zone is known.


@pytest.mark.parametrize(
    ("text", "zone", "time"),
    [
        ("2025-01-10T11:00:00", "Africa/Lagos", "2025-01-10T10:00:00Z"),
        ("2025-01-10T00:30:00", "Africa/Lagos", "2025-01-09T23:30:00Z"),  # another UTC day
        ("2025-01-10", "Africa/Lagos", "2025-01-09T23:00:00Z"),
        ("2025-07-10T10:00:00", "Europe/Berlin", "2025-07-10T08:00:00Z"),
        # a time that names its zone is not touched
        ("2025-01-10T10:00:00Z", "Africa/Lagos", "2025-01-10T10:00:00Z"),
        ("2025-01-10T10:00:00-05:00", "Africa/Lagos", "2025-01-10T15:00:00Z"),
        # 02:30 comes twice, in summer time and an hour later: the earlier one
        ("2025-10-26T02:30:00", "Europe/Berlin", "2025-10-26T00:30:00Z"),
    ],
)
def test_a_time_without_a_zone_is_meant_in_the_given_one(text: str, zone: str, time: str) -> None:
    assert parse_time(text, ZoneInfo(zone)) == datetime.fromisoformat(time)


def test_a_time_that_the_zone_moves_out_of_all_years_is_none() -> None:
    assert parse_time("0001-01-01T00:00:00", ZoneInfo("Africa/Lagos")) is None


@pytest.mark.parametrize(
    ("value", "is_named"),
    [
        ("2025-01-10T10:00:00Z", True),
        ("2025-01-10t10:00:00z", True),
        ("2025-01-10T10:00:00+01:00", True),
        ("2025-01-10T10:00:00", False),
        ("2025-01-10", False),
        ("soon", False),
        (None, False),
        (1736503200, False),
    ],
)
def test_whether_a_time_names_its_zone_is_known(value: object, is_named: bool) -> None:
    assert names_zone(value) is is_named


@pytest.mark.parametrize(
    ("first", "last", "days"),
    [
        (date(2025, 1, 10), date(2025, 1, 10), [date(2025, 1, 10)]),
        (date(2024, 2, 28), date(2024, 3, 1), [date(2024, 2, 28), date(2024, 2, 29), date(2024, 3, 1)]),
        (date(2025, 1, 10), date(2025, 1, 9), []),
    ],
)
def test_both_ends_of_a_span_of_days_are_in_it(first: date, last: date, days: list[date]) -> None:
    assert days_from(first, last) == days


def test_the_days_beside_a_day_cross_months_and_years() -> None:
    assert days_beside(date(2025, 1, 1)) == (date(2024, 12, 31), date(2025, 1, 2))
