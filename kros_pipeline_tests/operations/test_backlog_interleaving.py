"""Days that cannot be repaired do not starve the other days of the backlog."""

from __future__ import annotations

from datetime import UTC, date, datetime

from kros_pipeline_tests.operations.test_backlog import NOW, checked
from kros_pipeline_tests.support.accounts import MakeAccount
from kros_pipeline_tests.support.steps import find_backlog


def test_incomplete_days_are_interleaved_with_days_that_were_never_archived(account: MakeAccount) -> None:
    our = account(now=NOW)
    bad = [date(2025, 1, day) for day in (1, 2, 3, 4)]
    for hours, day in enumerate(reversed(bad)):
        checked(our.ctx, day, "incomplete", datetime(2025, 1, 19, hours, tzinfo=UTC))
    owed = find_backlog(our.ctx, date(2025, 1, 1), date(2025, 1, 8))
    assert owed == [date(2025, 1, day) for day in (5, 6, 4, 7, 8, 3, 2, 1)]
