"""From a transcript's text to its turns, without losing a character.

The rule, whole: a turn begins where a line begins with a label, and goes on until the next one does. A label is
`[`, a letter, up to 63 more letters, digits, spaces and `_-.'`, then `]:`. What stands before the first label is a
turn of speaker `unknown`. A clock time in brackets or a `note:` is speech, for it is no such label.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

AGENT, CALLER, OTHER, UNKNOWN = "agent", "caller", "other", "unknown"
_SPEAKERS = {"agent": AGENT, "caller": CALLER}

# Whether it stands at a line's start is looked at afterwards: what begins with `[` is found three times as fast.
_LABEL = re.compile(r"\[([^\W\d_][^\[\]\n\r:]{0,63})\]:")
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


Span = tuple[str, str | None, str, int, int]  # a turn from `speaker` on: plain, for those who make millions


def split_turns(text: str) -> list[Turn]:
    """The turns of a transcript, in order; their spans, joined, are `text` again. An empty turn is a turn."""
    return [Turn(number, *span) for number, span in enumerate(split_spans(text))]


def split_spans(text: str) -> list[Span]:
    """The turns as tuples: speaker, label, speech, and where it begins and ends."""
    if not text:
        return []
    spans: list[Span] = []
    speaker, name, begin, speech_begin = UNKNOWN, None, 0, 0
    for match in _LABEL.finditer(text):
        label = _label(text, match)
        if label is not None:
            at = match.start()
            speech = text[speech_begin:at].strip()
            if name is not None or speech:  # else blank lines before the first label, which belong to its turn
                spans.append((speaker, name, speech, begin, at))
                begin = at
            (speaker, name), speech_begin = label, match.end()
    spans.append((speaker, name, text[speech_begin:].strip(), begin, len(text)))
    return spans


def _label(text: str, match: re.Match[str]) -> tuple[str, str] | None:
    """Speaker and name, if what was found is a label and begins its line."""
    at = match.start()
    return _speaker_and_name(match[1]) if at == 0 or text[at - 1] in "\n\r" else None


@lru_cache(maxsize=1024)
def _speaker_and_name(written: str) -> tuple[str, str] | None:
    """What stands between the brackets, read; None where it is no label's."""
    return (speaker_of(written.strip()), written.strip()) if _is_label(written) else None


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
    return any(_label(text, match) for match in _LABEL.finditer(text))


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
