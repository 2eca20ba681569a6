"""From a transcript's text to its turns, without losing a character.

The rule, whole: a turn begins where a line begins with a label, and goes on until the next one does. A label is
`[`, a letter, up to 63 more letters, digits, spaces and `_-.'`, then `]:`. What stands before the first label is a
turn of speaker `unknown`. A clock time in brackets or a `note:` is speech, for it is no such label.
"""

import re
import unicodedata
from dataclasses import dataclass

AGENT, CALLER, OTHER, UNKNOWN = "agent", "caller", "other", "unknown"
_SPEAKERS = {"agent": AGENT, "caller": CALLER}

_LABEL = re.compile(r"(?:\A|(?<=[\n\r]))\[([^\W\d_][^\[\]\n\r:]{0,63})\]:")
_PLAIN_LABEL = re.compile(r"[\w .'-]*").fullmatch
_SURROGATES = re.compile("[\ud800-\udfff]")
_SHORTENED = ("...", "…")


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn. `text[char_start:char_end]` is the turn with its label, in code points; `text` is the speech alone."""

    turn_index: int
    speaker: str
    speaker_label: str | None
    text: str
    char_start: int
    char_end: int


def split_turns(text: str) -> list[Turn]:
    """The turns of a transcript, in order; their spans, joined, are `text` again. An empty turn is a turn."""
    if not text:
        return []
    labels = [match for match in _LABEL.finditer(text) if _is_label(match[1])]
    turns: list[Turn] = []
    start = labels[0].start() if labels else len(text)
    if not labels or text[:start].strip():
        turns.append(Turn(0, UNKNOWN, None, text[:start].strip(), 0, start))
    else:
        start = 0  # blank lines before the first label belong to its turn
    ends = [label.start() for label in labels[1:]] + [len(text)]
    for label, end in zip(labels, ends, strict=False):
        name = label[1].strip()
        turns.append(Turn(len(turns), speaker_of(name), name, text[label.end() : end].strip(), start, end))
        start = end
    return turns


def speaker_of(label: str) -> str:
    """`agent`, `caller` or `other`, from a label as it was written."""
    return _SPEAKERS.get(label.casefold(), OTHER)


def is_whole(text: str | None) -> bool:
    """Whether a text from the list can be kept as the transcript: it is labelled, and not shortened."""
    return text is not None and not is_shortened(text) and is_labelled(text)


def is_shortened(text: str) -> bool:
    """Whether the text ends as the list shortens it (`...` or `…`), which speech that trails off may do too."""
    return text.rstrip().endswith(_SHORTENED)


def is_labelled(text: str) -> bool:
    """Whether any line of the text begins with a label."""
    return any(_is_label(match[1]) for match in _LABEL.finditer(text))


def count_words(text: str) -> int:
    """Words between white space. A script written without spaces counts as the runs that it has."""
    return len(text.split())


def clean_text(text: str) -> str:
    """The text with each lone surrogate as U+FFFD: Parquet and RE2 refuse them, and JSON may carry them."""
    return _SURROGATES.sub("\ufffd", text)


def _is_label(name: str) -> bool:
    # Letters of many scripts are written with combining marks, which `\w` leaves out (Yoruba's ọ̀, Hindi's vowel signs).
    return name[0].isalpha() and (
        bool(_PLAIN_LABEL(name))
        or all(char.isalnum() or char in " _-.'" or unicodedata.category(char).startswith("M") for char in name)
    )
