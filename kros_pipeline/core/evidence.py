"""What was found of one day: the facts on which the verdict is decided."""

from collections import Counter
from dataclasses import dataclass, field

from .listing import Listing


@dataclass
class Evidence:
    """The facts of one day. Lists hold call ids, or object keys where the name says objects.

    `recordings` and `transcripts` count the rows of each status. `listing` is None where the day was never listed.
    """

    listing: Listing | None
    calls: int
    recordings: Counter[str]
    transcripts: Counter[str]
    calls_without_recording_row: list[str] = field(default_factory=list)
    calls_without_transcript_row: list[str] = field(default_factory=list)
    unsafe: dict[str, list[str]] = field(default_factory=dict)  # by status: lost, failed, refused
    listed_before_late_data: bool = False  # the list was read before the grace days ended, and they are over now
    acknowledged: list[str] = field(default_factory=list)  # unsafe too, but an operator knows of them
    objects_missing: list[str] = field(default_factory=list)
    objects_of_other_size: list[str] = field(default_factory=list)
    objects_unknown: list[str] = field(default_factory=list)
    erased: int = 0  # calls of the day that were erased on request
    objects_of_erased_calls: list[str] = field(default_factory=list)
    unheld: list[str] = field(default_factory=list)  # sentences: why flagged recordings are not under legal hold
    transcript_chars: int = 0
    utterance_chars: int = 0
    transcripts_with_text: int = 0
    calls_with_utterances: int = 0
