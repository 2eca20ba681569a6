"""`calls`: every completed call of a day, and whether the list was proved."""

import hashlib
import logging
from collections.abc import Iterator
from datetime import date

import pyarrow as pa

from ..archive.identity import ArchiveIdentity
from ..archive.listings import save_listing
from ..archive.object_store import CREATE, ObjectStore
from ..archive.parquet import Partition, Row, batches_of
from ..archive.tables import Tables
from ..archive.tombstones import Tombstones
from ..core import schemas
from ..core.calls import Call, merge_calls
from ..core.clock import Clock
from ..core.days import LISTED_BEYOND, end_of, start_of
from ..core.errors import ApiError, ObjectExists, TooManyRequests
from ..core.listing import Listing
from ..core.object_keys import unparsed_key
from ..source.call_source import CallSource, UnparsedRow, Window
from ..source.time_format import format_time
from .list_reader import ListReader
from .report import Report

_MAX_PREFETCHED_PAGES = 12  # 200 requests a second, the fastest plan's rate, at 60 ms an answer


def list_calls(
    day: date,
    *,
    source: CallSource,
    store: ObjectStore,
    tables: Tables,
    tombstones: Tombstones,
    identity: ArchiveIdentity,
    clock: Clock,
    download_workers: int,
    log: logging.Logger,
) -> tuple[Report, Listing]:
    """List a day's calls, add them to the table `calls`, and record whether the list was proved.

    The archive is claimed for the account after the first page, once the source has accepted the key. Raises
    `ApiError` only where nothing could be listed; a later error is in the report, and what came before it is saved.
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
        reader.read(Window(start_of(day), end_of(day) + LISTED_BEYOND))
    except ApiError as error:
        if not reader.calls and not reader.unparsed:
            raise
        report.error = error
        reader.problems.append(f"The list was not read to its end: {error}.")
    listing = Listing(
        proved=not reader.problems,
        listed_total=len(reader.calls),
        out_of_requests=isinstance(report.error, TooManyRequests),
        windows=[(format_time(window.start), format_time(window.end)) for window in reader.windows],
        problems=reader.problems,
        oddities=sorted(reader.oddities),
        unparsed=[row.problem for row in reader.unparsed.values()],
        listed_at=clock.now().isoformat(timespec="seconds"),
    )
    for row in reader.unparsed.values():
        report.add_problem(row.call_id or "(no id)", row.problem)
        _keep_unparsed(day, row, store, tombstones)
    report.written = tables.commit(schemas.CALLS, day, lambda present: _add_calls(present, reader.calls))
    save_listing(store, day, listing)
    report.counts = {
        "calls": report.written.rows,
        "listed": len(reader.calls),
        "unparsed": len(reader.unparsed),
        "pages": reader.pages,
    }
    return report, listing


def _add_calls(present: Partition | None, found: dict[str, Call]) -> Iterator[pa.RecordBatch]:
    """Merge what was listed into the partition: rows are added and updated, never removed."""
    calls: dict[str, Call] = {row["call_id"]: Call(**row) for row in present.rows()} if present else {}
    for call_id, call in found.items():
        known = calls.get(call_id)
        calls[call_id] = merge_calls(known, call) if known else call
    return batches_of(schemas.CALLS, (_to_row(calls[call_id]) for call_id in sorted(calls)))


def _to_row(call: Call) -> Row:
    return {name: getattr(call, name) for name in schemas.CALLS.column_names}


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
