"""The quota of API requests that runs on several machines share, in one object of the archive for each UTC day."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import IO, Any

import pytest

from kros_pipeline.archive.object_store import VersionToken
from kros_pipeline.archive.request_quota import RequestQuota, read_requests_of_day
from kros_pipeline.core.clock import Clock
from kros_pipeline.core.errors import ArchiveDenied, ArchiveError, ArchiveUnavailable, ObjectChanged, TooManyRequests
from kros_pipeline.core.object_keys import quota_key
from kros_pipeline.core.request_quota import QuotaRule, RunKind
from kros_pipeline_tests.support.memory_bucket import objects_of
from kros_pipeline_tests.support.memory_store import MemoryObjectStore

TODAY = date(2025, 1, 11)
KEY = quota_key(TODAY)


@dataclass
class Time:
    """A time that a test sets. Waits are counted, and not waited."""

    now: datetime = datetime(2025, 1, 11, 4, 15, tzinfo=UTC)
    seconds: float = 0.0
    slept: list[float] = field(default_factory=list)

    @property
    def clock(self) -> Clock:
        return Clock(now=lambda: self.now, monotonic=lambda: self.seconds, sleep=self.slept.append)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def store() -> Iterator[MemoryObjectStore]:
    yield MemoryObjectStore("quota")
    objects_of("quota").clear()


MakeRun = Callable[..., RequestQuota]


@pytest.fixture
def run(store: MemoryObjectStore, time: Time) -> MakeRun:
    """Makes the quota of one more run: of an older day, where no other kind is given."""

    def make(
        requests_per_day: int | None = 1_000,
        requests_per_run: int | None = 500,
        kind: RunKind = RunKind.OLDER_DAY,
        store: MemoryObjectStore = store,
        may_write: Callable[[], bool] = lambda: True,
    ) -> RequestQuota:
        quota = RequestQuota(store, QuotaRule(requests_per_day, requests_per_run), time.clock, may_write=may_write)
        if kind is not RunKind.OTHER:
            quota.begin_day(TODAY - timedelta(days=1 if kind is RunKind.NEWEST_DAY else 9))
        return quota

    return make


def take(quota: RequestQuota, count: int) -> int:
    """Take so many requests; return how many were granted before the first refusal."""
    for number in range(count):
        try:
            quota.take()
        except TooManyRequests:
            return number
    return count


def stored(store: MemoryObjectStore, day: date = TODAY) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(store.read(quota_key(day)) or b"null")
    return found


def test_a_run_reserves_before_it_sends_and_gives_the_rest_back(store: MemoryObjectStore, run: MakeRun) -> None:
    quota = run(50_000, kind=RunKind.NEWEST_DAY)
    assert read_requests_of_day(store, TODAY) is None, "a run that asks nothing writes nothing"
    quota.take()
    assert [one["requests"] for one in stored(store)["reserved"].values()] == [200]
    assert take(quota, 64) == 64
    quota.give_back()
    assert stored(store) == {"sent": {"newest_day": 65}, "reserved": {}, "is_newest_day_done": False}
    assert read_requests_of_day(store, TODAY) == 65
    assert set(objects_of(store.bucket)) == {KEY}


def test_a_day_of_65_requests_costs_three_requests_to_s3(store: MemoryObjectStore, run: MakeRun) -> None:
    quota = run(50_000)
    take(quota, 65)
    quota.give_back()
    assert store.requests_made == 3
    quota.give_back()
    assert store.requests_made == 3, "there is nothing left to give back"


@pytest.mark.parametrize(("requests_per_day", "block"), [(50_000, 200), (1_000, 50), (None, 200)])
def test_a_killed_run_loses_at_most_one_block(
    store: MemoryObjectStore, run: MakeRun, requests_per_day: int | None, block: int
) -> None:
    take(run(requests_per_day), 2 * block + 1)  # it is killed, and gives nothing back
    assert read_requests_of_day(store, TODAY) == 3 * block
    after = run(requests_per_day)
    take(after, 5)
    after.give_back()
    assert read_requests_of_day(store, TODAY) == 3 * block + 5


def test_runs_beside_each_other_never_take_more_than_the_quota(store: MemoryObjectStore, run: MakeRun) -> None:
    runs = [run(kind=RunKind.NEWEST_DAY) for _ in range(8)]
    with ThreadPoolExecutor(32) as pool:  # four threads each
        granted = list(pool.map(lambda number: take(runs[number % 8], 100), range(32)))
    assert 1_000 - 7 * 50 <= sum(granted) <= 1_000
    for quota in runs:
        quota.give_back()
    assert read_requests_of_day(store, TODAY) == sum(granted)
    assert sum(granted) + take(run(kind=RunKind.NEWEST_DAY), 1_000) == 1_000, "and all of it can be sent"


def test_the_newest_day_finds_its_reserve_however_many_older_days_ran(store: MemoryObjectStore, run: MakeRun) -> None:
    for _ in range(3):
        older = run()
        take(older, 1_000)
        older.give_back()
    assert read_requests_of_day(store, TODAY) == 500
    with pytest.raises(
        TooManyRequests, match=r"500 of the 1,000 API requests of 2025-01-11 .* 500 are kept for the newest day"
    ):
        run().take()
    newest = run(kind=RunKind.NEWEST_DAY)
    assert take(newest, 500) == 500
    with pytest.raises(TooManyRequests, match=r"1,000 of the 1,000 API requests of 2025-01-11 \(UTC\) are sent or"):
        newest.take()


def test_older_days_have_what_the_newest_one_left_once_it_is_done(store: MemoryObjectStore, run: MakeRun) -> None:
    newest, older = run(kind=RunKind.NEWEST_DAY), run()
    take(newest, 65)
    older.on_day_done()  # an older day's end says nothing
    newest.on_day_done()
    newest.give_back()
    assert take(older, 2_000) == 1_000 - 65 - 100


def test_a_run_that_was_refused_looks_again_after_a_minute(store: MemoryObjectStore, run: MakeRun, time: Time) -> None:
    other, waiting = run(100, kind=RunKind.OTHER), run(100, kind=RunKind.OTHER)
    take(other, 98)
    assert take(waiting, 1) == 0
    other.give_back()
    asked = store.requests_made
    assert take(waiting, 1) == 0 and store.requests_made == asked, "S3 is not asked for each call of a day"
    time.seconds += 61
    assert take(waiting, 5) == 2


def test_at_midnight_a_run_begins_the_next_days_quota(store: MemoryObjectStore, run: MakeRun, time: Time) -> None:
    quota = run(kind=RunKind.NEWEST_DAY)
    take(quota, 10)
    time.now += timedelta(days=1)
    take(quota, 3)
    time.now -= timedelta(days=1)  # the clock was set back
    take(quota, 3)
    quota.give_back()
    assert read_requests_of_day(store, TODAY) == 10
    assert read_requests_of_day(store, TODAY + timedelta(days=1)) == 6


def test_the_newest_day_is_an_older_one_from_midnight_on(store: MemoryObjectStore, run: MakeRun, time: Time) -> None:
    """What it still asks, and that it is done, says nothing of the next day: that has a newest day of its own."""
    late = run(kind=RunKind.NEWEST_DAY)
    take(late, 10)
    time.now += timedelta(days=1)
    take(late, 3)
    late.on_day_done()
    late.give_back()
    tomorrow = TODAY + timedelta(days=1)
    assert stored(store)["sent"] == {"newest_day": 10}
    assert stored(store, tomorrow) == {"sent": {"older_days": 3}, "reserved": {}, "is_newest_day_done": False}
    assert take(run(), 1_000) == 500 - 3, "a backfill leaves its half to the day that is the newest now"


def test_machines_whose_clocks_differ_at_midnight_keep_each_days_quota(
    store: MemoryObjectStore, run: MakeRun, time: Time
) -> None:
    early, late = Time(time.now.replace(hour=23, minute=59)), Time(time.now + timedelta(hours=20))
    rule = QuotaRule(1_000, None)
    behind, ahead = (RequestQuota(store, rule, one.clock, may_write=lambda: True) for one in (early, late))
    assert take(behind, 900) + take(ahead, 2_000) == 1_900
    for quota in (behind, ahead):
        quota.give_back()
    assert (read_requests_of_day(store, TODAY), read_requests_of_day(store, TODAY + timedelta(days=1))) == (900, 1_000)


def test_before_the_account_is_known_nothing_is_written_and_its_requests_are_counted_later(
    store: MemoryObjectStore, run: MakeRun
) -> None:
    known: list[bool] = []
    quota = run(may_write=lambda: bool(known))
    take(quota, 3)
    assert not objects_of(store.bucket)
    known.append(True)
    take(quota, 2)
    quota.give_back()
    assert read_requests_of_day(store, TODAY) == 5


def test_an_object_that_nobody_can_read_is_replaced(store: MemoryObjectStore, run: MakeRun) -> None:
    quota = run()
    take(quota, 10)
    objects_of(store.bucket)[KEY] = objects_of(store.bucket)[KEY].__class__(b"no JSON", VersionToken("other"))
    take(quota, 41)  # more than its block
    quota.give_back()
    assert stored(store)["sent"] == {"older_days": 51}


class Troubled(MemoryObjectStore):
    """A store that answers some requests with an error; a put may have been done before."""

    def __init__(self, bucket: str, trouble: Callable[[], tuple[ArchiveError | None, bool]]) -> None:
        super().__init__(bucket)
        self._trouble = trouble

    def copy_into(self, key: str, file: IO[bytes]) -> VersionToken | None:
        error, _ = self._trouble()
        if error is not None:
            raise error
        return super().copy_into(key, file)

    def put(self, *args: Any, **named: Any) -> VersionToken:
        error, is_done = self._trouble()
        if error is None:
            return super().put(*args, **named)
        if is_done:
            super().put(*args, **named)
        raise error


@pytest.mark.parametrize("is_done", [False, True], ids=["not written", "written, and the answer lost"])
@pytest.mark.parametrize("error", [ArchiveUnavailable("503"), ObjectChanged("another writer was first")])
def test_a_store_that_fails_at_times_loses_no_request_and_counts_none_twice(
    store: MemoryObjectStore, run: MakeRun, time: Time, error: ArchiveError, is_done: bool
) -> None:
    random_numbers = random.Random(7)
    troubled = Troubled("quota", lambda: (error if random_numbers.random() < 0.4 else None, is_done))
    quotas = [run(store=troubled, kind=RunKind.OTHER) for _ in range(6)]
    granted = [take(quota, 120) for quota in quotas]
    for quota in quotas:
        quota.give_back()
    assert granted == [120] * 6
    assert read_requests_of_day(store, TODAY) == 720
    assert len(set(time.slept)) > 5, "the pauses are random, so that runs do not meet again"


@pytest.mark.parametrize("error", [ArchiveUnavailable("no answer"), ArchiveDenied("403")])
def test_where_the_archive_cannot_say_no_request_is_sent(
    run: MakeRun, store: MemoryObjectStore, error: ArchiveError
) -> None:
    """As for a quota that is used up: what was to be asked stays pending, and a POST surely had no effect."""
    quota = run(store=Troubled("quota", lambda: (error, False)))
    with pytest.raises(TooManyRequests, match=r"no API request of 2025-01-11 \(UTC\) can be reserved: (no answer|403)"):
        quota.take()
    assert not objects_of(store.bucket)


def test_threads_that_wait_for_an_archive_that_is_down_do_not_try_it_one_after_the_other(
    run: MakeRun, time: Time
) -> None:
    """One try may last minutes: a client of S3 has its own repetitions, and each waits for an answer."""
    tries: list[float] = []

    def no_answer() -> tuple[ArchiveError, bool]:
        tries.append(time.seconds)
        time.seconds += 45
        return ArchiveUnavailable("no answer"), False

    quota = run(store=Troubled("quota", no_answer))
    for _ in range(32):
        with pytest.raises(TooManyRequests, match="no answer"):
            quota.take()
    assert tries == [0, 45], "it is tried for a minute, and then not for a minute"
    time.seconds += 61
    assert take(quota, 1) == 0
    assert len(tries) == 4


def test_a_rest_that_cannot_be_given_back_stays_reserved(store: MemoryObjectStore, run: MakeRun) -> None:
    errors: list[ArchiveError] = []
    quota = run(store=Troubled("quota", lambda: (errors[0] if errors else None, False)))
    take(quota, 10)
    errors.append(ArchiveUnavailable("no answer"))
    with pytest.raises(ArchiveUnavailable):
        quota.give_back()
    assert read_requests_of_day(store, TODAY) == 50


def test_threads_of_one_run_reserve_one_block_for_all(store: MemoryObjectStore, run: MakeRun) -> None:
    quota, together = run(50_000), threading.Barrier(16)

    def ask(_: int) -> None:
        together.wait(10)
        quota.take()

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(ask, range(16)))
    assert (store.requests_made, read_requests_of_day(store, TODAY)) == (2, 200)
