"""Split a transcript's text into turns, without losing a character.

A turn begins at a line that begins with a label, and ends where the next turn begins. The grammar has one law: in a
text that has labels, nothing that looks like a label and is not understood becomes the previous speaker's speech. It
begins a turn of `other` or `unknown` instead. `label_lines.py` reads the label of a line; here the whole text decides
which of them count. Speech before the first label is a turn of speaker `unknown`, and so is a text without labels. A
clock time in brackets, a `note:` and an `[inaudible]` are no labels.
"""

import re
from dataclasses import dataclass, replace
from typing import TypeAlias

from .label_lines import Certainty, LabelLine, read_label, read_time_line
from .speaker_roles import USUAL_ROLES, SpeakerRoles, is_numbered_speaker
from .statuses import Speaker
from .transcript_cuts import is_shortened
from .transcript_formats import Span, read_format

__all__ = [
    "Span",
    "Turn",
    "clean_text",
    "count_speech_words",
    "count_words",
    "is_labelled",
    "is_whole",
    "split_spans",
    "split_turns",
]

_SURROGATES = re.compile("[\ud800-\udfff]")
_ORDINARY_LABEL = re.compile(r"(\[[^\[\]:\n]{1,64}\]:)(?![:：])")
_BREAK = r"</?(?i:br|p|div|li)\s{0,4}/?>|&lt;(?i:br)\s?/?&gt;"
_SEPARATOR = re.compile(rf"\r\n|[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]|{_BREAK}|\\r\\n|\\[nr]")
_ODD_SIGN = re.compile(r"[：﹕︓︰∶ː꞉［【〔〖「『（｛＜〈《⟨❲]")
_MARK_OF_A_LABEL = re.compile(r"[:：﹕︓︰∶ː꞉\[［【〔〖「『(（({｛<＜〈《⟨❲]")
_LABEL_WITHIN_CHARS = 400
_BREAK_AT_END = re.compile(rf"(?:{_BREAK})\Z")
_SEPARATOR_AT_END = re.compile(rf"(?:{_BREAK}|\\[nr])\Z")
_LONGEST_BREAK = 12
_MAX_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn. `text` is the speech without the label; `speaker` is a `Speaker`, or its text as a table stores it.

    The turn with its label is `transcript[char_start:char_end]`, counted in code points. `start_seconds` is the time
    that the text itself gives, None where it gives none.
    """

    turn_index: int
    speaker: str
    speaker_label: str | None
    text: str
    char_start: int
    char_end: int
    start_seconds: float | None = None


_Label: TypeAlias = tuple[int, Speaker, str, int, float | None]
"""A label that counts: where its line begins, who speaks, its text, where the speech begins, and the time."""


def split_turns(text: str, roles: SpeakerRoles = USUAL_ROLES) -> list[Turn]:
    """Split a transcript into turns, in order. Their spans, joined, are `text`. A turn without speech is a turn."""
    return [Turn(number, *span) for number, span in enumerate(split_spans(text, roles))]


def split_spans(text: str, roles: SpeakerRoles = USUAL_ROLES) -> list[Span]:
    """Split a transcript into spans: speaker, label, speech, where the turn begins and ends, and its time."""
    if not text:
        return []
    ordinary = _split_ordinary(text, roles)
    if ordinary is not None:
        return ordinary
    formatted = read_format(text, roles)
    if formatted is not None:
        return formatted
    spans: list[Span] = []
    speaker, name, begin, speech_begin = Speaker.UNKNOWN, "", 0, 0
    seconds: float | None = None
    for at, next_speaker, next_name, next_speech, next_seconds in _find_labels(text, roles):
        speech = _cut_separators(text, speech_begin, at)
        if begin or spans or name or speech:  # blank lines before the first label belong to the first label's turn
            spans.append((speaker, name or None, speech, begin, at, seconds))
            begin = at
        speaker, name, speech_begin, seconds = next_speaker, next_name, next_speech, next_seconds
    spans.append((speaker, name or None, _cut_separators(text, speech_begin, len(text)), begin, len(text), seconds))
    return spans


def is_labelled(text: str) -> bool:
    """Return whether the text says who speaks."""
    return bool(
        _split_ordinary(text, USUAL_ROLES)
        or read_format(text, USUAL_ROLES) is not None
        or _find_labels(text, USUAL_ROLES)
    )


def is_whole(text: str | None) -> bool:
    """Return whether a text from the list can be kept as the transcript: it is labelled and not shortened."""
    return text is not None and not is_shortened(text) and is_labelled(text)


def count_words(text: str) -> int:
    """Count the words between white space. In a script without spaces, each run of characters counts as one word."""
    return len(text.split())


def count_speech_words(text: str, roles: SpeakerRoles = USUAL_ROLES) -> int:
    """Count the words of all turns of a text. Labels and times are no words."""
    return sum(count_words(span[2]) for span in split_spans(text, roles))


def clean_text(text: str) -> str:
    """Replace each lone surrogate by U+FFFD: Parquet and RE2 refuse surrogates, and JSON may carry them."""
    return _SURROGATES.sub("\ufffd", text)


def _cut_separators(text: str, begin: int, end: int) -> str:
    """Return the speech of a turn without what separates it from the next one.

    A `\\\\n` that is spelt out, at the end of a text or of a real line, may belong to the speech.
    """
    is_spelt_out = end < len(text) and text[max(begin, end - 2) : end] in ("\\n", "\\r")
    separator = _SEPARATOR_AT_END if is_spelt_out else _BREAK_AT_END
    while end > begin:
        if text[end - 1].isspace():
            end -= 1
        elif found := separator.search(text, max(begin, end - _LONGEST_BREAK), end):
            end = found.start()
        else:
            break
    return text[begin:end].lstrip()


def _has_odd_separators(text: str) -> bool:
    """Return whether something else than `\\n` may separate lines. A search for each is faster than one pattern."""
    if "\r" in text or "\\" in text or "<" in text or "&lt;" in text or "\x0b" in text or "\x0c" in text:
        return True
    if "\x1c" in text or "\x1d" in text or "\x1e" in text:
        return True
    return not text.isascii() and ("\x85" in text or "\u2028" in text or "\u2029" in text)


def _has_odd_marks(text: str) -> bool:
    """Return whether the text has brackets or colons of other kinds than `[`, `]` and `:`."""
    return "(" in text or "{" in text or (not text.isascii() and _ODD_SIGN.search(text) is not None)


def _split_ordinary(text: str, roles: SpeakerRoles) -> list[Span] | None:
    """Split a text whose every line begins with a sure label in its usual spelling, or has no mark of a label at all.

    Almost every text is such a one, and each label costs a look into a dict. None for any other text, and for one
    without labels.
    """
    pieces = _ORDINARY_LABEL.split(text)  # what stands before the first label; a label and its speech, in turn
    count = len(pieces) // 2
    if not count or _has_odd_separators(text):
        return None
    line_count = text.count("\n") + (not text.endswith("\n"))
    if line_count != count and (text.count("[") != count or text.count(":") != count or _has_odd_marks(text)):
        return None
    spans: list[Span] = []
    remembered = roles.remembered_labels
    end = len(pieces[0])
    first = pieces[0].strip()
    begin = end if first else 0  # blank lines before the first label belong to the first label's turn
    if first:
        spans.append((Speaker.UNKNOWN, None, first, 0, end, None))
    for index in range(1, 2 * count, 2):
        before, written, speech = pieces[index - 1 : index + 2]
        label = remembered.get(written) or _remember(written, roles)
        if label is None or (before[-1:] != "\n" and (before or index > 1)):  # a label in the middle of a line
            return None
        end += len(written) + len(speech)
        spans.append((label[0], label[1], speech.strip(), begin, end, None))
        begin = end
    return spans


def _find_labels(text: str, roles: SpeakerRoles) -> list[_Label]:
    """Find the labels that count: the sure ones, and those that the sure ones make likely."""
    found = _read_lines(text, roles)
    is_sure = any(line.certainty is Certainty.SURE for _, line in found)
    counting = _select_beside_sure(found) if is_sure else _select_in_free_format(text, found)
    return [(begin, line.speaker, line.name, line.speech_begin, line.start_seconds) for begin, line in counting]


def _remember(written: str, roles: SpeakerRoles) -> tuple[Speaker, str] | None:
    """Return what a label in its usual spelling means, whatever follows it; None where that depends on more."""
    label = read_label(written, 0, len(written), roles)
    if label is None or label.certainty is not Certainty.SURE or label.start_seconds is not None:
        return None
    if len(roles.remembered_labels) < _MAX_REMEMBERED:
        roles.remembered_labels[written] = (label.speaker, label.name)
    return label.speaker, label.name


def _read_lines(text: str, roles: SpeakerRoles) -> list[tuple[int, LabelLine]]:
    """Read what may be a label of each line. A time in a line of its own belongs to the label in the next one."""
    found: list[tuple[int, LabelLine]] = []
    begin, time = 0, None
    for separator in (*_SEPARATOR.finditer(text), None):
        end, following = separator.span() if separator is not None else (len(text), len(text))
        label = None
        behind = text.find("]:", begin, end) + 2 if text.startswith("[", begin) else 0
        known = roles.remembered_labels.get(text[begin:behind]) if behind > 2 else None
        if known is not None and text[behind : behind + 1] not in (":", "："):
            label = LabelLine(*known, behind, None, Certainty.SURE, "[")
        elif _MARK_OF_A_LABEL.search(text, begin, min(end, begin + _LABEL_WITHIN_CHARS)):
            label = read_label(text, begin, end, roles)
        if label is not None:
            if time is not None and label.start_seconds is None:
                label = replace(label, start_seconds=time[1])
            found.append((begin if time is None else time[0], label))
            time = None
        elif text[begin:end].strip():
            seconds = read_time_line(text, begin, end)
            time = (begin, seconds) if seconds is not None else None
        begin = following
    return found


def _select_beside_sure(found: list[tuple[int, LabelLine]]) -> list[tuple[int, LabelLine]]:
    """Select the labels of a text that has sure ones."""
    without_colon = {line.opener for _, line in found if line.certainty is Certainty.SURE and not line.has_colon}
    return [
        (begin, line)
        for begin, line in found
        if line.certainty is not Certainty.WITHOUT_COLON or line.opener in without_colon
    ]


def _select_in_free_format(text: str, found: list[tuple[int, LabelLine]]) -> list[tuple[int, LabelLine]]:
    """Select the labels of a text that writes them without brackets; none where that is not unmistakable.

    It is where the text begins with a label, and has two different ones at least, one of them of a known kind.
    """
    labels = [(begin, line) for begin, line in found if not line.opener and line.certainty is not Certainty.DOUBTFUL]
    names = {line.name.casefold() for _, line in labels}
    is_known = any(line.certainty is Certainty.FREE_ROLE or is_numbered_speaker(line.name) for _, line in labels)
    if len(names) < 2 or not is_known or text[: labels[0][0]].strip():
        return []
    return [(begin, line) for begin, line in found if line.certainty is not Certainty.WITHOUT_COLON]
