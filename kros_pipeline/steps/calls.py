"""`calls`: every completed call of a day, and whether the list was proved."""

import hashlib
import logging
from collections.abc import Mapping
from datetime import date

from ..archive.audit_log import AuditEvent, AuditLog
from ..archive.identity import ArchiveIdentity
from ..archive.listings import update_listing
from ..archive.object_store import CREATE, ObjectStore
from ..archive.tables import Tables
from ..archive.tombstones import Tombstones
from ..core import schemas
from ..core.calls import Call
from ..core.clock import Clock
from ..core.errors import ApiError, ObjectExists, TooManyRequests
from ..core.home_days import HomeDays, find_home_days
from ..core.id_digests import digest_id, pack_digests, unpack_digests
from ..core.listing import Listing
from ..core.object_keys import unparsed_key
from ..source.call_source import CallSource, UnparsedRow
from ..source.time_format import format_time
from .account_check import check_known_ids
from .list_reader import ListReader
from .other_days import ArchivedIds, add_calls, may_be_added_to, save_to_other_days
from .report import Report

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
    audit: AuditLog,
    clock: Clock,
    download_workers: int,
    log: logging.Logger,
) -> tuple[Report, Listing]:
    """List a day's calls, add them to the table `calls`, and record whether the list was proved.

    A call that another day archived first stays there. Calls of other days that the list shows are added to those days,
    from `first_day` on, the archive's first partition; each of them is owed then.

    The archive is claimed for the account after the first page, once the source has accepted the key. Raises
    `WrongArchive` where the list shows another account's calls, and `ApiError` only where nothing could be listed; a
    later error is in the report, and what came before it is saved.
    """
    report = Report()
    reader = ListReader(
        source,
        day,
        prefetch_pages=min(_MAX_PREFETCHED_PAGES, download_workers),
        on_first_page=identity.claim,
        log=log,
    )
    try:
        reader.read()
    except ApiError as error:
        if not reader.pages:
            raise
        report.error = error
        reader.is_moving = False
        reader.problems.append(f"The list was not read to its end: {error}.")
    archived = ArchivedIds(day, tables)
    check_known_ids(day, archived(day), [call_id for call_id in reader.rows.calls if not tombstones.is_erased(call_id)])
    for row in reader.rows.unparsed.values():
        report.add_problem(row.call_id or "(no id)", row.problem)
        _keep_unparsed(day, row, store, tombstones)
    homes = find_home_days(
        day,
        reader.rows.calls,
        _without_erased(reader.rows.others, tombstones),
        archived=archived,
        may_be_added=lambda other: may_be_added_to(other, archived, first_day=first_day, clock=clock),
    )
    _remove(day, homes, tables, audit)
    added_to_others = save_to_other_days(day, homes, archived.unreadable, tables=tables, clock=clock)
    with tables.transaction(schemas.CALLS, day) as table:
        report.written = table.commit(lambda present: add_calls(present, homes.kept))
        present_ids = {row["call_id"] for row in table.rows(("call_id",))}
    oddities = [*reader.rows.oddities(), *(f"{why}." for _, why in sorted(archived.unreadable.items()))]

    def make_listing(last: Listing | None) -> Listing:
        return _make_listing(reader, report, homes, present_ids, last, oddities, clock)

    listing = update_listing(store, day, make_listing)
    report.counts = {
        "calls": report.written.rows,
        "listed": len(homes.kept),
        "unparsed": len(reader.rows.unparsed),
        "added_to_other_days": added_to_others,
        "kept_by_other_days": sum(map(len, homes.updated.values())),
        "removed": len(homes.removed),
        "pages": reader.pages,
    }
    return report, listing


def _make_listing(
    reader: ListReader,
    report: Report,
    homes: HomeDays,
    present_ids: set[str],
    last: Listing | None,
    oddities: list[str],
    clock: Clock,
) -> Listing:
    rows = reader.rows
    known = unpack_digests(last.call_digests) if last is not None and last.call_digests else set()
    gone = (homes.kept.keys() - present_ids) | homes.removed.keys()  # erased, or kept by an earlier day
    digests = (known - set(map(digest_id, gone))) | set(map(digest_id, present_ids))
    return Listing(
        proved=not reader.problems,
        listed_total=len(homes.kept),
        out_of_requests=isinstance(report.error, TooManyRequests),
        is_moving=reader.is_moving,
        windows=[(format_time(window.start), format_time(window.end)) for window in reader.windows],
        problems=reader.problems,
        oddities=oddities,
        unparsed=[row.problem for row in rows.unparsed.values()],
        listed_at=clock.now().isoformat(timespec="seconds"),
        call_digests=pack_digests(digests),
    )


def _without_erased(others: Mapping[date, Mapping[str, Call]], tombstones: Tombstones) -> dict[date, dict[str, Call]]:
    return {
        other: {call_id: call for call_id, call in calls.items() if not tombstones.is_erased(call_id)}
        for other, calls in others.items()
    }


def _remove(day: date, homes: HomeDays, tables: Tables, audit: AuditLog) -> None:
    """Mark the rows that an earlier day keeps, with an audit line each: the only removal besides erasure."""
    for call_id, home in sorted(homes.removed.items()):
        audit.record(AuditEvent.MOVED, call_id, kept_by=home.isoformat())
    audit.write()
    for call_id, home in homes.removed.items():
        tables.moved.add(day, call_id, home)


def _keep_unparsed(day: date, row: UnparsedRow, store: ObjectStore, tombstones: Tombstones) -> None:
    """Keep a row that could not be parsed below `state/unparsed/`, unless it was erased."""
    if row.call_id is not None and tombstones.is_erased(row.call_id):
        return
    body = row.raw_json.encode()
    digest = hashlib.sha256(body).hexdigest()
    key = unparsed_key(day, digest)
    if tombstones.is_row_erased(key):
        return
    try:
        store.put(key, body, sha256=digest, mode=CREATE, content_type="application/json")
    except ObjectExists:
        return  # an earlier run kept the same row
