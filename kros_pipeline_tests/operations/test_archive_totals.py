"""The totals of the archive: right after every change of a day, and cheap however many days there are."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from kros_pipeline.archive.parquet import batches_of
from kros_pipeline.archive.tables import Tables
from kros_pipeline.archive.tombstones import Tombstones
from kros_pipeline.archive.usage import Usage, add_usage, read_usage
from kros_pipeline.archive.verified_days import record_verified_days
from kros_pipeline.core import schemas
from kros_pipeline.core.object_keys import VERIFIED_DAYS, day_totals_key, table_key, usage_key
from kros_pipeline.core.s3_prices import LIST_PRICES, estimate_month_usd
from kros_pipeline.operations.archive_totals import ArchiveTotals, gather_totals
from kros_pipeline_tests.support.clocks import clock_without_waits
from kros_pipeline_tests.support.memory_store import MemoryArchive, MemoryObjectStore

TODAY = date(2025, 6, 1)
NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)
_numbers = itertools.count(1)


class Totals:
    """An archive in memory of which only the rows of `reconciliation` and the extensions exist."""

    def __init__(self) -> None:
        self.archive = MemoryArchive("totals", f"t-{next(_numbers)}")
        self.store = MemoryObjectStore(self.archive.bucket, self.archive.prefix)
        self.now = NOW
        clock = clock_without_waits(lambda: self.now)
        self.tables, self.clock = Tables(self.store, Tombstones(self.store, None, clock)), clock

    def day(self, day: date, verdict: str = "complete", **counts: Any) -> None:
        row: dict[str, Any] = dict.fromkeys(schemas.RECONCILIATION.column_names, 0) | {
            "call_date": day, "verdict": verdict, "problems": [], "checked_at": self.now, **counts,
        }  # fmt: skip
        self.tables.commit(schemas.RECONCILIATION, day, lambda _: batches_of(schemas.RECONCILIATION, [row]))

    def extensions(self, day: date, *statuses: str, settled: bool = False) -> None:
        rows = [
            dict.fromkeys(schemas.RETENTION_EXTENSIONS.column_names)
            | {"call_id": f"c{number}", "call_date": day, "decision_id": "d", "rule_id": "r", "requested_days": 90}
            | {"status": status, "attempts": 1, "settled_at": self.now if settled else None}
            for number, status in enumerate(statuses)
        ]
        table = schemas.RETENTION_EXTENSIONS
        self.tables.commit(table, day, lambda _: batches_of(table, rows))

    def gather(self, first: date = TODAY, *, retention_days: int | None = 30, **more: Any) -> ArchiveTotals:
        return gather_totals(
            first,
            TODAY - timedelta(days=1),
            store=self.store,
            tables=self.tables,
            clock=self.clock,
            retention_days=retention_days,
            requests_per_day=50_000,
            **more,
        )


@pytest.fixture
def totals() -> Iterator[Totals]:
    made = Totals()
    yield made
    made.archive.forget()


def days_ago(number: int) -> date:
    return TODAY - timedelta(days=number)


def test_an_empty_archive_has_totals_of_nothing_and_writes_nothing(totals: Totals) -> None:
    found = totals.gather()
    assert (found.days_complete, found.days_missing, found.calls, found.oldest_owed_day) == (0, 0, 0, None)
    assert found.days_left_before_deletion is None and found.coverage.percent == 100
    assert totals.archive.objects() == {}


def test_days_are_counted_by_verdict_and_their_numbers_summed(totals: Totals) -> None:
    totals.day(days_ago(1), "waiting", calls=3, recordings_pending=2)
    totals.day(days_ago(2), "incomplete", calls=4, recordings_failed=1)
    totals.day(days_ago(3), calls=5, recordings_archived=5, bytes_in_bucket=10**9, audio_seconds=90.0)
    totals.day(days_ago(400), calls=7, recordings_archived=6, recordings_lost=1, bytes_in_bucket=10**9)
    found = totals.gather(days_ago(5))
    assert (found.days_complete, found.days_waiting, found.days_incomplete, found.days_missing) == (2, 1, 1, 2)
    assert (found.calls, found.recordings_archived, found.recordings_lost) == (19, 11, 1)
    assert (found.recordings_pending, found.recordings_failed) == (2, 1)
    assert (found.audio_gigabytes, found.audio_minutes) == (2.0, 1.5)


# What is there of a day, and whether it is owed.
@pytest.mark.parametrize(
    ("verdict", "counts", "is_owed"),
    [(None, {}, True), ("waiting", {}, True), ("incomplete", {}, True), ("complete", {}, False),
     ("complete", {"listed_total": None}, True)],
)  # fmt: skip
def test_a_day_is_owed_while_something_of_it_is_missing(
    totals: Totals, verdict: str | None, counts: dict[str, Any], is_owed: bool
) -> None:
    if verdict is not None:
        totals.day(days_ago(1), verdict, **counts)
    found = totals.gather(days_ago(1))
    assert (found.days_owed, found.oldest_owed_day) == ((1, days_ago(1)) if is_owed else (0, None))
    assert found.days_left_before_deletion == (29 if is_owed else None)


def test_a_day_that_upstream_has_deleted_is_missing_and_owed_no_more(totals: Totals) -> None:
    found = totals.gather(days_ago(40))
    assert (found.days_missing, found.days_owed, found.oldest_owed_day) == (40, 30, days_ago(30))
    assert found.days_left_before_deletion == 0
    without_end = totals.gather(days_ago(40), retention_days=None)
    assert (without_end.days_owed, without_end.days_left_before_deletion) == (40, None)


def test_an_unreadable_row_is_an_incomplete_day(totals: Totals) -> None:
    totals.day(days_ago(1))
    totals.archive.write(table_key("reconciliation", days_ago(1)), b"no table")
    assert (totals.gather().days_incomplete, totals.gather().days_owed) == (1, 1)


def test_open_extensions_count_while_upstream_has_the_day_and_nobody_settled_them(totals: Totals) -> None:
    for number in (1, 2, 60):
        totals.day(days_ago(number))
    totals.extensions(days_ago(1), "refused", "refused", "unconfirmed", "extended", "not_allowed")
    totals.extensions(days_ago(2), "refused", settled=True)
    totals.extensions(days_ago(60), "refused")
    found = totals.gather()
    assert (found.extensions_refused, found.extensions_unconfirmed) == (2, 1)
    assert found.days_with_open_extensions == (days_ago(1),)
    totals.extensions(days_ago(1), "extended")
    assert totals.gather().extensions_refused == 0


# What it costs.


def test_years_of_days_cost_a_few_requests_until_a_day_changes(totals: Totals) -> None:
    for number in range(800):
        totals.day(days_ago(number + 1), calls=1)

    def cost() -> tuple[int, int]:
        before = totals.store.requests_made
        return totals.gather().calls, totals.store.requests_made - before

    first_calls, first_requests = cost()
    assert first_calls == 800 and first_requests > 1_600
    assert cost() == (800, 3 + 3 + 2)  # listings, a kept object for each of three years, usage and verifications
    totals.day(days_ago(500), "waiting", calls=3)
    calls, requests = cost()
    assert (calls, requests) == (
        802,
        8 + 3 + 2,
    )  # its two tables and its record; its year is read and written under a condition


# What is kept is expendable: deleted, broken, or of another version.
@pytest.mark.parametrize(
    "stored", [None, b"", b"[]", b'{"2025-05-31": {}}', b'{"x": 1}', b'{"2025-05-31": {"total": 1}}', b"[" * 99_999]
)
def test_totals_are_the_same_without_what_is_kept(totals: Totals, stored: bytes | None) -> None:
    totals.day(days_ago(1), calls=4)
    add_usage(totals.store, Usage(api_requests=3), NOW)
    before = totals.gather()
    keys = (day_totals_key(2025), VERIFIED_DAYS)
    for key in keys:
        totals.archive.delete(key) if stored is None else totals.archive.write(key, stored)
    assert totals.gather() == before
    kept = json.loads(totals.archive.read(day_totals_key(2025)))
    for name, wrong in {"calls": "many", "verdict": None, "audio_seconds": None}.items():
        damaged = copy.deepcopy(kept)
        damaged[str(days_ago(1))]["total"][name] = wrong
        totals.archive.write(day_totals_key(2025), json.dumps(damaged).encode())
        assert totals.gather() == before
    if stored is not None:
        totals.archive.write(usage_key(TODAY), stored)
        assert totals.gather().api_requests_today == 0


# Usage and cost.


def test_usage_adds_up_by_the_utc_day(totals: Totals) -> None:
    add_usage(totals.store, Usage(10, 20, 30, 4, 500), NOW)
    add_usage(totals.store, Usage(1, 2, 3, 1, 50), NOW)
    add_usage(totals.store, Usage(5, 6, 7), NOW - timedelta(days=1))  # the month before
    assert read_usage(totals.store, TODAY) == {TODAY: Usage(11, 22, 33, 5, 550)}
    assert read_usage(totals.store, days_ago(1)) == {days_ago(1): Usage(5, 6, 7)}
    found = totals.gather()
    assert (found.api_requests_today, found.api_requests_quota_per_day) == (11, 50_000)
    assert (found.moved_recordings_today, found.moved_bytes_today) == (5, 550)
    assert (found.s3_writes_this_month, found.s3_reads_this_month) == (22, 33)
    assert totals.gather(api_requests_today=99).api_requests_today == 99


GB, TB = 1024**3, 1024**4


# Stored bytes, writes and reads of the month, the time in June, and US dollars of the whole month.
@pytest.mark.parametrize(
    ("stored", "writes", "reads", "now", "usd"),
    [
        (0, 0, 0, NOW, 0.0),
        (100 * GB, 0, 0, NOW, 2.30),
        (50 * TB, 0, 0, NOW, 1_177.60),
        (60 * TB, 0, 0, NOW, 1_177.60 + 225.28),
        (600 * TB, 0, 0, NOW, 1_177.60 + 450 * 1024 * 0.022 + 100 * 1024 * 0.021),
        (0, 1_000_000, 1_000_000, datetime(2025, 6, 16, tzinfo=UTC), 2 * (5.0 + 0.4)),
        (0, 1_000, 0, datetime(2025, 6, 1, 0, 5, tzinfo=UTC), 30 * 0.005),  # the first day counts whole
    ],
)
def test_the_month_is_priced_by_tiers_and_requests(
    stored: int, writes: int, reads: int, now: datetime, usd: float
) -> None:
    assert estimate_month_usd(stored, writes, reads, now) == pytest.approx(usd)
    assert LIST_PRICES.as_of <= date(2026, 12, 31) and "us-east-1" in LIST_PRICES.source


# Verification.


def test_coverage_counts_days_that_were_read_back_and_those_that_missed_their_turn(totals: Totals) -> None:
    for number in (1, 2, 3):
        totals.day(days_ago(number))
    assert (totals.gather().coverage.days_verified, totals.gather().coverage.days_late) == (0, 0)
    totals.now += timedelta(days=20)
    record_verified_days(totals.store, [days_ago(1), days_ago(2)], totals.now)
    found = totals.gather().coverage
    assert (found.days, found.days_verified, found.days_late, round(found.percent)) == (3, 2, 0, 67)
    totals.now += timedelta(days=10)  # the third day is there for 30 days, and was never read
    assert (totals.gather().coverage.days_verified, totals.gather().coverage.days_late) == (2, 1)
    totals.now += timedelta(days=20)
    assert (totals.gather().coverage.days_verified, totals.gather().coverage.days_late) == (0, 3)
