"""A day is settled by the newest look, and only with a list that was read late enough."""

from __future__ import annotations

from datetime import timedelta

from kros_pipeline.core import schemas
from kros_pipeline_tests.support.accounts import AFTER_GRACE, DAY, PLAIN, WITHIN_GRACE, MakeAccount
from kros_pipeline_tests.support.steps import reconcile_day


def test_an_older_result_does_not_overwrite_a_newer_one(account: MakeAccount) -> None:
    our = account(PLAIN)
    our.run_day()
    later, earlier = AFTER_GRACE + timedelta(hours=2), AFTER_GRACE + timedelta(hours=1)
    our.now = later
    our.archive.delete(min(our.archive.objects("audio/")))
    assert reconcile_day(our.ctx, DAY).verdict.verdict == "incomplete"
    our.now = earlier
    reconcile_day(our.ctx, DAY)
    [kept] = our.ctx.tables.rows(schemas.RECONCILIATION, DAY)
    assert kept["checked_at"] == later


def test_a_day_waits_if_its_list_was_read_within_the_grace_days(account: MakeAccount) -> None:
    our = account(PLAIN, now=WITHIN_GRACE)
    assert our.run_day().verdict.verdict == "complete"
    our.now = AFTER_GRACE
    alone = reconcile_day(our.ctx, DAY)
    assert (alone.verdict.verdict, len(alone.verdict.problems)) == ("waiting", 1)
    assert "materialize the whole day" in alone.verdict.problems[0]
    assert our.run_day().verdict.verdict == "complete"
