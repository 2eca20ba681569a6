"""Which days owe something: read from the archive only, nearest deletion first."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from kros_pipeline.archive.parquet import batches_of
from kros_pipeline.archive.table_versions import record_table_versions
from kros_pipeline.core import schemas
from kros_pipeline.core.next_look import NextLook
from kros_pipeline.core.object_keys import table_key
from kros_pipeline.steps.run_context import RunContext
from kros_pipeline_tests.support.accounts import DAY, PLAIN, MakeAccount
from kros_pipeline_tests.support.steps import find_backlog

NOW = datetime(2025, 1, 20, 10, 40, tzinfo=UTC)
YESTERDAY = date(2025, 1, 19)
LONG_AGO = date(2020, 1, 1)


def checked(
    ctx: RunContext,
    day: date,
    verdict: str,
    checked_at: datetime,
    *,
    is_recorded: bool = True,
    next_look: NextLook | None = None,
    **counts: int | None,
) -> None:
    """Writes a day's reconciliation as a run would have, and its version, if the run was not killed before that."""
    row: dict[str, Any] = dict.fromkeys(schemas.RECONCILIATION.column_names, 0) | {
        "call_date": day, "verdict": verdict, "stats_total": None, "problems": [],
        "checked_at": checked_at, **counts,
    }  # fmt: skip
    ctx.tables.commit(schemas.RECONCILIATION, day, lambda _: batches_of(schemas.RECONCILIATION, [row]))
    if is_recorded:
        head = ctx.store.head(table_key(schemas.RECONCILIATION.name, day))
        assert head is not None
        record_table_versions(ctx.store, day, {schemas.RECONCILIATION.name: head.version}, next_look)


def days_from(first: date, last: date) -> list[date]:
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


# One day among others: settled only when it was complete after its three grace days.
@pytest.mark.parametrize(
    ("verdict", "checked_at", "is_owed"),
    [
        (None, None, True),
        ("complete", "2025-01-14T00:00:00Z", False),  # the day's end and three days more, to the second
        ("complete", "2025-01-13T23:59:59Z", True),
        ("complete", "2025-01-11T04:15:00Z", True),
        ("waiting", "2025-01-19T00:00:00Z", True),
        ("incomplete", "2025-01-19T00:00:00Z", True),
    ],
)
def test_a_day_is_owed_until_it_was_complete_after_its_grace_days(
    account: MakeAccount, verdict: str | None, checked_at: str | None, is_owed: bool
) -> None:
    our = account(now=NOW)
    if verdict and checked_at:
        checked(our.ctx, DAY, verdict, datetime.fromisoformat(checked_at))
    assert find_backlog(our.ctx, DAY, DAY) == ([DAY] if is_owed else [])


def test_the_grace_days_come_from_the_settings(account: MakeAccount) -> None:
    our = account(now=NOW, KROS_LOOKBACK_DAYS="0")
    our.ctx.identity.claim()
    checked(our.ctx, DAY, "complete", datetime(2025, 1, 11, 4, 15, tzinfo=UTC))
    assert find_backlog(our.ctx, DAY, DAY) == []
    assert find_backlog(our.open(KROS_LOOKBACK_DAYS="1"), DAY, DAY) == [DAY]


def test_owed_days_come_oldest_first_and_incomplete_days_are_interleaved(account: MakeAccount) -> None:
    our = account(now=NOW)
    for day in (date(2025, 1, 10), date(2025, 1, 12)):
        checked(our.ctx, day, "complete", NOW)
    checked(our.ctx, date(2025, 1, 11), "incomplete", NOW)
    owed = find_backlog(our.ctx, date(2025, 1, 9), date(2025, 1, 14))
    assert owed == [date(2025, 1, day) for day in (9, 13, 11, 14)]


# A new account's whole retained past is owed; what upstream has surely deleted is not.
@pytest.mark.parametrize(
    ("settings", "days_back"),
    [
        ({"KROSAI_PLAN": "free"}, 7),
        ({"KROSAI_PLAN": "pro"}, 30),
        ({"KROSAI_PLAN": "pro", "KROSAI_RETENTION_DAYS": "90"}, 90),
        ({"KROSAI_PLAN": "business"}, 90),
        ({"KROSAI_PLAN": "enterprise", "KROSAI_RETENTION_DAYS": "200"}, 200),
    ],
)
def test_no_day_beyond_upstreams_retention_is_owed(
    account: MakeAccount, settings: dict[str, str], days_back: int
) -> None:
    our = account(now=NOW, **settings)
    assert find_backlog(our.ctx, LONG_AGO, YESTERDAY) == days_from(NOW.date() - timedelta(days=days_back), YESTERDAY)


def test_the_first_partition_bounds_it_too_and_unlimited_retention_does_not(account: MakeAccount) -> None:
    our = account(now=NOW, KROSAI_PLAN="enterprise")
    first = date(2024, 12, 1)
    assert find_backlog(our.ctx, first, YESTERDAY) == days_from(first, YESTERDAY)
    assert find_backlog(our.ctx, YESTERDAY + timedelta(days=5), YESTERDAY) == []


def test_a_day_that_was_archived_on_time_is_owed_once_more_and_then_settled(account: MakeAccount) -> None:
    our = account(PLAIN, now=datetime(2025, 1, 11, 4, 15, tzinfo=UTC))
    our.run_day()
    our.now = NOW
    assert find_backlog(our.ctx, DAY, DAY) == [DAY]
    our.run_day()
    assert find_backlog(our.ctx, DAY, DAY) == []
    our.now += timedelta(days=30)
    assert find_backlog(our.ctx, DAY, DAY) == []
