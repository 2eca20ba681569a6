"""`transcripts`: the text of each call, as it came; and `utterances`: its turns."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from threading import Event
from typing import Any

import numpy as np
import pyarrow as pa

from ..archive.parquet import Partition, batches_of
from ..core import schemas
from ..core.days import grace_is_over
from ..core.errors import (
    ApiError,
    ApiUnauthorized,
    CallGone,
    CallNotFound,
    RequestRefused,
    TooManyRequests,
    UnexpectedResponse,
)
from ..core.sorted_lookup import SortedLookup
from ..core.transcripts import count_words, is_whole, split_spans
from ..source.krosai import TranscriptAnswer
from .report import Report
from .run_context import RunContext

KEPT, PENDING, NONE = "kept", "pending", "none"
FROM_LIST, FROM_CALL = "list", "call"
_MOST_CONSECUTIVE_FAILURES = 50
_PROGRESS_EVERY_CALLS = 5_000
_OF_A_SPAN = ("speaker", "speaker_label", "text", "char_start", "char_end")

Row = dict[str, Any]


def fetch_transcripts(ctx: RunContext, day: date) -> Report:
    """Writes a row for every call of the day; asks upstream, call by call, only where the list's text will not do.

    Quota or key end the asking early, with the rest `pending` and the error in the report.
    """
    report = Report()
    asker = _Asker(ctx, day, report)

    def build(present: Partition | None) -> Iterator[pa.RecordBatch]:
        return batches_of(schemas.TRANSCRIPTS, asker.rows(present))

    with ctx.tables.transaction(schemas.TRANSCRIPTS, day) as table:
        report.written = table.commit(build)
        statuses = [row["status"] for row in table.rows(("status",))]
    report.counts = {"answered": asker.answered} | {status: statuses.count(status) for status in (KEPT, PENDING, NONE)}
    return report


class _Asker:
    """Decides, call by call, which text is kept. Only one batch's answers are held at a time."""

    def __init__(self, ctx: RunContext, day: date, report: Report):
        self.ctx, self.day, self.report = ctx, day, report
        self._grace_is_over = grace_is_over(day, ctx.now(), ctx.settings.lookback_days)
        self._always = ctx.settings.ask_every_transcript
        self.answered = 0
        self._answers: dict[str, TranscriptAnswer | None] = {}
        self._refused: set[str] = set()
        self._closed = Event()
        self._consecutive_failures = 0  # in a row; threads may miscount it by a few

    def rows(self, present: Partition | None) -> Iterator[Row]:
        """The rows of the day, sorted by `call_id`, a batch of calls at a time: both tables are sorted alike."""
        known_rows = SortedLookup(present.rows() if present else ())
        with (
            self.ctx.tables.opened(schemas.CALLS, self.day) as calls,
            ThreadPoolExecutor(self.ctx.settings.download_workers, thread_name_prefix="transcripts") as pool,
        ):
            done = 0
            for batch in calls.batches(("call_id", "listed_transcript")) if calls else ():
                pairs = [(call, known_rows.of(call["call_id"])) for call in batch.to_pylist()]
                self._answers = {}
                list(pool.map(self._ask, [call["call_id"] for call, known in pairs if self._is_to_ask(call, known)]))
                for call, known in pairs:
                    yield self._settled(call, known)
                done, self.answered = done + len(pairs), self.answered + len(self._answers)
                if self._answers or done % _PROGRESS_EVERY_CALLS == 0:
                    self.ctx.log.info("%s: transcripts of %d calls looked at", self.day, done)

    def _is_to_ask(self, call: Row, known: Row | None) -> bool:
        if known is not None and known["status"] == KEPT:
            return self._always and known["source"] == FROM_LIST and not self._grace_is_over
        if is_whole(call["listed_transcript"]) and not self._always:
            return False
        if known is None or known["source"] != FROM_CALL:
            return True  # never answered yet
        # Asked before, and upstream had none: asked again once after the grace days, or when the list shows a text.
        return self._grace_is_over and (known["status"] == PENDING or bool(call["listed_transcript"]))

    def _settled(self, call: Row, known: Row | None) -> Row:
        """The row of a call, after everything that had to be asked was asked."""
        row = self._decided(call, known)
        if known is not None and all(known[name] == row[name] for name in row if name != "fetched_at"):
            return known  # `fetched_at` says when the row last changed
        return row

    def _decided(self, call: Row, known: Row | None) -> Row:
        listed = call["listed_transcript"]
        was_answered = call["call_id"] in self._answers
        answer = self._answers.get(call["call_id"])
        if answer is not None and answer.text is not None:
            return self._row(call, KEPT, FROM_CALL, answer.text, answer)
        if known is not None and known["status"] == KEPT:
            return known
        if is_whole(listed) and (was_answered or not self._always):
            return self._row(call, KEPT, FROM_LIST, listed)
        if was_answered:
            if not self._grace_is_over:
                return self._row(call, PENDING, FROM_CALL)
            return self._row(call, KEPT, FROM_LIST, listed) if listed else self._row(call, NONE, FROM_CALL)
        if listed and self._grace_is_over and call["call_id"] in self._refused:
            return self._row(call, KEPT, FROM_LIST, listed)  # better than nothing, and nothing better will come
        return known or self._row(call, PENDING, None)

    def _ask(self, call_id: str) -> None:
        """Keeps upstream's answer, None where it has no transcript; keeps nothing where there was no answer."""
        if self._closed.is_set():
            return
        try:
            self._answers[call_id] = self.ctx.api.transcript(call_id)
            self._consecutive_failures = 0
        except (CallNotFound, CallGone):
            self._answers[call_id] = None
        except (TooManyRequests, ApiUnauthorized) as error:
            self._close(error)
        except ApiError as error:
            self.report.problem(call_id, str(error))
            if isinstance(error, (RequestRefused, UnexpectedResponse)):
                self._refused.add(call_id)
            else:
                self._consecutive_failures += 1
                if self._consecutive_failures >= _MOST_CONSECUTIVE_FAILURES:
                    self._close(error)

    def _close(self, error: ApiError) -> None:
        self.report.stop(error)
        self._closed.set()

    def _row(
        self,
        call: Row,
        status: str,
        source: str | None,
        text: str | None = None,
        answer: TranscriptAnswer | None = None,
    ) -> Row:
        words = answer.word_count if answer is not None else None
        if words is None and text is not None:
            words = sum(count_words(span[2]) for span in split_spans(text))
        return {
            "call_id": call["call_id"],
            "call_date": self.day,
            "status": status,
            "source": source,
            "text": text,
            "word_count": words,
            "language": answer.language if answer is not None else None,
            "confidence": answer.confidence if answer is not None else None,
            "fetched_at": self.ctx.now(),
        }


def split_utterances(ctx: RunContext, day: date) -> Report:
    """Writes the turns of every kept transcript of the day. Asks nobody; the same texts give the same bytes."""
    report = Report()
    counts = {"calls": 0}

    def build(_: Partition | None) -> Iterator[pa.RecordBatch]:
        counts["calls"] = 0
        with (
            ctx.tables.opened(schemas.CALLS, day) as calls,
            ctx.tables.opened(schemas.TRANSCRIPTS, day) as transcripts,
        ):
            facts = SortedLookup(calls.rows(("call_id", "created_at", "direction")) if calls else ())
            for batch in transcripts.batches(("call_id", "status", "text", "language")) if transcripts else ():
                turns = _Turns(day)
                kept = (batch.column(name).to_pylist() for name in ("call_id", "status", "text"))
                for place, (call_id, status, text) in enumerate(zip(*kept, strict=True)):
                    call = facts.of(call_id)
                    if status == KEPT and text and call is not None:
                        turns.add(place, text, call)
                counts["calls"] += len(turns.calls)
                yield turns.of(batch)

    report.written = ctx.tables.commit(schemas.UTTERANCES, day, build)
    report.counts = {"utterances": report.written.rows, **counts}
    return report


class _Turns:
    """The turns of a batch of transcripts, as columns; four times as fast as an object and a dict a turn.

    What is a turn's own is gathered in lists; what all turns of a call share is multiplied by Arrow.
    """

    def __init__(self, day: date):
        self._day = day
        self._own: dict[str, list[Any]] = {name: [] for name in (*_OF_A_SPAN, "turn_index", "word_count")}
        self._places: list[int] = []  # in the batch of transcripts
        self._counts: list[int] = []
        self.calls: list[Row] = []

    def add(self, place: int, text: str, call: Row) -> None:
        """The turns of one text, which is not empty."""
        spans = split_spans(text)
        for name, values in zip(_OF_A_SPAN, zip(*spans, strict=True), strict=True):
            self._own[name] += values
        self._own["turn_index"] += range(len(spans))
        self._own["word_count"] += [count_words(span[2]) for span in spans]
        self._places.append(place)
        self._counts.append(len(spans))
        self.calls.append(call)

    def of(self, transcripts: pa.RecordBatch) -> pa.RecordBatch:
        """All of them, in the table's schema."""
        schema = schemas.UTTERANCES.schema
        own = {name: pa.array(values, schema.field(name).type) for name, values in self._own.items()}
        places, numbers = np.repeat(self._places, self._counts), np.repeat(np.arange(len(self.calls)), self._counts)
        kept = {
            name: pa.array([call[name] for call in self.calls], schema.field(name).type).take(pa.array(numbers))
            for name in ("created_at", "direction")
        }
        kept |= {name: transcripts.column(name).take(pa.array(places, pa.int64())) for name in ("call_id", "language")}
        kept["call_date"] = pa.repeat(pa.scalar(self._day, pa.date32()), len(numbers))
        return pa.RecordBatch.from_arrays([(own | kept)[name] for name in schema.names], schema=schema)
