"""Looks after texts that are kept already: asks about doubtful ones, and lets longer ones replace them."""

from collections.abc import Callable
from datetime import datetime

from ..archive.parquet import Row
from ..core.clock import Clock
from ..core.digest_set import DigestSet
from ..core.statuses import TextSource, TranscriptStatus
from ..core.transcript_changes import LACKS_WORDS, OTHER_TEXT, is_longer, is_same_or_less
from ..core.transcript_cuts import TextLengths, is_shortened
from ..source.call_source import TranscriptAnswer

MakeRow = Callable[[Row, TranscriptStatus, TextSource, str, TranscriptAnswer | None], Row]


class KeptTexts:
    """Decides what becomes of a kept text.

    `is_enough` says whether a text of the list is kept without a request, `make_row` makes the row of a kept text, and
    `keep_other_answer` keeps a text that the table does not hold. `cut_lengths` are those of the day's list; `replaced`
    are the calls whose kept text was replaced.
    """

    def __init__(
        self,
        clock: Clock,
        grace_ends_at: datetime,
        is_enough: Callable[[str | None], bool],
        make_row: MakeRow,
        keep_other_answer: Callable[[str, str, str], None],
    ):
        self._clock, self._grace_ends_at = clock, grace_ends_at
        self._is_enough, self._make_row, self._keep_other_answer = is_enough, make_row, keep_other_answer
        self.cut_lengths = TextLengths()
        self.replaced = DigestSet()

    def is_to_ask(self, call: Row, known: Row) -> bool:
        """Return whether upstream is asked about a kept text.

        It is where the text may be cut, or the list shows more or other text than it: once since the list's row
        changed, and once more after the grace days, because a longer text may have come.
        """
        asked_at: datetime | None = known["asked_at"]
        if not self._is_doubtful(call, known):
            return False
        if asked_at is None or asked_at < call["listed_at"]:
            return True
        return asked_at < self._grace_ends_at <= self._clock.now()

    def _is_doubtful(self, call: Row, known: Row) -> bool:
        text, listed = known["text"] or "", call["listed_transcript"]
        if known["source"] == TextSource.LIST and (is_shortened(text) or self.cut_lengths.is_suspicious(text)):
            return True
        if known["reason"] == LACKS_WORDS:
            return True
        return listed is not None and not self._is_enough(listed) and not is_same_or_less(listed, text)

    def decide(self, call: Row, known: Row, answer: TranscriptAnswer | None, *, was_answered: bool) -> Row:
        """Return the row of a kept text, now that the list or upstream's answer may show another one."""
        listed = call["listed_transcript"]
        row = known | {"asked_at": self._clock.now()} if was_answered else known
        if answer is not None and answer.text is not None:
            return self._merge(call, row, answer.text, TextSource.CALL, answer)
        is_kept_already = known["reason"] == OTHER_TEXT and call["listed_at"] <= known["fetched_at"]
        if listed is not None and self._is_enough(listed) and not is_kept_already:
            return self._merge(call, row, listed, TextSource.LIST, None)
        return row

    def _merge(self, call: Row, known: Row, text: str, source: TextSource, answer: TranscriptAnswer | None) -> Row:
        """Return the row with a text that is better than the kept one, and keep any other text beside it.

        Upstream's own answer is better than another text of the list, which is kept beside it then.
        """
        call_id, kept = call["call_id"], known["text"] or ""
        if text == kept or is_longer(text, kept):
            if text == kept and source is TextSource.LIST:
                return known
            if text != kept:
                self.replaced.add(call_id)
            return self._kept_row(call, known, text, source, answer)
        if is_same_or_less(text, kept):
            return known
        if source is TextSource.CALL and known["source"] == TextSource.LIST:
            self._keep_other_answer(call_id, "another text", kept)
            self.replaced.add(call_id)
            return self._kept_row(call, known, text, source, answer) | {"reason": OTHER_TEXT}
        self._keep_other_answer(call_id, "another text", text)
        return known | {"reason": OTHER_TEXT, "fetched_at": self._clock.now()}

    def _kept_row(self, call: Row, known: Row, text: str, source: TextSource, answer: TranscriptAnswer | None) -> Row:
        return self._make_row(call, TranscriptStatus.KEPT, source, text, answer) | {"asked_at": known["asked_at"]}
