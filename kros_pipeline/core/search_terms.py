"""Read what a reviewer searches for, and cut speech into the same words.

Speech and terms are folded alike, as the rules fold them (`text_folding.py`), and case is ignored. A word is a run of
letters, digits and their marks; in a script without blanks between words (Chinese, Japanese, Thai, Khmer …) each
character is one, and a term of several characters is found where they stand side by side.

All terms have to be in one turn: `refund`, `"money back"` (side by side), `refund*` (how a word begins), and `OR`
between two terms.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from .text_folding import fold_text, is_digit, map_back

MAX_TERMS = 32
MAX_CHARACTERS = 500
MAX_MARKS = 50  # of one turn: to map a place back takes time
_MAX_MARKED_CHARACTERS = 20_000
_TERM = re.compile(r'"([^"]*)"?|(\S+)')
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u19e0-\u19ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\ua9e0-\ua9ff\uaa60-\uaa7f\uf900-\ufaff\U0001b000-\U0001b16f\U00020000-\U0003ffff"
)


class BadTerms(ValueError):
    """A search cannot be read. The message is a sentence for the person who wrote it."""


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a folded text, without case, and where it stands there."""

    text: str
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Term:
    """Words that stand side by side; with `is_prefix` the last one may go on."""

    words: tuple[str, ...]
    is_prefix: bool = False


Terms = tuple[tuple[Term, ...], ...]
"""What has to be in a turn: of each group at least one term."""


@cache
def _word() -> re.Pattern[str]:
    """Return the pattern of a word: made on first use, which takes a moment."""
    marks = [code for code in range(0x300, 0x110000) if unicodedata.category(chr(code)).startswith("M")]
    ranges: list[list[int]] = []
    for code in marks:
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    mark = "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)
    return re.compile(f"[{_UNSPACED}][{mark}]*|(?:[^\\W_{_UNSPACED}]|[{mark}])+")


def words_of(folded: str) -> Iterator[Word]:
    """Yield the words of a folded text, in their order."""
    for found in _word().finditer(folded):
        yield Word(found[0].casefold(), found.start(), found.end())


def index_text(text: str) -> str:
    """Return the words of a turn as the index takes them: it cuts ASCII itself, and any other text at blanks."""
    folded = fold_text(text)
    return folded if folded.isascii() else " ".join([word.text for word in words_of(folded)])


def parse_terms(text: str) -> Terms:
    """Read what was searched for. Returns nothing for a blank text. Raises `BadTerms`."""
    if len(text) > MAX_CHARACTERS:
        raise BadTerms(f"The search has {len(text)} characters. Shorten it to at most {MAX_CHARACTERS}.")
    groups: list[list[Term]] = []
    joins_next = False
    for phrase, single in _TERM.findall(_plain_quotes(text)):
        if single == "OR" and groups:
            joins_next = True
            continue
        is_prefix = single.endswith("*")
        words = tuple(word.text for word in words_of(fold_text(phrase or single)))
        if not words:
            continue  # punctuation only: no turn is found or excluded by it
        if joins_next:
            groups[-1].append(Term(words, is_prefix))
        else:
            groups.append([Term(words, is_prefix)])
        joins_next = False
    if sum(map(len, groups)) > MAX_TERMS:
        raise BadTerms(f"The search has more than {MAX_TERMS} words. Leave some out.")
    if text.strip() and not groups:
        raise BadTerms("The search has no letter and no digit. Write at least one word.")
    return tuple(map(tuple, groups))


def _plain_quotes(text: str) -> str:
    return re.sub("[“”„‟«»＂]", '"', text)


def has_digits(terms: Terms) -> bool:
    """Return whether a term has a digit: who may not see numbers must not find one either, in parts and by trying."""
    return any(is_digit(char) for group in terms for term in group for word in term.words for char in word)


def fts5_expression(terms: Terms, columns: Sequence[str]) -> str:
    """Return the terms as an expression of SQLite's FTS5 over some columns of the index."""
    groups = [" OR ".join(f'"{" ".join(term.words)}"{" *" if term.is_prefix else ""}' for term in g) for g in terms]
    return f"{{{' '.join(columns)}}} : ({' AND '.join(f'({group})' for group in groups)})"


def find_marks(text: str, terms: Sequence[Term]) -> list[tuple[int, int]]:
    """Return where a turn's own text has one of the terms, in ascending order; parts do not overlap."""
    if len(text) > _MAX_MARKED_CHARACTERS:
        return []
    folded = fold_text(text)
    words = list(words_of(folded))
    found: list[tuple[int, int]] = []
    for at in range(len(words)):
        length = max((len(term.words) for term in terms if _is_at(term, words, at)), default=0)
        if length and (not found or words[at].begin >= found[-1][1]):
            found.append((words[at].begin, words[at + length - 1].end))
            if len(found) == MAX_MARKS:
                break
    return found if folded == text else [map_back(text, begin, end) for begin, end in found]


def _is_at(term: Term, words: Sequence[Word], at: int) -> bool:
    if at + len(term.words) > len(words):
        return False
    *firsts, last = term.words
    if any(words[at + number].text != word for number, word in enumerate(firsts)):
        return False
    end = words[at + len(firsts)].text
    return end.startswith(last) if term.is_prefix else end == last
