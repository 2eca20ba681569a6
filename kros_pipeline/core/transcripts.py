"""Split a transcript's text into turns, without losing a character.

A turn begins at a line that begins with a label, and ends where the next turn begins. A label is `[`, a letter, up to
63 more letters, digits, spaces and `_-.'`, then `]:`. Speech before the first label is a turn of speaker `unknown`. A
clock time in brackets or a `note:` is not a label, and therefore speech.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from .statuses import Speaker

_SPEAKERS = {"agent": Speaker.AGENT, "caller": Speaker.CALLER}

# The pattern begins with `[`, which makes the search three times as fast; whether a line begins there is checked later.
_LABEL = re.compile(r"\[([^\W\d_][^\[\]\n\r:]{0,63})\]:")
_PLAIN_LABEL = re.compile(r"[\w .'-]*").fullmatch
_SURROGATES = re.compile("[\ud800-\udfff]")
_SHORTENED = ("...", "…")


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn. `text` is the speech without the label; `speaker` is a `Speaker`, or its text as a table stores it.

    The turn with its label is `transcript[char_start:char_end]`, counted in code points.
    """

    turn_index: int
    speaker: str
    speaker_label: str | None
    text: str
    char_start: int
    char_end: int


Span = tuple[Speaker, str | None, str, int, int]
"""The fields of a `Turn` from `speaker` on, as a tuple: millions of them are made, and an object each is too slow."""


def split_turns(text: str) -> list[Turn]:
    """Split a transcript into turns, in order. Their spans, joined, are `text`. A turn without speech is a turn."""
    return [Turn(number, *span) for number, span in enumerate(split_spans(text))]


def split_spans(text: str) -> list[Span]:
    """Split a transcript into spans: speaker, label, speech, and where the turn begins and ends."""
    if not text:
        return []
    spans: list[Span] = []
    speaker, name, begin, speech_begin = Speaker.UNKNOWN, None, 0, 0
    for match in _LABEL.finditer(text):
        label = _read_label(text, match)
        if label is not None:
            at = match.start()
            speech = text[speech_begin:at].strip()
            if name is not None or speech:  # blank lines before the first label belong to the first label's turn
                spans.append((speaker, name, speech, begin, at))
                begin = at
            (speaker, name), speech_begin = label, match.end()
    spans.append((speaker, name, text[speech_begin:].strip(), begin, len(text)))
    return spans


def _read_label(text: str, match: re.Match[str]) -> tuple[Speaker, str] | None:
    """Return the speaker and the label's text, or None where the match is no label or does not begin its line."""
    at = match.start()
    return _speaker_and_name(match[1]) if at == 0 or text[at - 1] in "\n\r" else None


@lru_cache(maxsize=1024)
def _speaker_and_name(written: str) -> tuple[Speaker, str] | None:
    """Parse the text between the brackets; None where no label has such a text."""
    return (parse_speaker(written.strip()), written.strip()) if _is_label(written) else None


def parse_speaker(label: str) -> Speaker:
    """Return `agent`, `caller` or `other` for a label as it was written."""
    return _SPEAKERS.get(label.casefold(), Speaker.OTHER)


def is_whole(text: str | None) -> bool:
    """Return whether a text from the list can be kept as the transcript: it is labelled and not shortened."""
    return text is not None and not is_shortened(text) and is_labelled(text)


def is_shortened(text: str) -> bool:
    """Return whether the text ends as the list shortens texts (`...` or `…`). Speech that trails off may end so too."""
    return text.rstrip().endswith(_SHORTENED)


def is_labelled(text: str) -> bool:
    """Return whether any line of the text begins with a label."""
    return any(_read_label(text, match) for match in _LABEL.finditer(text))


def count_words(text: str) -> int:
    """Count the words between white space. In a script without spaces, each run of characters counts as one word."""
    return len(text.split())


def clean_text(text: str) -> str:
    """Replace each lone surrogate by U+FFFD: Parquet and RE2 refuse surrogates, and JSON may carry them."""
    return _SURROGATES.sub("\ufffd", text)


def _is_label(name: str) -> bool:
    # Many scripts write letters with combining marks, which `\w` does not match (Yoruba's ọ̀, Hindi's vowel signs).
    return name[0].isalpha() and (
        bool(_PLAIN_LABEL(name))
        or all(char.isalnum() or char in " _-.'" or unicodedata.category(char).startswith("M") for char in name)
    )
