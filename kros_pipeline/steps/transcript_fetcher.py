"""Decides which text of a call is kept, and which calls upstream is asked about."""

from collections.abc import Callable, Iterator
from datetime import date, datetime
from itertools import starmap
from typing import TypeAlias

import pyarrow as pa

from ..archive.parquet import Partition, Row, batches_of, merged_batches
from ..core import schemas
from ..core.clock import Clock
from ..core.digest_set import DigestSet
from ..core.errors import UnaddressableCall
from ..core.list_answers import ListAnswers
from ..core.sorted_lookup import outer_join
from ..core.speaker_roles import SpeakerRoles
from ..core.statuses import TextSource, TranscriptStatus
from ..core.transcript_changes import LACKS_WORDS, NOT_UNDERSTOOD, recount_words
from ..core.transcript_cuts import TextLengths, find_cut_lengths, lacks_words
from ..core.transcripts import count_speech_words, is_whole
from ..core.two_answers import are_two, is_after_call
from ..source.call_source import CallSource, TranscriptAnswer
from .answer_file import Answered, AnswerFile, ask_once
from .circuit_breaker import CircuitBreaker
from .kept_texts import KeptTexts
from .pending_file import PendingFile
from .report import Report

_CALL_COLUMNS = ("call_id", "listed_transcript", "created_at", "completed_at", "listed_at")
_NOT_FACTS = ("fetched_at", "asked_at")  # columns that say when, and nothing of the text

_Answer: TypeAlias = Answered[TranscriptAnswer | None]


class TranscriptFetcher:
    """Decides, call by call, which text is kept, and makes the rows of the table."""

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
        self._unaddressable: set[str] = set()
        self._saved = DigestSet()  # the calls whose answers a checkpoint has saved

    @property
    def replaced_count(self) -> int:
        """How many calls' kept texts were replaced."""
        return len(self._kept.replaced)

    def choose(self, calls: Partition, present: Partition | None, to_ask: PendingFile[Row]) -> None:
        """Add the calls to `to_ask` that upstream is asked about."""
        self._cut_lengths = find_cut_lengths(
            row["listed_transcript"] for row in calls.rows(("listed_transcript",)) if row["listed_transcript"]
        )
        self._kept.cut_lengths = self._cut_lengths
        for call, known in self._join(calls, present):
            if call is not None and self._is_to_ask(call, known):
                to_ask.add(call["call_id"], call)

    def is_old(self, present: Partition | None) -> bool:
        """Return whether a version wrote the table that counted words in another way."""
        return present is not None and "upstream_word_count" in present.missing_columns

    def recount(self, present: Partition | None) -> Iterator[pa.RecordBatch]:
        """Build the present table with words as they are counted now."""
        return batches_of(schemas.TRANSCRIPTS, self._known_rows(present))

    def add_answers(
        self, present: Partition | None, answers: AnswerFile[TranscriptAnswer | None]
    ) -> Iterator[pa.RecordBatch]:
        """Build the present table with the rows of the answers: what a checkpoint saves."""

        def settle(known: Row | None, answered: _Answer) -> Row:
            return self._settle(answered.call, known, answered)

        self._saved.update(answers)
        return merged_batches(schemas.TRANSCRIPTS, present, answers, settle)

    def settle_all(
        self, calls: Partition, present: Partition | None, answers: AnswerFile[TranscriptAnswer | None]
    ) -> Iterator[pa.RecordBatch]:
        """Build the table of the day, with the answers that are not saved yet: both tables are sorted alike.

        The row of a call that the table `calls` has lost stays as it is: its text may exist nowhere else.
        """

        def settle(call: Row | None, known: Row | None) -> Row:
            if call is None or (known is not None and call["call_id"] in self._saved):
                return known or {}
            return self._settle(call, known, answers.get(call["call_id"]))

        return batches_of(schemas.TRANSCRIPTS, starmap(settle, self._join(calls, present)))

    def _join(self, calls: Partition, present: Partition | None) -> Iterator[tuple[Row | None, Row | None]]:
        return outer_join(calls.rows(_CALL_COLUMNS), self._known_rows(present))

    def _known_rows(self, present: Partition | None) -> Iterator[Row]:
        rows = present.rows() if present is not None else iter(())
        return (recount_words(row, self._roles) for row in rows) if self.is_old(present) else rows

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

    def _settle(self, call: Row, known: Row | None, answered: _Answer | None) -> Row:
        """Return the row of a call; `answered` is None where upstream was not asked, or did not answer."""
        row = self._decide(call, known, answered)
        if answered is not None and row["status"] == TranscriptStatus.KEPT:
            row = row | {"asked_at": self._clock.now()}
        if known is None or any(known[name] != row[name] for name in row if name not in _NOT_FACTS):
            return row
        if known["status"] == TranscriptStatus.KEPT:
            return known | {"asked_at": row["asked_at"]}
        # `fetched_at` says when the row last changed: for a pending one, when upstream first answered.
        return known if is_after_call(known["fetched_at"], *_times_of(call)) else row

    def _decide(self, call: Row, known: Row | None, answered: _Answer | None) -> Row:
        listed = call["listed_transcript"]
        was_answered = answered is not None
        answer = answered.answer if answered is not None else None
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

    def ask(self, call: Row) -> _Answer | None:
        """Return upstream's answer, with None where it has no transcript; None where there was no answer.

        Without an answer the text stays `pending`, whatever the list shows.
        """
        return ask_once(call, self._fetch, None, breaker=self.breaker, report=self._report)

    def _fetch(self, call_id: str) -> TranscriptAnswer | None:
        try:
            return self._source.transcript(call_id)
        except UnaddressableCall:
            self._unaddressable.add(call_id)
            raise

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
            "asked_at": None,
            "upstream_word_count": upstream_count,
        }


def _times_of(call: Row) -> tuple[datetime, datetime | None]:
    return call["created_at"], call["completed_at"]
