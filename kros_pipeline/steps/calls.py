"""`calls`: every completed call of a day, and whether the list was proved."""

import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date

from ..archive.audit_log import AuditEvent, AuditLog
from ..archive.identity import ArchiveIdentity
from ..archive.listings import read_usable_listing, update_listing
from ..archive.object_store import ObjectStore
from ..archive.parquet import Partition
from ..archive.tables import Tables
from ..archive.tombstones import Tombstones
from ..archive.unparsed_rows import UnparsedRows
from ..core import schemas
from ..core.clock import Clock
from ..core.days import days_beside
from ..core.digest_set import DigestSet, digest_all
from ..core.errors import ApiError, UnreadablePartition, WrongArchive
from ..core.listing import Listing
from ..core.statuses import DayVerdict
from ..source.call_source import CallSource
from .account_check import check_known_ids
from .archived_ids import ArchivedIds, digests_of, ids_in, ids_with
from .home_calls import HomeCalls
from .list_reader import DayList, ListReader
from .listed_rows import ListedRows
from .listing_maker import ListingMaker, Reading, read_noted
from .other_days import add_calls, mark, may_be_added_to, save_to_other_days
from .report import Report
from .stopped_numbers import stop_calls
from .unparsed_file import keep_unparsed
from .whole_lists import find_unlisted_days, take_over_listing

_MAX_PREFETCHED_PAGES = 12  # 200 requests a second, the fastest plan's rate, at 60 ms an answer


def list_calls(
    day: date,
    *,
    first_day: date,
    source: CallSource,
    store: ObjectStore,
    tables: Tables,
    tombstones: Tombstones,
    identity: ArchiveIdentity,
    open_audit: Callable[[date], AuditLog],
    clock: Clock,
    lookback_days: int,
    retention_days: int | None,
    download_workers: int,
    log: logging.Logger,
    default_country: str | None = None,
) -> tuple[Report, Listing]:
    """List a day's calls, add them to the table `calls`, and record whether the list was proved.

    A call that another day archived first stays there. Calls of other days that the list shows are added to those days,
    from `first_day` on, the archive's first partition; each of them is owed then. A list that has to be read whole is
    read for all days that are to be listed, and their own runs take it over.

    The archive is claimed for the account after the first page, once the source has accepted the key. Raises
    `WrongArchive` where the list shows another account's calls, `LocalFault` where no file can take the calls of a
    large day, and `ApiError` only where nothing could be listed; a later one is in the report, and what came before it
    is saved.
    """
    taken = take_over_listing(day, store=store, clock=clock, lookback_days=lookback_days)
    if taken is not None:
        return _report_taken_over(day, tables), taken
    noted = {day: read_noted(store, day)}

    def find_other_days() -> list[date]:
        others = find_unlisted_days(
            day,
            first_day,
            store=store,
            clock=clock,
            lookback_days=lookback_days,
            retention_days=retention_days,
        )
        noted.update((other, read_noted(store, other)) for other in others)
        return others

    began_at = clock.now()
    reader = _make_reader(
        day,
        source,
        store,
        identity,
        download_workers,
        log,
        find_other_days=find_other_days,
    )
    with closing(reader):
        error: ApiError | None = None
        try:
            reader.read()
        except ApiError as raised:
            if not reader.proof.pages:
                raise
            error = raised
        reading = Reading(began_at, clock.now(), noted)

        def save(saved_day: date, listed: DayList) -> tuple[Report, Listing]:
            return _save(
                saved_day,
                listed,
                error,
                reading=reading,
                listed_for=day if saved_day != day else None,
                first_day=first_day,
                store=store,
                tables=tables,
                tombstones=tombstones,
                identity=identity,
                open_audit=open_audit,
                clock=clock,
                unparsed_rows=UnparsedRows(store, tombstones, default_country),
                download_workers=download_workers,
            )

        report, listing = save(day, reader.result)
        report.counts["pages"] = reader.proof.pages
        for other, listed in reader.results_of_other_days.items() if error is None else ():
            try:
                save(other, listed)
            except (UnreadablePartition, WrongArchive) as problem:  # the day's own run fails with it
                log.warning("%s: what this run has listed of it was not saved (%s)", other, problem)
    return report, listing


def _save(
    day: date,
    listed: DayList,
    error: ApiError | None,
    *,
    reading: Reading,
    listed_for: date | None,
    first_day: date,
    store: ObjectStore,
    tables: Tables,
    tombstones: Tombstones,
    identity: ArchiveIdentity,
    open_audit: Callable[[date], AuditLog],
    clock: Clock,
    unparsed_rows: UnparsedRows,
    download_workers: int,
) -> tuple[Report, Listing]:
    """Add what was listed of a day to the table `calls`, and save the listing. `error` is what ended the reading."""
    report = Report(error=error)
    rows = listed.rows
    archived = ArchivedIds(day, tables)
    oddities = _check_account(day, rows, archived, identity, tombstones)
    oddities += stop_calls(day, rows, archived, tombstones, open_audit)
    with closing(HomeCalls(day, rows)) as homes:
        homes.find(
            archived,
            tombstones.is_erased,
            lambda other: may_be_added_to(other, archived, first_day=first_day, clock=clock),
        )
        _remove(day, homes, tables, open_audit(day))
        added_to_others = save_to_other_days(day, homes, archived.unreadable, tables=tables, clock=clock)
        oddities += [f"{why}." for _, why in sorted(archived.unreadable.items())]
        with tables.transaction(schemas.CALLS, day) as table:
            report.written = table.commit(lambda present: add_calls(present, homes.calls_of(day)))
            present = digests_of(table.present)
            pending = _find_doubled(day, table.present, present, archived, tables, clock)
            # The table is saved before: a day of such rows takes hours. The listing names them, and may prove the day.
            keep_unparsed(day, rows.unparsed, unparsed_rows, report, download_workers, clock)

            def make_listing(last: Listing | None) -> Listing:
                made = ListingMaker(day, listed, homes, present, lambda: ids_in(table.present), archived, tombstones)
                return made.make(last, error, pending, oddities, reading, listed_for)

            listing = update_listing(store, day, make_listing)
    report.counts = {
        "calls": report.written.rows,
        "listed": len(homes.kept),
        "unparsed": len(rows.unparsed),
        "added_to_other_days": added_to_others,
        "kept_by_other_days": sum(map(len, homes.updated.values())),
        "removed": len(homes.removed),
    }
    return report, listing


def _report_taken_over(day: date, tables: Tables) -> Report:
    """Report a day that another day's run has listed: its table is unchanged."""
    with tables.transaction(schemas.CALLS, day) as table:
        written = table.commit(lambda present: add_calls(present, ()))
    return Report(written=written, counts={"calls": written.rows, "pages": 0})


def _make_reader(
    day: date,
    source: CallSource,
    store: ObjectStore,
    identity: ArchiveIdentity,
    download_workers: int,
    log: logging.Logger,
    find_other_days: Callable[[], list[date]],
) -> ListReader:
    def claim() -> None:
        if reader.rows.are_all_foreign and not identity.check():
            raise WrongArchive(
                f"{day}: each row of the list's first page is another organization's. Nothing was written. "
                "Compare KROSAI_ORGANIZATION_ID with the organization in the KrosAI dashboard."
            )  # otherwise the archive would be claimed for an organization that may not be this account's
        identity.claim()

    beside = [read_usable_listing(store, other) for other in days_beside(day)]
    reader = ListReader(
        source,
        day,
        prefetch_pages=min(_MAX_PREFETCHED_PAGES, download_workers),
        on_first_page=claim,
        log=log,
        find_other_days=find_other_days,
        has_shown_earlier=any(listing is not None and listing.shows_earlier for listing in beside),
        has_shown_later=any(listing is not None and listing.shows_later for listing in beside),
    )
    return reader


def _check_account(
    day: date, rows: ListedRows, archived: ArchivedIds, identity: ArchiveIdentity, tombstones: Tombstones
) -> list[str]:
    """Return a sentence where none of the day's calls is listed any more, and others are.

    Raises `WrongArchive` where the account was not confirmed, either.
    """
    beside = archived.beside()

    def listed_ids() -> Iterator[list[str]]:
        for calls in rows.batches_of(day):
            ids = [call.call_id for call in calls]
            are_beside = beside.has(digest_all(ids)).tolist()
            yield [
                call_id
                for call_id, is_beside in zip(ids, are_beside, strict=True)
                if not is_beside and not tombstones.is_erased(call_id)
            ]

    known = archived(day)
    try:
        check_known_ids(day, known, listed_ids())
    except WrongArchive:
        if not identity.is_confirmed:
            raise
        count = sum(map(len, listed_ids()))
        return [
            f"none of the {len(known)} calls that the archive has of the day is listed any more; {count} others are"
        ]
    return []


def _find_doubled(
    day: date, table: Partition | None, present: DigestSet, archived: ArchivedIds, tables: Tables, clock: Clock
) -> list[str]:
    """Look again at neighbours that another run changed meanwhile: of a call in two days, the later day is owed."""
    pending = []
    for other in days_beside(day):
        archived.forget_changed(other)
        common = archived(other) & present
        if ids_with(common, table).isdisjoint(archived.find(other, common)):
            continue
        sentence = f"{max(day, other)} has calls that {min(day, other)} keeps. Materialize the whole day."
        if other > day:
            mark(other, DayVerdict.WAITING, sentence, tables, clock)
        else:
            pending.append(sentence)
    return pending


def _remove(day: date, homes: HomeCalls, tables: Tables, audit: AuditLog) -> None:
    """Mark the rows that an earlier day keeps, with an audit line each: the only removal besides erasure."""
    for call_id, home in sorted(homes.removed.items()):
        audit.record(AuditEvent.MOVED, call_id, kept_by=home.isoformat())
    audit.write()
    for call_id, home in homes.removed.items():
        tables.moved.add(day, call_id, home)
