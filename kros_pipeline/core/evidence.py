"""The evidence of a day: what the source said, what the tables say and what the bucket holds."""

from collections import Counter
from dataclasses import dataclass, field

from .listing import Listing


@dataclass
class Evidence:
    """What was found of one day. Lists are of call ids or keys."""

    listing: Listing | None
    calls: int
    recordings: Counter[str]
    transcripts: Counter[str]
    calls_without_recording_row: list[str] = field(default_factory=list)
    calls_without_transcript_row: list[str] = field(default_factory=list)
    unsafe: dict[str, list[str]] = field(default_factory=dict)  # lost, failed, refused
    listed_before_late_data: bool = False  # the list was read before the grace days ended, and they are over now
    acknowledged: list[str] = field(default_factory=list)  # of those that would be unsafe
    objects_missing: list[str] = field(default_factory=list)
    objects_of_other_size: list[str] = field(default_factory=list)
    objects_unknown: list[str] = field(default_factory=list)
    erased: int = 0  # calls of the day that were erased on request
    objects_of_erased_calls: list[str] = field(default_factory=list)
    unheld: list[str] = field(default_factory=list)  # why flagged recordings are not under legal hold, though wanted
    transcript_chars: int = 0
    utterance_chars: int = 0
    transcripts_with_text: int = 0
    calls_with_utterances: int = 0
