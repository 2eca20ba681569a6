"""Compare two texts of one call: which of them holds more, and whether they are one text that grew."""

import re
from typing import Any

from .speaker_roles import USUAL_ROLES, SpeakerRoles
from .transcript_cuts import remove_mark
from .transcripts import count_speech_words, split_spans

# Stored in `transcripts.reason`, and shown in the day's problems.
NOT_UNDERSTOOD = "upstream's answer is not understood: it is kept below state/transcripts/"
OTHER_TEXT = "upstream later showed another text, which is kept below state/transcripts/"
LACKS_WORDS = "upstream counts clearly more words than the text has: it may be cut"

_BLANKS = re.compile(r"\s+")


def recount_words(row: dict[str, Any], roles: SpeakerRoles = USUAL_ROLES) -> dict[str, Any]:
    """Return a row of `transcripts` from a file without `upstream_word_count`, as the present version counts.

    There `word_count` was upstream's count where it gave one. It surely was where it differs from ours.
    """
    if row["text"] is None:
        return row
    count = count_speech_words(row["text"], roles)
    upstream = row["word_count"] if row["word_count"] != count else None
    return row | {"word_count": count, "upstream_word_count": upstream}


def is_longer(text: str, kept: str) -> bool:
    """Return whether a text begins with the kept one, or with its speech where labels were missing, and goes on."""
    begin = remove_mark(kept)
    if text.startswith(begin):
        return len(text.rstrip()) > len(begin.rstrip()) and text != kept
    speech, kept_speech = _speech_of(text), _speech_of(begin)
    return _count_labels(text) >= _count_labels(kept) and speech.startswith(kept_speech) and len(text) > len(begin)


def is_same_or_less(text: str, kept: str) -> bool:
    """Return whether a text says nothing that the kept one does not: it is a part from the begin, labelled or not."""
    begin = remove_mark(text)
    return kept.startswith(begin) or _speech_of(kept).startswith(_speech_of(begin))


def _speech_of(text: str) -> str:
    return _BLANKS.sub(" ", " ".join(span[2] for span in split_spans(text) if span[2])).strip()


def _count_labels(text: str) -> int:
    return sum(span[1] is not None for span in split_spans(text))
