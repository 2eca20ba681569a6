"""What was found of one day: the facts on which the verdict is decided."""

import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from .audio import CONTRADICTED, FORMAT_CHANGED, SAME_BYTES
from .two_answers import second_is_due

if TYPE_CHECKING:  # it brings numpy, and Dagster's processes load this module to describe checks
    from .listing import Listing

_NUMBERS = re.compile(r"\d[\d,.]*")


@dataclass
class Evidence:
    """The facts of one day. Lists hold call ids, or object keys where the name says objects.

    `recordings` and `transcripts` count the rows of each status. `listing` is None where the day was never listed, or
    where the listing cannot be read. Tables that cannot be read are in `unreadable`, and compared with nothing.
    """

    listing: "Listing | None"
    calls: int = 0
    recordings: Counter[str] = field(default_factory=Counter)
    transcripts: Counter[str] = field(default_factory=Counter)
    pending_by_error: int = 0  # recordings and transcripts that a run could not try or ask for
    answered_once: Counter[str] = field(default_factory=Counter)  # by table: pending rows that need a second answer
    second_answers_due_at: datetime | None = None  # when the last of them is due
    utterances: int = 0
    unreadable_listing: str = ""  # a sentence
    unreadable: list[str] = field(default_factory=list)  # sentences: which table cannot be read
    table_versions: dict[str, str] = field(default_factory=dict)  # of the tables that were compared, by name
    missing_tables: list[str] = field(default_factory=list)  # names
    lost_calls: int | None = None  # listed calls without a row; None where the listing does not name its calls
    witnessed_calls: int = 0  # that a webhook delivery named, and that no table has
    calls_without_recording_row: list[str] = field(default_factory=list)
    calls_without_transcript_row: list[str] = field(default_factory=list)
    recordings_without_call: list[str] = field(default_factory=list)
    transcripts_without_call: list[str] = field(default_factory=list)
    blocked_by: str = ""  # what kept a step from its work, and only a person can change
    unsafe: dict[str, list[str]] = field(default_factory=dict)  # by status: lost, failed, refused
    unsafe_kinds: dict[str, Counter[str]] = field(default_factory=dict)  # of their reasons, by status
    open_extensions: dict[str, Counter[str]] = field(default_factory=dict)  # by status: refused, unconfirmed; by kind
    flags: int = 0  # rows of the table flagged_calls
    counter_differences: list[str] = field(default_factory=list)  # sentences; they never move the verdict
    grace_ends_at: datetime | None = None
    grace_is_over: bool = True  # late calls, recordings and transcripts are waited for no longer
    listed_before_late_data: bool = False  # the list was read before the grace days ended, and they are over now
    asked_too_late: list[str] = field(default_factory=list)  # first after retention, and upstream had no recording
    acknowledged: list[str] = field(default_factory=list)  # unsafe too, but an operator knows of them
    objects: int = 0
    object_bytes: int = 0
    audio_seconds: float = 0.0  # of the archived recordings
    with_defects: list[str] = field(default_factory=list)  # archived, and something about the bytes is odd
    kinds_of_defects: Counter[str] = field(default_factory=Counter)  # phrases without their numbers
    in_other_format: dict[str, list[str]] = field(default_factory=dict)  # archived, by format
    with_same_bytes: list[str] = field(default_factory=list)  # archived, and equal to another call's
    contradicted: list[str] = field(default_factory=list)  # the same, where upstream declares other audio
    quarantined: list[str] = field(default_factory=list)  # not archived, and a body of theirs is kept
    objects_missing: list[str] = field(default_factory=list)
    objects_of_other_size: list[str] = field(default_factory=list)
    objects_unknown: list[str] = field(default_factory=list)
    erased: int = 0  # calls of the day that were erased on request
    objects_of_erased_calls: list[str] = field(default_factory=list)
    unheld: list[str] = field(default_factory=list)  # sentences: why flagged recordings are not under legal hold
    texts_without_turns: list[str] = field(default_factory=list)
    texts_unlike_their_turns: list[str] = field(default_factory=list)
    turns_without_text: list[str] = field(default_factory=list)
    unread_answers: list[str] = field(default_factory=list)  # calls whose transcript came in a form that is not known
    doubtful_texts: Counter[str] = field(default_factory=Counter)  # kept texts by what is doubtful about them
    unknown_labels: Counter[str] = field(default_factory=Counter)  # turns by a label that names neither role

    def add_defects(self, call_id: str, text: str) -> None:
        """Sort an archived recording by what its column `defects` names."""
        of_bytes = False
        for phrase in text.split("; "):
            if phrase.startswith(f"{FORMAT_CHANGED}: "):
                self.in_other_format.setdefault(phrase.removeprefix(f"{FORMAT_CHANGED}: "), []).append(call_id)
            elif phrase.startswith(CONTRADICTED):
                self.contradicted.append(call_id)
            elif phrase.startswith(SAME_BYTES):
                self.with_same_bytes.append(call_id)
            else:
                self.kinds_of_defects[_NUMBERS.sub("…", phrase)] += 1
                of_bytes = True
        if of_bytes:
            self.with_defects.append(call_id)

    def add_answered_once(self, table: str, first_answer_at: datetime) -> None:
        """Count a pending row of a table whose call upstream has answered once."""
        self.answered_once[table] += 1
        due_at = second_is_due(first_answer_at)
        self.second_answers_due_at = max(self.second_answers_due_at or due_at, due_at)
