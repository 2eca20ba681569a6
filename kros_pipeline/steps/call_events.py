"""`call_events`: what happened in each call, asked for once a call, where KROS_CALL_EVENTS is on.

The table weighs nothing in the day's verdict, and has requests of its own: a run asks for at most a tenth of what the
plan allows a day, after recordings and transcripts. What is left is asked for by the day's next run.
"""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import date, datetime
from itertools import islice

import pyarrow as pa

from ..archive.parquet import Partition, Row, batches_of
from ..archive.tables import Tables, WriteResult
from ..core import schemas
from ..core.clock import Clock
from ..core.days import grace_ends_at
from ..core.sorted_lookup import group_by_call, outer_join
from ..core.worker_threads import worker_threads
from ..source.call_source import CallEvent, CallSource
from .answer_file import Answered, AnswerFile, ask_all, ask_once
from .circuit_breaker import CircuitBreaker
from .pending_file import PendingFile
from .report import Report

_SHARE_OF_DAY = 0.1


def fetch_call_events(
    day: date,
    *,
    source: CallSource,
    tables: Tables,
    clock: Clock,
    lookback_days: int,
    requests_per_day: int | None,
    download_workers: int,
    log: logging.Logger,
) -> Report:
    """Write the events of every call of the day that was not asked for yet.

    A call is asked for once. One of which upstream had no events is asked for once more after the grace days. A call
    that the table `calls` has lost keeps its rows. `report.counts["left"]` counts the calls that are still to be asked
    for. Answers are saved in checkpoints. Raises `MissingTable` where the day has no table `calls`, and `LocalFault`
    where no temporary file can take the answers.
    """
    report = Report()
    grace_end = grace_ends_at(day, lookback_days)
    budget = None if requests_per_day is None else int(requests_per_day * _SHARE_OF_DAY)
    fetcher = _Fetcher(day, source, clock, report, grace_end, budget)

    with (
        tables.required(schemas.CALLS, day) as calls,
        tables.transaction(schemas.CALL_EVENTS, day) as table,
        AnswerFile[list[Row]]() as answers,
        PendingFile[Row]() as to_ask,
    ):

        def build(present: Partition | None) -> Iterator[pa.RecordBatch]:
            return batches_of(schemas.CALL_EVENTS, fetcher.rows(calls, present, answers))

        def save() -> None:
            results.append(table.commit(build))
            answers.clear()

        results: list[WriteResult] = []
        fetcher.choose(calls, table.present, to_ask)
        with worker_threads(download_workers, "call-events", clock) as pool:
            ask_all(to_ask, fetcher.ask, answers, save, pool=pool, breaker=fetcher.breaker)
        save()
    report.written = replace(results[-1], changed=any(result.changed for result in results))
    report.counts = {"asked": answers.total, "without_events": fetcher.empty_count, "left": fetcher.left_count}
    report.error = fetcher.breaker.error
    if fetcher.left_count:
        log.info("%s: the events of %d calls are left for the next run", day, fetcher.left_count)
    return report


class _Fetcher:
    """Asks for the events of calls, and makes the rows of the table."""

    def __init__(
        self,
        day: date,
        source: CallSource,
        clock: Clock,
        report: Report,
        grace_end: datetime,
        budget: int | None,
    ):
        self._day, self._source, self._clock, self._report = day, source, clock, report
        self._grace_end, self._budget = grace_end, budget
        self.breaker = CircuitBreaker()
        self.empty_count = self.left_count = 0

    def choose(self, calls: Partition, present: Partition | None, to_ask: PendingFile[Row]) -> None:
        """Add the calls to `to_ask` that upstream is asked about, as many as the run may."""
        wanted = (call for call, kept in self._join(calls, present) if call is not None and self._is_to_ask(kept))
        for call in islice(wanted, self._budget):
            to_ask.add(call["call_id"], call)

    def rows(self, calls: Partition, present: Partition | None, answers: AnswerFile[list[Row]]) -> Iterator[Row]:
        """Yield the rows of the day, sorted by call and event, with the answers that are not saved yet."""
        self.empty_count = self.left_count = 0
        for call, kept in self._join(calls, present):
            answered = answers.get((call or kept or {})["call_id"])
            events = answered.answer if answered is not None else kept["rows"] if kept is not None else []
            self.left_count += not events
            self.empty_count += bool(events) and events[0]["event"] is None
            yield from events

    def _join(self, calls: Partition, present: Partition | None) -> Iterator[tuple[Row | None, Row | None]]:
        known = group_by_call(present.rows() if present is not None else ())
        return outer_join(calls.rows(("call_id",)), known)

    def _is_to_ask(self, kept: Row | None) -> bool:
        if kept is None:
            return True
        [first, *_] = kept["rows"]
        return first["event"] is None and first["asked_at"] < self._grace_end <= self._clock.now()

    def ask(self, call: Row) -> Answered[list[Row]] | None:
        """Return the rows of a call; None where there was no answer."""
        nothing: list[CallEvent] = []
        answered = ask_once(call, self._fetch, nothing, breaker=self.breaker, report=self._report)
        if answered is None:
            return None
        return Answered(call, list(self._make_rows(call["call_id"], answered.answer)))

    def _fetch(self, call_id: str) -> list[CallEvent]:
        return list(self._source.events(call_id))

    def _make_rows(self, call_id: str, events: Iterable[CallEvent]) -> Iterator[Row]:
        """Yield a row for each event; one without `event` where there is none: so the call counts as asked for."""
        asked_at = self._clock.now()
        for index, event in enumerate([*events] or [CallEvent(None, None, None, None)]):
            yield {
                "call_id": call_id,
                "call_date": self._day,
                "event_index": index,
                "event": event.name,
                "occurred_at": event.occurred_at,
                "hangup_cause": event.hangup_cause,
                "extra": event.extra,
                "asked_at": asked_at,
            }
