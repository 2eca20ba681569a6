"""A foreign object, or a cut partition, is reported by its name, and stops no other day."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from kros_pipeline.core.errors import UnreadablePartition
from kros_pipeline.core.object_keys import table_key
from kros_pipeline_tests.operations.test_backlog import checked
from kros_pipeline_tests.support.accounts import DAY, MakeAccount
from kros_pipeline_tests.support.steps import check_health, find_backlog, reconcile_day, verify_days

NOW = datetime(2025, 1, 20, tzinfo=UTC)
GOOD = DAY + timedelta(days=1)

# What a console, Spark or a broken upload leaves in a table's folder; None: the partition is cut in half.
FOREIGN = {
    "a folder marker": ("tables/reconciliation/", b""),
    "a marker of Spark": ("tables/reconciliation/_SUCCESS", b""),
    "a folder of no day": ("tables/reconciliation/dt=2025-99-99/part-0.parquet", b"x"),
    "a folder of a day": (f"tables/reconciliation/dt={DAY}/", b""),
    "an empty partition": (table_key("reconciliation", DAY), b""),
    "a partition of text": (table_key("reconciliation", DAY), b"<html>" * 100),
    "a cut partition": (table_key("reconciliation", DAY), None),
}


@pytest.fixture
def our(memory_account: MakeAccount) -> Any:
    our = memory_account(now=NOW)
    our.ctx.identity.claim()
    for day in (DAY, GOOD):
        checked(our.ctx, day, "complete", NOW)
    return our


@pytest.mark.parametrize("foreign", FOREIGN)
def test_a_foreign_object_stops_neither_the_backlog_nor_the_health_check(our: Any, foreign: str) -> None:
    key, body = FOREIGN[foreign]
    our.archive.write(key, body if body is not None else our.archive.read(key)[:-100])
    is_broken = key == table_key("reconciliation", DAY)
    assert find_backlog(our.ctx, DAY, GOOD) == ([DAY] if is_broken else [])
    sentences = check_health(our.ctx, DAY, GOOD).days
    assert [sentence for sentence in sentences if key in sentence] == sentences
    assert bool(sentences) is is_broken


def test_the_days_next_reconciliation_replaces_its_unreadable_row(our: Any) -> None:
    our.archive.write(table_key("reconciliation", DAY), b"<html>")
    reconcile_day(our.ctx, DAY)
    assert len(our.archive.table("reconciliation", DAY)) == 1


def test_an_unreadable_table_of_recordings_is_named_by_health_and_verification(our: Any) -> None:
    key = table_key("recordings", DAY)
    our.archive.write(key, b"<html>")
    checked(our.ctx, DAY, "waiting", NOW, recordings_pending=1)
    found = verify_days(our.ctx, [DAY, GOOD])
    assert found.unread == [key] and not found.is_sound
    health = check_health(our.open(KROSAI_RETENTION_DAYS="30"), DAY, GOOD)
    assert any(key in sentence for sentence in health.days)


@pytest.mark.parametrize("table", ["calls", "recordings", "transcripts"])
def test_an_unreadable_table_fails_the_steps_that_need_it_and_is_not_overwritten(our: Any, table: str) -> None:
    key = table_key(table, date(2025, 1, 10))
    our.archive.write(key, b"PAR1 and no more")
    with pytest.raises(UnreadablePartition, match=key):
        our.run_day()
    assert our.archive.read(key) == b"PAR1 and no more"
