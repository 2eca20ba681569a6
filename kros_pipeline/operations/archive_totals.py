"""The totals of the archive: its days by verdict, what is owed and until when, what is stored, moved and used.

They stay cheap however old the archive is, because the numbers of each day are kept (`archive/day_totals.py`) and read
again only where one of the day's two tables, or the record of its check, has another version. Requests of one look: for
three listings one per 1,000 days, one for each year, three more; and for each day that changed three, and for its year
one more.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from ..archive.day_totals import RECORD, KeptCheck, KeptDay, read_kept_days, write_kept_days
from ..archive.object_store import ObjectStore
from ..archive.table_versions import list_records, list_table_versions, read_checked_tables
from ..archive.tables import Tables
from ..archive.usage import Usage, read_usage
from ..archive.verified_days import read_verified_days
from ..core import schemas
from ..core.clock import Clock
from ..core.day_total import DAY_WITHOUT_ROW, UNREADABLE_DAY, DayTotal, make_day_total
from ..core.days import days_from
from ..core.errors import UnreadablePartition
from ..core.s3_prices import estimate_month_usd
from ..core.statuses import DayVerdict
from ..core.worker_threads import worker_threads
from ..steps.reconciliation import read_reconciliation
from .verification import Coverage, measure_coverage

_THREADS = 16


@dataclass(frozen=True)
class ArchiveTotals:
    """The archive in numbers. `days_missing` have no row, from the first partition to the last day that is due.

    A day is owed while upstream may have its recordings, and it is missing, incomplete, waiting or not proved.
    `days_left_before_deletion` are those until upstream may delete the oldest owed day; below 1 it may have begun to.
    Both are None where nothing is owed, the second one also where upstream deletes nothing.
    """

    first_day: date | None  # of those that the archive has
    days_complete: int
    days_waiting: int
    days_incomplete: int
    days_missing: int
    days_owed: int
    oldest_owed_day: date | None
    days_left_before_deletion: int | None
    calls: int
    utterances: int
    recordings_expected: int
    recordings_archived: int
    recordings_pending: int
    recordings_failed: int
    recordings_lost: int
    audio_bytes: int
    audio_seconds: float
    extensions_refused: int  # of days that upstream still has, and not settled by an operator
    extensions_unconfirmed: int
    days_with_open_extensions: tuple[date, ...]
    api_requests_today: int
    api_requests_quota_per_day: int | None
    moved_recordings_today: int
    moved_bytes_today: int
    s3_writes_this_month: int
    s3_reads_this_month: int
    estimated_usd_this_month: float
    coverage: Coverage

    @property
    def audio_gigabytes(self) -> float:
        """The audio's size in GB of 10⁹ bytes."""
        return self.audio_bytes / 1e9

    @property
    def audio_minutes(self) -> float:
        """The audio's length in minutes."""
        return self.audio_seconds / 60


def gather_totals(
    first: date,
    last: date,
    *,
    store: ObjectStore,
    tables: Tables,
    clock: Clock,
    retention_days: int | None,
    requests_per_day: int | None,
    api_requests_today: int | None = None,
) -> ArchiveTotals:
    """Gather the totals: of all days that the archive has, and of those from `first` to `last` that it lacks.

    `requests_per_day` is the plan's quota of API requests. `api_requests_today` replaces the count of the runs that
    have ended, where the caller knows better.
    """
    now = clock.now()
    days = _read_days(store, tables, now.date())
    totals = {day: kept.total for day, kept in days.items() if kept.total != DAY_WITHOUT_ROW}
    verdicts = Counter(total.verdict for total in totals.values())
    missing = [day for day in days_from(first, last) if day not in totals]
    within = set(_within_retention([*totals, *missing], now.date(), retention_days))
    owed = sorted(day for day in within if day not in totals or not totals[day].is_complete)
    usage = read_usage(store, now.date())
    today, month = usage.get(now.date(), Usage()), sum(usage.values(), Usage())
    audio_bytes = sum(total.audio_bytes for total in totals.values())
    with_extensions = {
        day: total
        for day, total in totals.items()
        if day in within and total.extensions_refused + total.extensions_unconfirmed
    }
    return ArchiveTotals(
        first_day=min(totals, default=None),
        days_complete=verdicts[DayVerdict.COMPLETE],
        days_waiting=verdicts[DayVerdict.WAITING],
        days_incomplete=verdicts[DayVerdict.INCOMPLETE],
        days_missing=len(missing),
        days_owed=len(owed),
        oldest_owed_day=owed[0] if owed else None,
        days_left_before_deletion=(
            (owed[0] - now.date()).days + retention_days if owed and retention_days is not None else None
        ),
        calls=_sum(totals.values(), "calls"),
        utterances=_sum(totals.values(), "utterances"),
        recordings_expected=_sum(totals.values(), "recordings_expected"),
        recordings_archived=_sum(totals.values(), "recordings_archived"),
        recordings_pending=_sum(totals.values(), "recordings_pending"),
        recordings_failed=_sum(totals.values(), "recordings_failed"),
        recordings_lost=_sum(totals.values(), "recordings_lost"),
        audio_bytes=audio_bytes,
        audio_seconds=sum(total.audio_seconds for total in totals.values()),
        extensions_refused=_sum(with_extensions.values(), "extensions_refused"),
        extensions_unconfirmed=_sum(with_extensions.values(), "extensions_unconfirmed"),
        days_with_open_extensions=tuple(sorted(with_extensions)),
        api_requests_today=today.api_requests if api_requests_today is None else api_requests_today,
        api_requests_quota_per_day=requests_per_day,
        moved_recordings_today=today.moved_recordings,
        moved_bytes_today=today.moved_bytes,
        s3_writes_this_month=month.s3_writes,
        s3_reads_this_month=month.s3_reads,
        estimated_usd_this_month=estimate_month_usd(audio_bytes, month.s3_writes, month.s3_reads, now),
        coverage=_measure_coverage(days, store, now),
    )


def read_coverage(*, store: ObjectStore, tables: Tables, clock: Clock) -> Coverage:
    """Return how far the verification keeps up, by itself."""
    now = clock.now()
    return _measure_coverage(_read_days(store, tables, now.date()), store, now)


def _measure_coverage(days: Mapping[date, KeptDay], store: ObjectStore, now: datetime) -> Coverage:
    return measure_coverage({day: kept.kept_since for day, kept in days.items()}, read_verified_days(store), now)


def _sum(totals: Iterable[DayTotal], name: str) -> int:
    return sum(getattr(total, name) for total in totals)


def _within_retention(days: Collection[date], today: date, retention_days: int | None) -> Iterable[date]:
    """Return the days of which upstream may still have recordings."""
    if retention_days is None:
        return days
    return (day for day in days if day >= today - timedelta(days=retention_days))


def _read_days(store: ObjectStore, tables: Tables, today: date) -> dict[date, KeptDay]:
    """Return the numbers of every day that has a row. What changed since the last look is read, and kept.

    What is kept of a day whose row is deleted stays as it is: the look at its health names the day.
    """
    row_versions, extension_versions = (
        list_table_versions(store, table.name) for table in (schemas.RECONCILIATION, schemas.RETENTION_EXTENSIONS)
    )
    record_versions = list_records(store)

    def versions_of(day: date) -> tuple[str, str, str]:
        return row_versions[day], extension_versions.get(day, ""), record_versions.get(day, "")

    years = sorted({day.year for day in row_versions})
    with worker_threads(_THREADS, "totals") as pool:
        kept_years = dict(zip(years, pool.map(lambda year: read_kept_days(store, year), years), strict=True))
        kept = {day: value for days in kept_years.values() for day, value in days.items()}
        changed = [
            day
            for day in row_versions
            if day not in kept or kept[day].lacks_check or kept[day].versions != versions_of(day)
        ]
        read = dict(zip(changed, pool.map(lambda day: _read_day(store, tables, day), changed), strict=True))
        days = dict[date, KeptDay]()
        for day in row_versions:
            found = read.get(day) or kept[day]
            row_version, extensions_version, record_version = versions_of(day)
            before = kept.get(day)
            days[day] = replace(
                found,
                row_version=row_version,
                extensions_version=extensions_version,
                record_version=record_version,
                kept_since=before.kept_since if before is not None else today,
                # What was damaged since is still compared with what it was when it was checked.
                check=found.check or (before.check if before is not None else None),
            )
        known = kept | days
        by_year = {year: {day: value for day, value in known.items() if day.year == year} for year in years}
        list(
            pool.map(
                lambda year: write_kept_days(store, year, by_year[year]),
                [year for year in years if by_year[year] != kept_years[year]],
            )
        )
    return days


def _read_day(store: ObjectStore, tables: Tables, day: date) -> KeptDay:
    """Read the numbers of a day, and what was compared. The versions are the caller's to add."""
    unknown = KeptDay(UNREADABLE_DAY, "", "", day, "", None)
    try:
        row = read_reconciliation(tables, day)
    except UnreadablePartition:
        return replace(unknown, unread=schemas.RECONCILIATION.name)
    try:
        extensions = tables.rows(schemas.RETENTION_EXTENSIONS, day, ("status", "settled_at"))
    except UnreadablePartition:
        return replace(unknown, unread=schemas.RETENTION_EXTENSIONS.name)
    if row is None:
        return replace(unknown, total=DAY_WITHOUT_ROW)
    total = make_day_total(row, extensions)
    compared = read_checked_tables(store, day)
    if compared is None:
        return replace(unknown, total=total, unread=RECORD)
    check = KeptCheck(row["checked_at"], row["listed_total"], replace(compared, counted=None))
    return replace(unknown, total=total, check=check)
