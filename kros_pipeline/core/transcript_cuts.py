"""Find texts that were cut before they came: by a mark at their end, or by facts of the day's other texts."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_INVISIBLE_END = "\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
_MARK = re.compile(
    rf"""(?xi)
    (?: \.\s?\.\s?\. | … | ⋯ | ‥\.? | 。。。 | &hellip; | &\#8230;
      | [\[(<{{【（]\s*(?: \.{{2,}} | … | (?:\.{{2,}}|…)?\s*(?:text\s|transcript\s|output\s|message\s)?
            (?: (?: truncated | trimmed | shortened | abbreviated ) [^\])>}}】）\n]{{0,40}}
              | cut(?:\s?off)? | more | continued | cont\.? | snip(?:ped)?
              | \+?\d+\s+(?:more\s+)?(?:char(?:acter)?s?|words?|bytes?|lines?)(?:\s+(?:more|truncated|omitted))?
            ) )\s*[\])>}}】）]
      | (?: read | show | see | view )\s+more
      | --?\s*truncated\s*--?
    )
    (?: [\s*_"'”’»\]`){_INVISIBLE_END}] | &nbsp; )*\Z
    """
)
_MARK_WITHIN_CHARS = 120
_MOST_MARKS = 3
_MIN_LENGTH = 100  # shorter texts have equal lengths by chance
_MIN_TEXTS = 2  # of exactly one length
_BAND, _MIN_TEXTS_IN_BAND, _SHARE_IN_BAND = 20, 3, 0.1
_LIMITS = (140, 160, 200, 250, 280, 300, 400, *range(500, 100_001, 500), *(1 << power for power in range(7, 18)))
_ROUND = frozenset({limit - less for limit in _LIMITS for less in (0, 1)})
_WORDS_LOST = 0.9
_WORDS_OF_CHANCE = 5


def is_shortened(text: str) -> bool:
    """Return whether the text ends with a mark of a cut (`...`, `… [truncated]`). Speech that trails off may end so."""
    return _MARK.search(text, max(0, len(text) - _MARK_WITHIN_CHARS)) is not None


def remove_mark(text: str) -> str:
    """Return a text without the marks of a cut, and without blanks, at its end: `... [truncated]` is two marks."""
    for _ in range(_MOST_MARKS):
        mark = _MARK.search(text, max(0, len(text) - _MARK_WITHIN_CHARS))
        if mark is None:
            break
        text = text[: mark.start()].rstrip()
    return text.rstrip()


@dataclass(frozen=True, slots=True)
class TextLengths:
    """The lengths at which the texts of a day's list seem to be cut without a mark; None where they do not.

    `characters` and `utf8_bytes` are those of the longest texts, which several share exactly or which limits usually
    have. From `band` characters on, so many texts end shortly before the longest that they seem to be cut between
    words.
    """

    characters: int | None = None
    utf8_bytes: int | None = None
    band: int | None = None

    def is_suspicious(self, text: str) -> bool:
        """Return whether a text may be cut: it has such a length."""
        length = len(text)
        if length < _MIN_LENGTH:
            return False
        is_in_band = self.band is not None and length >= self.band
        return is_in_band or length == self.characters or _size_of(text) == self.utf8_bytes


def find_cut_lengths(texts: Iterable[str]) -> TextLengths:
    """Find where the texts of a day's list are cut: no text is longer, and several different ones are as long.

    The same announcement in many calls is one text. A single longest text is enough where its length is a round one.
    """
    characters: dict[int, set[int]] = {}
    sizes: dict[int, set[int]] = {}
    for text in texts:
        if len(text) >= _MIN_LENGTH:
            for lengths, length in ((characters, len(text)), (sizes, _size_of(text))):
                digests = lengths.setdefault(length, set())
                if len(digests) < _MIN_TEXTS_IN_BAND:
                    digests.add(hash(text))
    longest = max(characters, default=0)
    counts = {length: len(digests) for length, digests in characters.items()}
    in_band = sum(count for length, count in counts.items() if length > longest - _BAND)
    is_band = in_band >= max(_MIN_TEXTS_IN_BAND, sum(counts.values()) * _SHARE_IN_BAND)
    return TextLengths(_limit_of(characters), _limit_of(sizes), longest - _BAND if is_band else None)


def _limit_of(lengths: dict[int, set[int]]) -> int | None:
    longest = max(lengths, default=None)
    if longest is None or (len(lengths[longest]) < _MIN_TEXTS and longest not in _ROUND):
        return None
    return longest


def _size_of(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def lacks_words(text: str, word_count: int | None) -> bool:
    """Return whether a text has clearly fewer words than upstream counts in it.

    Upstream may count the labels or leave them out, so all words of the text are compared. It is not known how it
    counts in a script without spaces: there nothing is said.
    """
    if word_count is None:
        return False
    words = text.split()
    longest = max(map(len, words), default=0)
    if words and (longest > 200 or _has_no_spaces(text)):
        return False
    return len(words) < word_count * _WORDS_LOST - _WORDS_OF_CHANCE


def _has_no_spaces(text: str) -> bool:
    """Return whether much of the text is written in a script that puts no space between words."""
    count = sum(
        1
        for char in text[:2000]
        if "\u0e00" <= char <= "\u0eff"
        or "\u1000" <= char <= "\u109f"
        or "\u1780" <= char <= "\u17ff"
        or "\u3040" <= char <= "\u9fff"
    )
    return count * 5 > len(text[:2000])
