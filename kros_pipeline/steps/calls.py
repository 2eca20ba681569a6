"""`calls`: every completed call of a day, and the proof that the list was read whole.

A pass over the list is proved when every page reported the same `total` and exactly that many distinct rows were seen.
Whatever no pass could prove is saved all the same; only the verdict waits for a proof.
"""

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import pyarrow as pa

from ..archive.listings import save_listing
from ..archive.object_store import CREATE
from ..archive.parquet import Partition, batches_of
from ..core import schemas
from ..core.days import LISTED_BEYOND, api_time, end_of, start_of
from ..core.errors import ApiError, ObjectExists, TooManyRequests
from ..core.listing import Listing
from ..core.object_keys import unparsed_key
from ..source.call_parsing import Call, ListedCall, merge_calls
from ..source.krosai import UnparsedRow, Window
from .report import Report
from .run_context import RunContext

_PASSES = 3
_MOST_ROWS_A_WINDOW = 10_000  # deeper offsets are slow, or refused, in many a service
_SHORTEST_WINDOW = timedelta(seconds=2)
_HALVINGS_OF_A_RESTLESS_LIST = 3
_PROGRESS_EVERY_PAGES = 50
_PAGES_AHEAD = 12  # 200 requests a second, the fastest plan with a rate, at 60 ms an answer


@dataclass
class _Pass:
    """What one reading of a window saw."""

    rows: set[str] = field(default_factory=set)
    totals: set[int | None] = field(default_factory=set)
    was_repeated: bool = False  # the last page held nothing new
    is_too_large: bool = False  # and was left after its first page

    @property
    def total(self) -> int | None:
        return max((total for total in self.totals if total is not None), default=None)

    @property
    def is_proved(self) -> bool:
        return self.totals == {len(self.rows)}


class _Enumeration:
    """The reading of one day's list, window by window."""

    def __init__(self, ctx: RunContext, day: date):
        self.ctx, self.day = ctx, day
        self.calls: dict[str, Call] = {}
        self.unparsed: dict[str, UnparsedRow] = {}
        self.windows: list[Window] = []
        self.problems: list[str] = []
        self.oddities: set[str] = set()
        self.pages = 0

    def cover(self, window: Window, depth: int = 0) -> None:
        """Lists a window until a pass is proved, in halves where that helps."""
        reading = self._read(window, most_rows=_MOST_ROWS_A_WINDOW)
        if reading.is_too_large:
            if self._cover_halves(window, reading, depth):
                return
            reading = self._read(window)
        passes = [reading]
        while not passes[-1].is_proved and len(passes) < _PASSES:
            passes.append(self._read(window))
        last = passes[-1]
        if not last.is_proved:
            # Passes that agree on a wrong total would agree again. A list that moves holds still for a shorter
            # window, and a window of one page needs no offset.
            restless = len({frozenset(reading.rows) for reading in passes}) > 1 or len(last.totals) > 1
            if (last.was_repeated or (restless and depth < _HALVINGS_OF_A_RESTLESS_LIST)) and self._cover_halves(
                window, last, depth
            ):
                return
            self._say_unproved(window, passes)
        self.windows.append(window)

    def _cover_halves(self, window: Window, reading: _Pass, depth: int) -> bool:
        """Lists both halves; False, and nothing done, where the filter does not part the window between them."""
        if window.end - window.start < 2 * _SHORTEST_WINDOW or (reading.total or 0) <= 1:
            return False
        middle = (window.start + (window.end - window.start) / 2).replace(microsecond=0)
        # The halves share their border: whether `to_date` is inclusive is not documented.
        halves = [Window(window.start, middle), Window(middle, window.end)]
        totals = [self.ctx.api.list_page(half, 0, 1).total for half in halves]
        told = [total for total in totals if total is not None]
        # Halves share a border, and no more. A filter that reads days only, or nothing, tells most rows of both.
        if len(told) < len(halves) or sum(told) > 1.5 * (reading.total or 0):
            return False
        for half in halves:
            self.cover(half, depth + 1)
        return True

    def _read(self, window: Window, most_rows: int | None = None) -> _Pass:
        """One pass over a window; only its first page, if its total is above `most_rows`."""
        reading = _Pass()
        for page in self.ctx.api.pages(window, ahead=min(_PAGES_AHEAD, self.ctx.settings.download_workers)):
            self.pages += 1
            if self.pages == 1:
                self.ctx.identity.claim()
            reading.totals.add(page.total)
            reading.was_repeated = page.row_count > 0 and page.identities <= reading.rows
            reading.rows |= page.identities
            self._keep(page.calls, page.unparsed, window)
            if most_rows is not None and (page.total or 0) > most_rows:
                reading.is_too_large = True
                break
            if self.pages % _PROGRESS_EVERY_PAGES == 0:
                self.ctx.log.info("%s: %d pages listed, %d calls of the day", self.day, self.pages, len(self.calls))
        return reading

    def _keep(self, calls: list[ListedCall], unparsed: list[UnparsedRow], window: Window) -> None:
        for listed in calls:
            call = listed.call
            if call.status is not None and call.status.casefold() != "completed":
                self.oddities.add("the status filter is ignored upstream: calls that are not completed were left out")
            elif call.call_date == self.day:
                known = self.calls.get(call.call_id)
                self.calls[call.call_id] = merge_calls(known, call) if known else call
                self.unparsed.pop(call.call_id, None)
            elif not window.start - timedelta(days=2) < call.created_at < window.end + timedelta(days=2):
                self.oddities.add("the date filter is ignored upstream: calls of other days were listed and left out")
        for row in unparsed:
            is_ours = row.created_at is None or row.created_at.date() == self.day
            if is_ours and row.call_id not in self.calls:
                self.unparsed[row.call_id or row.raw_json] = row

    def _say_unproved(self, window: Window, passes: list[_Pass]) -> None:
        last, seen = passes[-1], len(passes[-1].rows)
        totals = sorted({total for reading in passes for total in reading.totals if total is not None})
        where = f"{api_time(window.start)} to {api_time(window.end)}"
        if not totals:
            what = f"the list gave no total; {seen} rows came"
        elif last.was_repeated and seen < totals[-1]:
            what = f"a page repeated an earlier one, as if the offset were ignored; {seen} of {totals[-1]} rows came"
        elif len(totals) == 1:
            what = f"`total` says {totals[0]}, and {len(passes)} passes saw {seen} distinct rows"
        else:
            what = f"`total` changed between {totals[0]} and {totals[-1]} while {len(passes)} passes were read"
        self.problems.append(f"The list is not proved ({where}): {what}.")


def list_calls(ctx: RunContext, day: date) -> tuple[Report, Listing]:
    """Lists a day, adds what it finds to the table `calls`, and writes down whether the list was proved.

    Raises `ApiError` only where nothing at all could be listed; an error in the middle is in the report.
    """
    report = Report()
    reading = _Enumeration(ctx, day)
    try:
        reading.cover(Window(start_of(day), end_of(day) + LISTED_BEYOND))
    except ApiError as error:
        if not reading.calls and not reading.unparsed:
            raise
        report.stop(error)
        reading.problems.append(f"The list was not read to its end: {error}.")
    listing = Listing(
        proved=not reading.problems,
        listed_total=len(reading.calls),
        out_of_requests=isinstance(report.error, TooManyRequests),
        windows=[(api_time(window.start), api_time(window.end)) for window in reading.windows],
        problems=reading.problems,
        oddities=sorted(reading.oddities),
        unparsed=[row.problem for row in reading.unparsed.values()],
        listed_at=ctx.now().isoformat(timespec="seconds"),
    )
    for identity, row in reading.unparsed.items():
        report.problem(row.call_id or "(no id)", row.problem)
        _keep_unparsed(ctx, day, identity, row)
    report.written = ctx.tables.commit(schemas.CALLS, day, lambda present: _union(present, reading.calls))
    save_listing(ctx.store, day, listing)
    report.counts = {
        "calls": report.written.rows,
        "listed": len(reading.calls),
        "unparsed": len(reading.unparsed),
        "pages": reading.pages,
    }
    return report, listing


def _union(present: Partition | None, found: dict[str, Call]) -> Iterator[pa.RecordBatch]:
    calls: dict[str, Call] = {row["call_id"]: Call(**row) for row in present.rows()} if present else {}
    for call_id, call in found.items():
        known = calls.get(call_id)
        calls[call_id] = merge_calls(known, call) if known else call
    return batches_of(schemas.CALLS, (_as_row(calls[call_id]) for call_id in sorted(calls)))


def _as_row(call: Call) -> dict[str, Any]:
    return {name: getattr(call, name) for name in schemas.CALLS.column_names}


def _keep_unparsed(ctx: RunContext, day: date, identity: str, row: UnparsedRow) -> None:
    if row.call_id is not None and ctx.tombstones.is_erased(day, row.call_id):
        return
    body = row.raw_json.encode()
    digest = hashlib.sha256(body).hexdigest()
    key = unparsed_key(day, digest)
    if ctx.tombstones.is_row_erased(key):
        return
    with suppress(ObjectExists):  # the same row was kept before
        ctx.store.put(key, body, sha256=digest, mode=CREATE, content_type="application/json")
