"""Find texts that were cut before they came: by a mark at their end, or by facts of the day's other texts."""

import re
from collections import Counter
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
    [\s*_"'”’»\]){_INVISIBLE_END}]*\Z
    """
)
_MARK_WITHIN_CHARS = 120
_MIN_LENGTH = 100  # shorter texts have equal lengths by chance
_MIN_TEXTS = 2
_ROUND = frozenset(
    {
        length - less
        for length in (*range(100, 100_001, 100), *(1 << power for power in range(7, 18)))
        for less in (0, 1)
    }
)
_WORDS_LOST = 0.9
_WORDS_OF_CHANCE = 5


def is_shortened(text: str) -> bool:
    """Return whether the text ends with a mark of a cut (`...`, `… [truncated]`). Speech that trails off may end so."""
    return _MARK.search(text, max(0, len(text) - _MARK_WITHIN_CHARS)) is not None


@dataclass(frozen=True, slots=True)
class TextLengths:
    """The lengths that show where the texts of a day's list are cut without a mark, in characters and in bytes."""

    characters: frozenset[int]
    utf8_bytes: frozenset[int]

    def is_suspicious(self, text: str) -> bool:
        """Return whether a text may be cut: it has such a length, or one that limits usually have."""
        length = len(text)
        if length < _MIN_LENGTH:
            return False
        if length in self.characters or length in _ROUND:
            return True
        size = length if text.isascii() else len(text.encode("utf-8", "replace"))
        return size in self.utf8_bytes


def find_cut_lengths(texts: Iterable[str]) -> TextLengths:
    """Find the lengths at which texts were cut: those that several different texts share exactly, and none exceeds."""
    characters: Counter[int] = Counter()
    sizes: Counter[int] = Counter()
    seen: set[int] = set()
    for text in texts:
        digest = hash(text)
        if digest in seen:
            continue  # the same announcement in many calls has one length
        seen.add(digest)
        characters[len(text)] += 1
        sizes[len(text) if text.isascii() else len(text.encode("utf-8", "replace"))] += 1
    return TextLengths(_shared_maximum(characters), _shared_maximum(sizes))


def _shared_maximum(lengths: Counter[int]) -> frozenset[int]:
    longest = max(lengths, default=0)
    is_shared = longest >= _MIN_LENGTH and lengths[longest] >= _MIN_TEXTS
    return frozenset({longest}) if is_shared else frozenset()


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
