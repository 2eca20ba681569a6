"""The webhook witness: compares the calls that webhook deliveries name with the tables.

What KrosAI sent to a webhook is a second account of the day, independent of the list. A completed call that a delivery
names and no table has makes its day owed, once: the day's listing keeps a digest of the call, and its next run lists
the day anew. If the list still does not show the call, the day's row has a note. The verdict does not change.

The order of writes: the day is marked, then its listing gets the digests, then the day is marked again, because a run
of the day may have written its row in between. At last the state says how far the deliveries were read. A job that is
killed before that reads them again, and finds the digests.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from functools import lru_cache

from ..archive.delivery_progress import DeliveryProgress, read_progress, save_progress
from ..archive.identity import ArchiveIdentity
from ..archive.listings import read_usable_listing, update_listing
from ..archive.object_store import ObjectStore
from ..archive.tables import Tables
from ..archive.tombstones import Tombstones
from ..core import schemas
from ..core.clock import Clock
from ..core.days import LISTED_BEYOND, days_beside, is_over, start_of
from ..core.errors import NotOffered, UnreadablePartition
from ..core.id_digests import digest_id, pack_digests
from ..core.listing import Listing
from ..core.statuses import DayVerdict
from ..source.call_source import CallSource
from ..steps.other_days import mark
from .webhook_reader import DeliveryReader, NamedCall

_SHARE_OF_QUOTA_PERCENT = 2
_REQUESTS_WITHOUT_QUOTA = 1_000
_FEW_CALLS = 3  # of fewer, none may be in the tables by chance
_TO_DO = "Materialize the whole day."


@dataclass
class WitnessReport:
    """What one pull found. `unreadable` counts deliveries by what is wrong with them; `ended_early`, `not_offered` and
    `problem` are sentences, or empty.

    `calls_in_no_table` counts calls of listed days; those of days that were never listed are in `calls_of_new_days`:
    such a day is owed anyway.
    """

    deliveries: int = 0
    unreadable: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    calls_in_no_table: int = 0
    calls_of_new_days: int = 0
    days_owed: list[date] = field(default_factory=list)
    requests: int = 0
    is_newest_first: bool = True
    ended_early: str = ""
    not_offered: str = ""
    problem: str = ""


def witness_calls(
    first_day: date,
    *,
    source: CallSource,
    store: ObjectStore,
    tables: Tables,
    tombstones: Tombstones,
    identity: ArchiveIdentity,
    clock: Clock,
    retention_days: int | None,
    requests_per_day: int | None,
) -> WitnessReport:
    """Read new webhook deliveries, and make the days owed whose calls are in no table.

    Days before `first_day`, the archive's first partition, days outside upstream's retention, and days that are not
    over do not count. `requests_per_day` is the plan's quota, of which a pull takes 2 %. Raises `ApiError` where
    upstream does not answer; a rate limit only ends the reading.
    """
    report = WitnessReport()
    if not identity.check():
        report.ended_early = "no account has claimed the archive yet: the first run of a day does"
        return report
    now = clock.now()
    if retention_days is not None:
        first_day = max(first_day, now.date() - timedelta(days=retention_days))
    share = requests_per_day * _SHARE_OF_QUOTA_PERCENT // 100 if requests_per_day is not None else None
    before = read_progress(store)
    reader = DeliveryReader(
        source,
        before,
        since=start_of(first_day),
        now=now,
        max_requests=share if share is not None else _REQUESTS_WITHOUT_QUOTA,
    )
    try:
        reader.read()
    except NotOffered as error:
        report.not_offered = str(error)
    report.deliveries, report.unreadable = reader.delivery_count, reader.unreadable
    report.calls, report.requests = len(reader.calls), reader.requests_made
    report.is_newest_first, report.ended_early = reader.is_newest_first, reader.ended_early
    witness = _Witness(first_day, now, store=store, tables=tables, tombstones=tombstones, clock=clock)
    if not witness.compare(reader.calls, report):
        report.problem = (
            f"Webhook deliveries name {report.calls_in_no_table} calls, and no table has any of them, although the "
            "tables of their days have other calls. No day was changed, and the next night reads these deliveries "
            "again. Ask KrosAI whether its webhooks name calls by other ids than its list."
        )
    elif reader.progress not in (DeliveryProgress(), before):
        save_progress(store, reader.progress)
    return report


class _Witness:
    """Compares named calls with the tables, day by day."""

    def __init__(
        self,
        first_day: date,
        now: datetime,
        *,
        store: ObjectStore,
        tables: Tables,
        tombstones: Tombstones,
        clock: Clock,
    ):
        self._first_day, self._now, self._clock = first_day, now, clock
        self._store, self._tables, self._tombstones = store, tables, tombstones
        self._ids_of = lru_cache(maxsize=3)(self._read_ids)  # of a day and its neighbours

    def compare(self, calls: Mapping[str, NamedCall], report: WitnessReport) -> bool:
        """Look for each call in the tables of its day and of the days beside it; count, and note what is missing.

        Returns False, and notes nothing, where no call at all is in the tables, and the tables have others: deliveries
        may name calls by other ids than the list.
        """
        by_day: dict[date, dict[str, NamedCall]] = {}
        for call_id, call in calls.items():
            time = call.created_at or call.sent_at
            if time is not None and self._counts(time.date()) and not self._tombstones.is_erased(call_id):
                by_day.setdefault(time.date(), {})[call_id] = call
        missing: dict[date, dict[str, NamedCall]] = {}
        new_days: set[date] = set()
        compared = found = 0
        for day, named in sorted(by_day.items()):
            before, after = days_beside(day)
            present = self._ids_of(day)
            ids = named.keys() - (self._ids_of(before) or set()) - (present or set()) - (self._ids_of(after) or set())
            if ids:
                missing[day] = {call_id: named[call_id] for call_id in ids}
            if present is None:
                new_days.add(day)
            found += len(named) - len(ids)
            compared += len(named) if present else 0
        report.calls_of_new_days = sum(len(missing[day]) for day in new_days & missing.keys())
        report.calls_in_no_table = sum(map(len, missing.values())) - report.calls_of_new_days
        if compared >= _FEW_CALLS and not found:
            return False
        for day, named in missing.items():
            listing = read_usable_listing(self._store, day)
            known = listing.witnessed if listing is not None else set()
            news = {call_id: call for call_id, call in named.items() if digest_id(call_id) not in known}
            if news:
                owed = self._note(day, news)
                report.days_owed = sorted({*report.days_owed, *(owed if day not in new_days else ())})
        return True

    def _counts(self, day: date) -> bool:
        return day >= self._first_day and is_over(day, self._now)

    def _read_ids(self, day: date) -> frozenset[str] | None:
        """Return the ids of a day's table `calls`; None where there is none.

        Of a table that cannot be read nothing is known. Its day is owed, and its next run finds out what is missing.
        """
        try:
            with self._tables.opened(schemas.CALLS, day) as partition:
                return None if partition is None else frozenset(row["call_id"] for row in partition.rows(("call_id",)))
        except UnreadablePartition:
            return frozenset()

    def _note(self, day: date, news: Mapping[str, NamedCall]) -> list[date]:
        """Make the day owed, and keep the digests of its missing calls. Return the days that were marked.

        Where an event does not say when its call was created, and is of the first hours of the day, the call may be of
        the day before: it is owed, too.
        """
        days, (before, _), morning_ends = [day], days_beside(day), start_of(day) + LISTED_BEYOND
        is_of_morning = any(
            call.created_at is None and call.sent_at is not None and call.sent_at < morning_ends
            for call in news.values()
        )
        if is_of_morning and self._counts(before):
            days.insert(0, before)
        sentence = f"{len(news)} × call that a webhook delivery of {day} named is in no table. {_TO_DO}"
        self._mark(days, sentence)
        update_listing(self._store, day, lambda last: self._add_digests(last, news))
        self._mark(days, sentence)
        return days

    def _mark(self, days: Iterable[date], sentence: str) -> None:
        for day in days:
            mark(day, DayVerdict.WAITING, sentence, self._tables, self._clock)

    def _add_digests(self, last: Listing | None, call_ids: Iterable[str]) -> Listing:
        """Add the calls that are not erased; asked for anew: an erasure may have come in between."""
        listing = last if last is not None else Listing(proved=False, listed_total=0)
        added = {digest_id(call_id) for call_id in call_ids if not self._tombstones.is_erased(call_id)}
        return replace(listing, witnessed_digests=pack_digests(listing.witnessed | added) or None)
