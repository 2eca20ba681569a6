"""A day is settled by the newest evidence, and only with a list that was read late enough."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from kros_pipeline.archive.object_store import VersionToken
from kros_pipeline.core import schemas
from kros_pipeline.core.object_keys import QUOTA, table_key
from kros_pipeline.steps.run_context import RunContext
from kros_pipeline_tests.support.accounts import AFTER_GRACE, DAY, PLAIN, WITHIN_GRACE, Account, MakeAccount
from kros_pipeline_tests.support.steps import reconcile_day


@pytest.fixture
def our(memory_account: MakeAccount) -> Account:
    our = memory_account(PLAIN)
    our.run_day()
    return our


def damage(our: Account) -> None:
    our.archive.delete(min(our.archive.objects("audio/")))


def at_the_row(our: Account, happens: Callable[[], None]) -> RunContext:
    """A run to which something happens once: between gathering the evidence and writing the row."""
    ctx, left = our.open(), [True]
    put = ctx.store.put

    def first(key: str, *arguments: Any, **named: Any) -> VersionToken:
        if left and key.startswith("tables/reconciliation/"):
            left.clear()
            happens()
        return put(key, *arguments, **named)

    ctx.store.put = first  # type: ignore[method-assign]
    return ctx


@pytest.mark.parametrize("minutes_ahead", [10, 0, -10])
def test_newer_evidence_replaces_a_row_whatever_the_clocks_say(our: Account, minutes_ahead: int) -> None:
    our.now = AFTER_GRACE + timedelta(minutes=minutes_ahead)
    assert reconcile_day(our.ctx, DAY).verdict.verdict == "complete"
    our.now = AFTER_GRACE
    damage(our)
    reconcile_day(our.ctx, DAY)
    [kept] = our.ctx.tables.rows(schemas.RECONCILIATION, DAY)
    assert (kept["verdict"], kept["checked_at"]) == ("incomplete", AFTER_GRACE)
    our.now = AFTER_GRACE - timedelta(hours=1)
    our.run_day()  # mends it
    [kept] = our.ctx.tables.rows(schemas.RECONCILIATION, DAY)
    assert kept["verdict"] == "complete"


@pytest.mark.parametrize("minutes_ahead", [10, -10])
def test_of_two_runs_at_once_the_older_evidence_does_not_overwrite_the_newer(our: Account, minutes_ahead: int) -> None:
    """One run has seen a whole day, the other finds an object missing and writes first, by a clock of its own."""

    def overtake() -> None:
        damage(our)
        our.now += timedelta(minutes=minutes_ahead)
        assert reconcile_day(our.open(), DAY).verdict.verdict == "incomplete"
        our.now -= timedelta(minutes=minutes_ahead)

    our.now += timedelta(minutes=1)
    result = reconcile_day(at_the_row(our, overtake), DAY)
    [kept] = our.ctx.tables.rows(schemas.RECONCILIATION, DAY)
    assert result.verdict.verdict == kept["verdict"] == "incomplete"


def test_the_first_row_of_a_day_is_written_under_a_condition_too(our: Account) -> None:
    our.archive.delete(table_key("reconciliation", DAY))

    def overtake() -> None:
        damage(our)
        reconcile_day(our.open(), DAY)

    assert reconcile_day(at_the_row(our, overtake), DAY).verdict.verdict == "incomplete"


def test_the_time_is_taken_and_the_row_is_read_before_any_evidence(our: Account) -> None:
    began_at = our.now = AFTER_GRACE + timedelta(hours=1)
    ctx, asked = our.open(), []

    def slow(name: str) -> None:
        true = getattr(ctx.store, name)

        def asking(key: str, *more: Any) -> Any:
            if key.startswith(QUOTA):  # of the run, not of the reconciliation
                return true(key, *more)
            asked.append(key)
            if not key.startswith(("tables/reconciliation/", "state/erased")):  # these are only for the write
                our.now += timedelta(minutes=1)  # the evidence takes its time
            return true(key, *more)

        setattr(ctx.store, name, asking)

    for name in ("list", "read", "head", "copy_into"):
        slow(name)
    result = reconcile_day(ctx, DAY)
    assert result.row["checked_at"] == began_at
    assert asked[0] == table_key("reconciliation", DAY)
    assert {"audio/", "state/", "tables/"} <= {f"{key.split('/')[0]}/" for key in asked[1:]}


def test_a_day_waits_if_its_list_was_read_within_the_grace_days(account: MakeAccount) -> None:
    our = account(PLAIN, now=WITHIN_GRACE)
    assert our.run_day().verdict.verdict == "complete"
    our.now = AFTER_GRACE
    one_step = reconcile_day(our.ctx, DAY)
    assert (one_step.verdict.verdict, len(one_step.verdict.problems)) == ("waiting", 1)
    assert "materialize the whole day" in one_step.verdict.problems[0]
    assert our.run_day().verdict.verdict == "complete"
