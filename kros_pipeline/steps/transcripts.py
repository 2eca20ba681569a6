"""`transcripts`: the text of each call, as it came."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
from functools import partial
from itertools import islice

import pyarrow as pa

from ..archive.listings import read_usable_listing
from ..archive.object_store import ObjectStore
from ..archive.parquet import ROWS_PER_BATCH, Partition, Row, batches_of
from ..archive.tables import Tables
from ..archive.tombstones import Tombstones
from ..core import schemas
from ..core.clock import Clock
from ..core.days import grace_ends_at
from ..core.errors import (
    ApiError,
    ApiUnauthorized,
    CallGone,
    CallNotFound,
    RequestRefused,
    TooManyRequests,
    UnaddressableCall,
    UnexpectedResponse,
)
from ..core.list_answers import ListAnswers
from ..core.sorted_lookup import outer_join
from ..core.speaker_roles import USUAL_ROLES, SpeakerRoles
from ..core.statuses import TextSource, TranscriptStatus
from ..core.transcript_changes import LACKS_WORDS, NOT_UNDERSTOOD, recount_words
from ..core.transcript_cuts import TextLengths, find_cut_lengths, lacks_words
from ..core.transcripts import count_speech_words, is_whole
from ..core.two_answers import are_two, is_after_call, is_last_chance
from ..core.worker_threads import worker_threads
from ..source.call_source import CallSource, TranscriptAnswer
from .circuit_breaker import CircuitBreaker
from .kept_texts import KeptTexts
from .other_answers import keep_other_answer
from .report import Report

_PROGRESS_EVERY_CALLS = 5_000
_CALL_COLUMNS = ("call_id", "listed_transcript", "created_at", "completed_at", "listed_at")
_NOT_FACTS = ("fetched_at", "asked_at")  # columns that say when, and nothing of the text


def fetch_transcripts(
    day: date,
    *,
    source: CallSource,
    store: ObjectStore,
    tables: Tables,
    tombstones: Tombstones,
    clock: Clock,
    lookback_days: int,
    retention_days: int | None,
    ask_every_transcript: bool,
    download_workers: int,
    log: logging.Logger,
    roles: SpeakerRoles = USUAL_ROLES,
) -> Report:
    """Write a row for every call of the day. Upstream is asked, call by call, only where the list's text is not enough.

    That there is no transcript, or none better than the list's, takes two answers: see `core/two_answers.py`. A kept
    text is asked about once more where it may be cut, or where the list shows another one. A longer text that begins
    with the kept one replaces it; any other is kept below `state/transcripts/`, and the row says so.
    Quota or key end the asking early: the rest is `pending`, and the error is in the report. Raises `MissingTable`
    where the day has no table `calls`.
    """
    report = Report()
    fetcher = _Fetcher(
        day,
        source,
        clock,
        report,
        listed=ListAnswers(read_usable_listing(store, day)),
        grace_ends_at=grace_ends_at(day, lookback_days),
        is_last_chance=is_last_chance(day, retention_days, clock.now()),
        ask_every_transcript=ask_every_transcript,
        roles=roles,
        keep_other_answer=partial(keep_other_answer, store, tombstones, day),
    )

    def build(present: Partition | None) -> Iterator[pa.RecordBatch]:
        with (
            tables.required(schemas.CALLS, day) as calls,
            worker_threads(download_workers, "transcripts", clock) as pool,
        ):
            yield from batches_of(schemas.TRANSCRIPTS, fetcher.rows(calls, present, pool, log))

    with tables.transaction(schemas.TRANSCRIPTS, day) as table:
        report.written = table.commit(build)
        statuses = Counter(row["status"] for row in table.rows(("status",)))
    report.counts = {"answered": fetcher.answered_count, "replaced_by_longer": fetcher.replaced_count}
    report.counts |= {str(status): statuses[status] for status in TranscriptStatus}
    report.error = fetcher.breaker.error
    return report


class _Fetcher:
    """Decides, call by call, which text is kept. Only the answers of one batch of calls are held."""

    def __init__(
        self,
        day: date,
        source: CallSource,
        clock: Clock,
        report: Report,
        *,
        listed: ListAnswers,
        grace_ends_at: datetime,
        is_last_chance: bool,
        ask_every_transcript: bool,
        roles: SpeakerRoles,
        keep_other_answer: Callable[[str, str, str], None],
    ):
        self._day, self._source, self._clock, self._report = day, source, clock, report
        self._listed, self._grace_ends_at, self._is_last_chance = listed, grace_ends_at, is_last_chance
        self._grace_is_over, self._asks_always = clock.now() >= grace_ends_at, ask_every_transcript
        self._roles, self._keep_other_answer = roles, keep_other_answer
        self._cut_lengths = TextLengths()
        self._kept = KeptTexts(clock, grace_ends_at, self._is_enough, self._row, keep_other_answer)
        self.breaker = CircuitBreaker()
        self.answered_count = 0
        self._answers: dict[str, TranscriptAnswer | None] = {}
        self._unaddressable: set[str] = set()

    @property
    def replaced_count(self) -> int:
        """How many calls' kept texts were replaced."""
        return len(self._kept.replaced)

    def rows(
        self, calls: Partition, present: Partition | None, pool: ThreadPoolExecutor, log: logging.Logger
    ) -> Iterator[Row]:
        """Yield the rows of the day, sorted by `call_id`, a batch of calls at a time: both tables are sorted alike.

        The row of a call that the table `calls` has lost stays as it is: its text may exist nowhere else.
        """
        self._cut_lengths = find_cut_lengths(
            row["listed_transcript"] for row in calls.rows(("listed_transcript",)) if row["listed_transcript"]
        )
        self._kept.cut_lengths = self._cut_lengths
        known_rows = present.rows() if present else iter(())
        if present is not None and "upstream_word_count" in present.missing_columns:
            known_rows = (recount_words(row, self._roles) for row in known_rows)
        joined = outer_join(calls.rows(_CALL_COLUMNS), known_rows)
        done = 0
        while pairs := list(islice(joined, ROWS_PER_BATCH)):
            self._answers = {}
            list(
                pool.map(self._ask, [call["call_id"] for call, known in pairs if call and self._is_to_ask(call, known)])
            )
            for call, known in pairs:
                if call is not None:
                    yield self._settle(call, known)
                elif known is not None:
                    yield known
            done, self.answered_count = done + len(pairs), self.answered_count + len(self._answers)
            if self._answers or done % _PROGRESS_EVERY_CALLS == 0:
                log.info("%s: %d transcripts checked", self._day, done)

    def _is_to_ask(self, call: Row, known: Row | None) -> bool:
        if known is not None and known["status"] == TranscriptStatus.KEPT:
            if self._asks_always and known["source"] == TextSource.LIST and not self._grace_is_over:
                return True
            return self._kept.is_to_ask(call, known)
        if self._is_enough(call["listed_transcript"]):
            return False
        if known is None or known["source"] != TextSource.CALL:
            return True  # never answered yet
        if not self._grace_is_over:
            return False
        if known["status"] == TranscriptStatus.NONE:
            return bool(call["listed_transcript"])
        is_due = self._is_last_chance or are_two(known["fetched_at"], self._clock.now())
        return is_due and not self._is_settled_by_list(call, known)

    def _is_enough(self, listed: str | None) -> bool:
        """Return whether the list's text is kept without a request."""
        is_sure = listed is not None and not self._cut_lengths.is_suspicious(listed)
        return is_sure and is_whole(listed) and not self._asks_always

    def _settle(self, call: Row, known: Row | None) -> Row:
        """Return the row of a call, after everything that had to be asked was asked."""
        row = self._decide(call, known)
        if known is None or any(known[name] != row[name] for name in row if name not in _NOT_FACTS):
            return row
        if known["status"] == TranscriptStatus.KEPT:
            return known | {"asked_at": row["asked_at"]}
        # `fetched_at` says when the row last changed: for a pending one, when upstream first answered.
        return known if is_after_call(known["fetched_at"], *_times_of(call)) else row

    def _decide(self, call: Row, known: Row | None) -> Row:
        listed = call["listed_transcript"]
        was_answered = call["call_id"] in self._answers
        answer = self._answers.get(call["call_id"])
        if answer is not None and answer.raw_json is not None:
            self._keep_other_answer(call["call_id"], "not understood", answer.raw_json)
        if known is not None and known["status"] == TranscriptStatus.KEPT:
            return self._kept.decide(call, known, answer, was_answered=was_answered)
        if answer is not None and answer.text is not None:
            return self._row(call, TranscriptStatus.KEPT, TextSource.CALL, answer.text, answer)
        if self._is_enough(listed) or (was_answered and is_whole(listed)):
            return self._row(call, TranscriptStatus.KEPT, TextSource.LIST, listed)
        if answer is not None and answer.raw_json is not None:
            return self._row(call, TranscriptStatus.PENDING, None, reason=NOT_UNDERSTOOD)
        if was_answered:
            is_final = self._is_last_chance or self._has_answered_before(call, known)
            if not (self._grace_is_over and is_final):
                return self._row(call, TranscriptStatus.PENDING, TextSource.CALL)
            if listed:
                return self._row(call, TranscriptStatus.KEPT, TextSource.LIST, listed)
            return self._row(call, TranscriptStatus.NONE, TextSource.CALL)
        if known is not None and self._is_settled_by_list(call, known):
            return self._row(call, TranscriptStatus.NONE, TextSource.CALL)
        if listed and self._grace_is_over and call["call_id"] in self._unaddressable:
            row = self._row(call, TranscriptStatus.KEPT, TextSource.LIST, listed)  # nothing better will come
            return row | {"asked_at": self._clock.now()}
        if known is not None and not (listed and known["status"] == TranscriptStatus.NONE):
            return known
        return self._row(call, TranscriptStatus.PENDING, None)  # also where the list shows a text that there was not

    def _has_answered_before(self, call: Row, known: Row | None) -> bool:
        """Return whether an answer of now is the second one, long enough after one that came after the call's end."""
        if known is None or known["source"] != TextSource.CALL:
            return False
        first: datetime = known["fetched_at"]
        return are_two(first, self._clock.now()) and is_after_call(first, *_times_of(call))

    def _is_settled_by_list(self, call: Row, known: Row) -> bool:
        """Return whether the list's row, which shows no text, is the second answer after one to a request.

        Upstream has to be asked once after the grace days: the list may hide a late text.
        """
        if known["status"] != TranscriptStatus.PENDING or known["source"] != TextSource.CALL:
            return False
        first: datetime = known["fetched_at"]
        is_second = not call["listed_transcript"] and are_two(first, self._listed.at(call["call_id"]))
        return is_second and first >= self._grace_ends_at and is_after_call(first, *_times_of(call))

    def _ask(self, call_id: str) -> None:
        """Keep upstream's answer, None where it has no transcript; keep nothing where there was no answer.

        A refusal (403, a redirect) is no answer: the text stays `pending`, whatever the list shows, and is asked for by
        every later run. A gateway's refusal was once taken for upstream's, and the shortened text kept for good.
        """
        if self.breaker.is_open:
            return
        try:
            self._answers[call_id] = self._source.transcript(call_id)
            self.breaker.on_success()
        except (CallNotFound, CallGone):
            self._answers[call_id] = None
        except (TooManyRequests, ApiUnauthorized) as error:
            self.breaker.trip(error)
        except ApiError as error:
            self._report.add_problem(call_id, str(error))
            if isinstance(error, UnaddressableCall):
                self._unaddressable.add(call_id)
            elif not isinstance(error, (RequestRefused, UnexpectedResponse)):
                self.breaker.on_failure(error)

    def _row(
        self,
        call: Row,
        status: TranscriptStatus,
        source: TextSource | None,
        text: str | None = None,
        answer: TranscriptAnswer | None = None,
        *,
        reason: str | None = None,
    ) -> Row:
        upstream_count = answer.word_count if answer is not None else None
        if text is not None and lacks_words(text, upstream_count):
            reason = LACKS_WORDS
        is_answered = call["call_id"] in self._answers
        return {
            "call_id": call["call_id"],
            "call_date": self._day,
            "status": status,
            "source": source,
            "text": text,
            "word_count": count_speech_words(text, self._roles) if text is not None else None,
            "language": answer.language if answer is not None else None,
            "confidence": answer.confidence if answer is not None else None,
            "fetched_at": self._clock.now(),
            "reason": reason,
            "asked_at": self._clock.now() if status == TranscriptStatus.KEPT and is_answered else None,
            "upstream_word_count": upstream_count,
        }


def _times_of(call: Row) -> tuple[datetime, datetime | None]:
    return call["created_at"], call["completed_at"]
