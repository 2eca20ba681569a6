"""Tables of a settled day that are deleted or replaced: the day is owed again, and named, without a byte being read."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from kros_pipeline.core.errors import ArchiveUnavailable
from kros_pipeline.core.object_keys import day_totals_key, table_key, table_versions_key
from kros_pipeline.core.schemas import TABLES
from kros_pipeline.core.statuses import DayVerdict
from kros_pipeline.operations.changed_days import DERIVED_TABLES, describe_other_days
from kros_pipeline.operations.day_states import DayState
from kros_pipeline.steps.other_days import mark
from kros_pipeline_tests.operations.test_backlog import checked
from kros_pipeline_tests.support.accounts import DAY, WITHIN_GRACE, Account, MakeAccount
from kros_pipeline_tests.support.clocks import clock_without_waits
from kros_pipeline_tests.support.memory_bucket import objects_of
from kros_pipeline_tests.support.steps import check_health, find_backlog, gather_totals, list_calls, reconcile_day
from kros_pipeline_tests.support.years_store import YearsStore

NOW = datetime(2025, 1, 20, 10, 40, tzinfo=UTC)


@pytest.fixture
def our(memory_account: MakeAccount) -> Account:
    """An account whose day is settled."""
    our = memory_account(now=NOW)
    assert our.run_day().verdict.verdict == "complete"
    assert find_backlog(our.ctx, DAY, DAY) == [] and check_health(our.ctx, DAY, DAY).days == []
    return our


@pytest.mark.parametrize("table", sorted(TABLES.keys() - {"reconciliation"}))
def test_a_deleted_table_of_a_settled_day_makes_it_owed_and_named(our: Account, table: str) -> None:
    our.archive.delete(table_key(table, DAY))
    assert find_backlog(our.ctx, DAY, DAY) == [DAY]
    assert check_health(our.ctx, DAY, DAY).days == [f"{DAY}: deleted since its check: the table `{table}`."]


@pytest.mark.parametrize("table", sorted(TABLES.keys() - {"reconciliation"}))
def test_a_replaced_table_of_a_settled_day_makes_it_owed_and_named(our: Account, table: str) -> None:
    our.archive.write(table_key(table, DAY), our.archive.read(table_key(table, DAY)))
    assert find_backlog(our.ctx, DAY, DAY) == [DAY]
    assert check_health(our.ctx, DAY, DAY).days == [f"{DAY}: replaced since its check: the table `{table}`."]


def test_a_deleted_row_of_the_day_is_a_day_that_was_never_archived(our: Account) -> None:
    our.archive.delete(table_key("reconciliation", DAY))
    assert find_backlog(our.ctx, DAY, DAY) == [DAY]
    assert check_health(our.ctx, DAY, DAY).days == [f"{DAY} was never archived."]


def test_all_tables_of_all_settled_days_can_be_deleted_and_none_is_green(our: Account) -> None:
    our.run_day(DAY + timedelta(days=1))
    for name in TABLES.keys() - {"reconciliation"}:
        for day in (DAY, DAY + timedelta(days=1)):
            our.archive.delete(table_key(name, day))
    assert find_backlog(our.ctx, DAY, DAY + timedelta(days=1)) == [DAY, DAY + timedelta(days=1)]
    assert len(check_health(our.ctx, DAY, DAY + timedelta(days=1)).days) == 2


def test_the_next_run_settles_the_day_again(our: Account) -> None:
    our.archive.delete(table_key("utterances", DAY))
    our.run_day()
    assert find_backlog(our.ctx, DAY, DAY) == [] and check_health(our.ctx, DAY, DAY).days == []


def test_a_run_that_found_a_new_call_and_was_killed_after_calls_leaves_the_day_owed(
    memory_account: MakeAccount,
) -> None:
    our = memory_account(now=NOW, fresh=True)
    our.run_day()
    list_calls(our.ctx, DAY)
    assert find_backlog(our.ctx, DAY, DAY) == [], "nothing is new"
    our.krosai.add_call(f"{DAY}T10:00:00Z")
    list_calls(our.ctx, DAY)
    assert find_backlog(our.ctx, DAY, DAY) == [DAY]
    assert check_health(our.ctx, DAY, DAY).days == [f"{DAY}: replaced since its check: the table `calls`."]


def test_a_run_that_is_under_way_replaces_tables_and_is_no_alarm(our: Account) -> None:
    our.archive.rewrite("calls", DAY, lambda rows: rows[1:])
    assert len(check_health(our.ctx, DAY, DAY).days) == 1
    assert check_health(our.ctx, DAY, DAY, under_way={DAY}).days == []


# Killed between the row and the record, or of an older version: owed, and no reason for red.
@pytest.mark.parametrize("record", [None, b"{}", b"[]", b"<html>", b'{"versions": 3}', "of an older row"])
def test_a_day_whose_tables_versions_are_not_known_is_owed_and_not_red(
    our: Account, record: bytes | str | None
) -> None:
    key = table_versions_key(DAY)
    if record is None:
        our.archive.delete(key)
    elif isinstance(record, bytes):
        our.archive.write(key, record)
    else:
        versions = our.archive.json(key)["versions"]
        our.archive.write(key, json.dumps({"versions": versions | {"reconciliation": "1", "calls": "1"}}).encode())
    assert find_backlog(our.ctx, DAY, DAY) == [DAY]
    assert check_health(our.ctx, DAY, DAY).days == []
    our.run_day()
    assert find_backlog(our.ctx, DAY, DAY) == []


def test_a_run_that_is_killed_before_the_versions_are_recorded_leaves_the_day_owed(
    our: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise ArchiveUnavailable("killed")

    monkeypatch.setattr("kros_pipeline.steps.reconciliation.record_table_versions", killed)
    with pytest.raises(ArchiveUnavailable):
        our.run_day()
    assert find_backlog(our.ctx, DAY, DAY) == [DAY] and check_health(our.ctx, DAY, DAY).days == []


def test_a_day_within_its_grace_days_is_owed_anyway_and_named_only_for_what_is_gone(
    memory_account: MakeAccount,
) -> None:
    our = memory_account(now=WITHIN_GRACE)
    our.run_day()
    our.archive.rewrite("calls", DAY, lambda rows: rows[1:])
    assert check_health(our.ctx, DAY, DAY).days == []
    our.archive.delete(table_key("calls", DAY))
    assert check_health(our.ctx, DAY, DAY).days == [f"{DAY}: deleted since its check: the table `calls`."]


def test_what_is_recorded_are_the_versions_of_the_seven_tables(our: Account) -> None:
    recorded = our.archive.json(table_versions_key(DAY))["versions"]
    assert recorded == {name: our.archive.objects()[table_key(name, DAY)][0] for name in TABLES}


def test_s3_names_the_same_versions_in_a_listing_as_when_tables_are_read_and_written(account: MakeAccount) -> None:
    our = account(now=NOW)
    our.run_day()
    assert find_backlog(our.ctx, DAY, DAY) == [] and check_health(our.ctx, DAY, DAY).days == []


# Requests: a listing for each table, and two for each day within retention, however many days the archive has.
def test_the_requests_are_bounded_however_old_the_archive_is(memory_account: MakeAccount) -> None:
    our = memory_account(now=NOW, KROSAI_PLAN="free")
    our.ctx.identity.claim()
    for number in range(1, 60):
        checked(our.ctx, NOW.date() - timedelta(days=number), "complete", NOW)
    for look in (find_backlog, check_health):
        before = our.ctx.store.requests_made
        look(our.ctx, date(2020, 1, 1), NOW.date() - timedelta(days=1))
        assert our.ctx.store.requests_made - before <= len(TABLES) + 2 * 7 + 21


# What was never proved.


def test_a_day_that_is_complete_by_its_row_and_was_never_proved_is_owed_and_named(memory_account: MakeAccount) -> None:
    our = memory_account(now=NOW)
    our.ctx.identity.claim()
    checked(our.ctx, DAY, "complete", NOW, listed_total=None)
    assert find_backlog(our.ctx, DAY, DAY) == [DAY]
    assert check_health(our.ctx, DAY, DAY).days == [f"{DAY} is complete by its row, and its list was never proved."]


@pytest.mark.parametrize("verdict", ["waiting", "incomplete"])
def test_an_unproved_day_older_than_two_weeks_is_owed_and_named_while_upstream_has_it(
    memory_account: MakeAccount, verdict: str
) -> None:
    our = memory_account(now=datetime(2025, 2, 5, tzinfo=UTC), KROSAI_PLAN="pro")
    our.ctx.identity.claim()
    checked(our.ctx, DAY, verdict, NOW, listed_total=None)
    assert find_backlog(our.ctx, DAY, DAY) == [DAY]
    found = check_health(our.ctx, DAY, DAY)
    assert [sentence.startswith(str(DAY)) for sentence in found.days] == [True]
    assert (found.days_never_proved, found.least_days_left) == ([(DAY, 4)], 4)
    our.now = datetime(2025, 2, 10, tzinfo=UTC)  # upstream has nothing of it any more
    assert find_backlog(our.ctx, DAY, DAY) == [] and check_health(our.ctx, DAY, DAY).days == []


# Days that upstream has no more: no run mends them, and the bucket keeps old versions for some weeks only.

YEARS_LATER = datetime(2027, 6, 1, tzinfo=UTC)


def look(our: Account) -> list[str]:
    """The hourly look of years later: its sentences about days that no schedule takes up."""
    first, last = YEARS_LATER.date() - timedelta(days=20), YEARS_LATER.date() - timedelta(days=1)
    found = check_health(our.ctx, first, last).other_days
    gather_totals(our.ctx, first, last)
    return found


@pytest.fixture
def old(memory_account: MakeAccount) -> Account:
    """An account whose day was settled, and seen by an hourly look, years ago."""
    our = memory_account(now=NOW)
    our.run_day()
    our.now = YEARS_LATER
    assert look(our) == [] and look(our) == []
    return our


@pytest.mark.parametrize("table", sorted(TABLES))
def test_a_deleted_table_is_named_however_old_its_day_is(old: Account, table: str) -> None:
    old.archive.delete(table_key(table, DAY))
    for _ in range(3):  # every hour, until it is back
        assert look(old) == [f"{DAY}: deleted since its check: the table `{table}`."]


def test_a_day_whose_tables_are_all_deleted_is_named(old: Account) -> None:
    for table in TABLES:
        old.archive.delete(table_key(table, DAY))
    old.archive.delete(table_versions_key(DAY))
    for _ in range(3):
        assert look(old) == [f"{DAY}: deleted since its check: the table `reconciliation`."]
    old.archive.delete(day_totals_key(DAY.year))
    assert look(old) == [], "whoever deleted the day on purpose has it forgotten"


def test_a_deleted_table_of_an_old_day_that_is_not_complete_is_named(memory_account: MakeAccount) -> None:
    our = memory_account(now=NOW)
    our.run_day()
    reconcile_day(our.ctx, DAY, blocked_by="KrosAI refuses the key.")
    our.now = YEARS_LATER
    assert look(our) == []
    our.archive.delete(table_key("transcripts", DAY))
    assert look(our) == [f"{DAY}: deleted since its check: the table `transcripts`."]


@pytest.mark.parametrize("table", sorted(TABLES.keys() - DERIVED_TABLES))
def test_a_replaced_table_is_named_however_old_its_day_is(old: Account, table: str) -> None:
    replace_table(old, table, written_at=YEARS_LATER - timedelta(days=2))
    look(old)  # of a replaced row this look reads the numbers only
    for _ in range(2):
        assert look(old) == [f"{DAY}: replaced since its check: the table `{table}`."]
    reconcile_day(old.ctx, DAY)
    look(old)
    assert look(old) == []


@pytest.mark.parametrize("table", sorted(DERIVED_TABLES))
def test_a_backfill_of_what_follows_from_the_transcripts_is_no_alarm(old: Account, table: str) -> None:
    replace_table(old, table, written_at=YEARS_LATER - timedelta(days=2))
    look(old)
    assert look(old) == []


@pytest.mark.parametrize(("first", "is_owed"), [(DAY, True), (DAY + timedelta(days=1), False)])
def test_a_day_of_which_upstream_deletes_nothing_is_left_to_the_schedule_unless_it_is_no_partition(
    memory_account: MakeAccount, first: date, is_owed: bool
) -> None:
    our = memory_account(now=NOW, KROSAI_PLAN="enterprise")
    our.run_day()
    gather_totals(our.ctx, DAY, DAY)
    our.now = NOW + timedelta(days=60)
    our.archive.delete(table_key("transcripts", DAY))
    last = our.now.date() - timedelta(days=1)
    found, sentence = check_health(our.ctx, first, last), f"{DAY}: deleted since its check: the table `transcripts`."
    assert (DAY in find_backlog(our.ctx, first, last)) == is_owed
    assert ((sentence in found.days), found.other_days) == (is_owed, [] if is_owed else [sentence])


def test_what_an_erasure_may_still_be_writing_is_not_named(old: Account) -> None:
    replace_table(old, "calls", written_at=YEARS_LATER - timedelta(hours=23))
    assert look(old) == []


# Damage: what was kept before it is still compared, and the damage itself is named.


@pytest.mark.parametrize("table", ["reconciliation", "retention_extensions"])
def test_a_damaged_table_is_named_and_hides_no_deleted_one(old: Account, table: str) -> None:
    good = old.archive.read(table_key(table, DAY))
    old.archive.write(table_key(table, DAY), b"no table")
    look(old)  # reads it
    named = f"{DAY}: the table `{table}` cannot be read."
    assert look(old) == [named]
    old.archive.delete(table_key("calls", DAY))
    for _ in range(2):
        assert look(old) == [named, f"{DAY}: deleted since its check: the table `calls`."]
    old.archive.write(table_key(table, DAY), good)
    look(old)
    assert look(old)[0] == f"{DAY}: deleted since its check: the table `calls`."


@pytest.mark.parametrize("record", [None, b"<html>"])
def test_a_lost_record_is_named_and_hides_no_deleted_table(old: Account, record: bytes | None) -> None:
    key = table_versions_key(DAY)
    old.archive.delete(key) if record is None else old.archive.write(key, record)
    look(old)
    named = f"{DAY}: the record of its check, `{key}`, is missing or damaged."
    assert look(old) == [named]
    old.archive.delete(table_key("recordings", DAY))
    for _ in range(2):
        assert look(old) == [named, f"{DAY}: deleted since its check: the table `recordings`."]


def test_a_day_whose_record_is_lost_and_was_kept_is_owed_while_upstream_has_it(our: Account) -> None:
    gather_totals(our.ctx, DAY, DAY)
    our.archive.delete(table_versions_key(DAY))
    gather_totals(our.ctx, DAY, DAY)
    assert find_backlog(our.ctx, DAY, DAY) == [DAY]


def test_a_record_that_was_never_there_is_no_damage(memory_account: MakeAccount) -> None:
    our = memory_account(now=NOW)
    our.run_day()
    our.archive.delete(table_versions_key(DAY))
    our.now = YEARS_LATER
    look(our)
    assert look(our) == []


def test_a_deleted_row_is_named_also_where_another_day_has_marked_it_since(old: Account) -> None:
    old.archive.delete(table_key("reconciliation", DAY))
    mark(DAY, DayVerdict.WAITING, "The listing of another day showed calls.", old.ctx.tables, old.ctx.clock)
    look(old)
    for _ in range(2):
        assert look(old) == [f"{DAY}: deleted since its check: the table `reconciliation`."]
    assert check_health(old.ctx, DAY, DAY).days == []
    old.now = NOW
    assert check_health(old.ctx, DAY, DAY).days == [f"{DAY}: deleted since its check: the table `reconciliation`."]


# 0.1.0 kept no check of a day that was not complete.
@pytest.mark.parametrize("is_readable", [True, False])
def test_a_day_that_an_older_version_kept_without_its_check_is_read_once(old: Account, is_readable: bool) -> None:
    if not is_readable:
        old.archive.write(table_key("reconciliation", DAY), b"no table")
    look(old)
    kept = old.archive.json(day_totals_key(DAY.year))
    del kept[str(DAY)]["unread"]
    old.archive.write(
        day_totals_key(DAY.year), json.dumps(kept | {str(DAY): kept[str(DAY)] | {"check": None}}).encode()
    )
    look(old)
    assert (old.archive.json(day_totals_key(DAY.year))[str(DAY)]["check"] is not None) == is_readable
    before = old.ctx.store.requests_made
    look(old)
    requests = old.ctx.store.requests_made - before
    old.archive.delete(table_key("calls", DAY))
    expected = (
        f"{DAY}: deleted since its check: the table `calls`."
        if is_readable
        else (f"{DAY}: the table `reconciliation` cannot be read.")
    )
    assert look(old) == [expected]
    before = old.ctx.store.requests_made
    look(old)
    assert old.ctx.store.requests_made - before == requests, "a damaged day is not read again every hour"


def test_a_deleted_row_of_a_day_that_upstream_still_has_is_no_day_that_was_never_archived(our: Account) -> None:
    gather_totals(our.ctx, DAY, DAY)
    our.archive.delete(table_key("reconciliation", DAY))
    assert find_backlog(our.ctx, DAY, DAY) == [DAY]
    assert check_health(our.ctx, DAY, DAY).days == [f"{DAY}: deleted since its check: the table `reconciliation`."]
    our.run_day()
    assert check_health(our.ctx, DAY, DAY).days == []


def test_of_many_changed_days_some_are_named_and_the_others_counted() -> None:
    store, clock = YearsStore(1, 1), clock_without_waits(lambda: YEARS_LATER)
    days = [DAY + timedelta(days=number) for number in range(30)]
    states = {day: DayState(deleted=["calls"]) for day in days}
    sentences = describe_other_days(states, store=store, clock=clock, lookback_days=3)
    assert len(sentences) == 21 and sentences[-1] == "The same holds for 10 more days."
    assert store.requests_made == 0


def replace_table(our: Account, table: str, *, written_at: datetime) -> None:
    key = table_key(table, DAY)
    our.archive.write(key, our.archive.read(key))
    objects = objects_of(our.archive.bucket)
    full = our.ctx.store.full_key(key)
    objects[full] = replace(objects[full], last_modified=written_at)
