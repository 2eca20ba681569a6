"""The rule of two answers: how far apart, after which moment, and where one is enough."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kros_pipeline.core.id_digests import digest_id, pack_digests
from kros_pipeline.core.list_answers import ListAnswers
from kros_pipeline.core.listing import Listing
from kros_pipeline.core.two_answers import (
    FirstAnswer,
    are_two,
    is_after_call,
    is_last_chance,
    last_chance_begins,
    second_is_due,
)
from kros_pipeline_tests.support.accounts import DAY

AT = datetime(2025, 1, 20, 4, 15, 7, tzinfo=UTC)
SECOND = timedelta(seconds=1)


# A first answer survives as the reason of a row.


@pytest.mark.parametrize("is_asked", [True, False], ids=["asked", "listed"])
@pytest.mark.parametrize("behind", ["", "; not tried: the run's share of 7 API requests is used up (budget)"])
def test_a_first_answer_is_read_from_the_reason_that_it_became(is_asked: bool, behind: str) -> None:
    first = FirstAnswer(AT, is_asked)
    assert FirstAnswer.parse(f"{first}{behind}") == first


def test_a_reason_says_what_happens_next_and_has_whole_seconds() -> None:
    at = AT + timedelta(microseconds=999_999)
    assert str(FirstAnswer(at, is_asked=True)) == (
        "asked, upstream has none (first answer: 2025-01-20T04:15:07+00:00); "
        "a second answer, 20 hours later, settles it"
    )
    assert str(FirstAnswer(at, is_asked=False)) == (
        "the list shows none (first answer: 2025-01-20T04:15:07+00:00); upstream is asked after the grace days"
    )


@pytest.mark.parametrize(
    "reason",
    [
        None,
        "",
        "no recording URL yet",
        "not tried: the run's share is used up",
        "upstream shows no URL at present",
        "the list shows none",
        "answered once: upstream has none, and less than 48 hours of its retention remained",
        "upstream has none: it answered twice, at least 20 hours apart",
        "asked, upstream has none (first answer: )",
        "asked, upstream has none (first answer: soon)",
        "asked, upstream has none (first answer: 2025-99-99T00:00:00+00:00)",
        "asked, upstream has none (first answer: 0001-01-01T00:00:00+14:00)",
        "asked, upstream has none (first answer: 2025-01-20T04:15:07+00:00",
        # What upstream says stands behind other words, and is no answer of ours.
        "status 500: asked, upstream has none (first answer: 2025-01-20T04:15:07+00:00); a second answer",
        "not tried: the list shows none (first answer: 2025-01-20T04:15:07+00:00)",
        " asked, upstream has none (first answer: 2025-01-20T04:15:07+00:00)",
    ],
)
def test_another_reason_is_no_first_answer(reason: str | None) -> None:
    assert FirstAnswer.parse(reason) is None


# Two answers.


@pytest.mark.parametrize(
    ("apart", "expected"),
    [
        (timedelta(hours=20), True),
        (timedelta(hours=20) - SECOND, False),
        (timedelta(0), False),
        (-timedelta(hours=20), False),
        (timedelta(days=80), True),
    ],
    ids=str,
)
def test_two_answers_are_at_least_twenty_hours_apart(apart: timedelta, expected: bool) -> None:
    assert are_two(AT, AT + apart) is expected


def test_a_missing_answer_is_no_second_one_and_the_second_is_due_when_it_counts() -> None:
    assert not are_two(None, AT) and not are_two(AT, None) and not are_two(None, None)
    assert are_two(AT, second_is_due(AT)) and not are_two(AT, second_is_due(AT) - SECOND)


CREATED = datetime(2025, 1, 10, 23, 50, tzinfo=UTC)


@pytest.mark.parametrize(
    ("completed_at", "counts_from"),
    [
        (None, CREATED),
        (CREATED + timedelta(minutes=30), CREATED + timedelta(minutes=30)),
        (CREATED + timedelta(days=1), CREATED + timedelta(days=1)),
        (CREATED + timedelta(days=400), CREATED + timedelta(days=1)),  # no call is so long
        (datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), CREATED + timedelta(days=1)),
        (CREATED - timedelta(hours=1), CREATED - timedelta(hours=1)),  # a clock that was set
    ],
    ids=str,
)
def test_an_answer_counts_from_the_end_of_the_call_and_a_day_after_its_beginning_at_the_latest(
    completed_at: datetime | None, counts_from: datetime
) -> None:
    assert is_after_call(counts_from, CREATED, completed_at)
    assert not is_after_call(counts_from - SECOND, CREATED, completed_at)


# The last chance.


@pytest.mark.parametrize(
    ("retention_days", "begins"),
    [
        (7, datetime(2025, 1, 15, tzinfo=UTC)),
        (30, datetime(2025, 2, 7, tzinfo=UTC)),
        (90, datetime(2025, 4, 8, tzinfo=UTC)),
        (1, datetime(2025, 1, 9, tzinfo=UTC)),
    ],
)
def test_the_last_chance_begins_48_hours_before_upstream_may_delete_and_never_ends(
    retention_days: int, begins: datetime
) -> None:
    assert last_chance_begins(DAY, retention_days) == begins
    assert not is_last_chance(DAY, retention_days, begins - SECOND)
    assert is_last_chance(DAY, retention_days, begins)
    assert is_last_chance(DAY, retention_days, begins + timedelta(days=400))


def test_unlimited_retention_has_no_last_chance() -> None:
    assert last_chance_begins(DAY, None) is None
    assert not is_last_chance(DAY, None, datetime(9999, 1, 1, tzinfo=UTC))


# What a listing answers.

LISTING = Listing(
    proved=True,
    listed_total=1,
    listed_at="2025-01-20T04:15:07+00:00",
    unlisted_digests=pack_digests([digest_id("call_gone")]),
)


def test_a_proved_list_answers_for_the_calls_that_it_shows() -> None:
    answers = ListAnswers(LISTING)
    assert answers.at("call_shown") == AT and answers.at("call_gone") is None


@pytest.mark.parametrize(
    "changes",
    [{"proved": False}, {"unlisted_digests": None}, {"listed_at": ""}],
    ids=["not proved", "of an older version", "without a time"],
)
def test_another_list_answers_for_no_call(changes: dict[str, Any]) -> None:
    assert ListAnswers(replace(LISTING, **changes)).at("call_shown") is None


def test_a_day_without_a_listing_has_no_answer() -> None:
    assert ListAnswers(None).at("call_shown") is None


UNTIL = AT + timedelta(minutes=30)
LONG = replace(LISTING, read_until=UNTIL.isoformat())


@pytest.mark.parametrize(
    ("changed_at", "first"),
    [(AT, UNTIL), (UNTIL, UNTIL), (UNTIL + SECOND, None), (None, None)],
    ids=["before", "while it was read", "after it", "unknown"],
)
def test_a_first_answer_is_as_late_as_the_list_may_have_given_it(
    changed_at: datetime | None, first: datetime | None
) -> None:
    """A row that changed after the list was read is one that another day's run has added or changed since."""
    answers = ListAnswers(LONG)
    assert answers.first_at("call_shown", changed_at) == first
    assert answers.first_at("call_gone", changed_at) is None
    assert answers.at("call_shown") == AT  # and a second answer as early


def test_of_a_listing_of_an_earlier_version_only_the_end_is_known() -> None:
    assert ListAnswers(LISTING).first_at("call_shown", AT) == AT
    assert ListAnswers(LISTING).first_at("call_shown", AT + SECOND) is None
