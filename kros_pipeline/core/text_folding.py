"""Fold speech and patterns alike before they are compared, and map a place in folded speech back to the turn.

What a reader takes for the same is the same after it: Unicode's compatibility forms (NFKC), quotes, dashes, blanks and
line ends, characters that show nothing, digits of every script, HTML entities. Case and accents stay.
"""

import html
import re
import unicodedata
from collections.abc import Iterator
from functools import cache

_ENTITY = re.compile(r"&(?:amp;)*(#[0-9]{1,7};|#[xX][0-9a-fA-F]{1,6};|[A-Za-z][A-Za-z0-9]{1,31};)")
_BLANKS = re.compile(r"\s+")
_SOFT_BREAK = re.compile("\u00ad\\s{0,8}[\n\r\u2028\u2029\x85]\\s{0,8}")
_BEYOND_FIRST_PLANE = re.compile("[\U00010000-\U0010ffff]")
_SINGLE_QUOTES = "‘’‚‛′‵ʼʹʻʽˈˊˋ´`＇‹›❛❜՚׳"
_DOUBLE_QUOTES = "“”„‟″‶«»＂〝〞〟❝❞״"
_DASHES = "‐‑‒–—―−⁃˗﹘﹣－⸺⸻‧֊־᐀"
_TATWEEL = "\u0640"
_EXPANDED = {"ß": "ss", "ẞ": "ss", "ı": "i", "İ": "I"}  # no one-to-one pair of capital and small letter


@cache
def _folding() -> tuple[dict[str, str], re.Pattern[str]]:
    """Return what single characters fold to, and a pattern that finds them: made on first use, which takes a moment."""
    table = dict.fromkeys(_SINGLE_QUOTES, "'") | dict.fromkeys(_DOUBLE_QUOTES, '"') | dict.fromkeys(_DASHES, "-")
    table |= _EXPANDED | {_TATWEEL: ""}
    for code in range(0x80, 0x110000):
        char = chr(code)
        if char.isdecimal():
            table[char] = str(unicodedata.decimal(char))
        elif unicodedata.category(char) == "Cf" or 0xFE00 <= code <= 0xFE0F or code == 0x34F:
            table[char] = ""
    # Without characters beyond the first plane, Python looks a class up in a bitmap.
    first_plane = "".join(map(re.escape, sorted(char for char in table if char <= "\uffff")))
    return table, re.compile(f"[{first_plane}]")


def fold_text(text: str) -> str:
    """Return a text as texts are compared. Ordinary text is itself, at the price of a few searches."""
    is_plain = "  " not in text and "&" not in text and "`" not in text
    if is_plain and text.isprintable() and text[:1] != " " != text[-1:] and (text.isascii() or _is_folded(text)):
        return text
    return _fold(text).strip()


def fold_inside(text: str) -> str:
    """Return a part of a text folded: a blank at its begin or end stays one."""
    return _fold(text)


def is_digit(folded: str) -> bool:
    """Return whether a folded character shows digits: `1`, and `❶` or `❿`, which fold to nothing else."""
    return folded.isdigit() or unicodedata.category(folded) == "No"


def _is_folded(text: str) -> bool:
    has_odd = _folding()[1].search(text) is not None or _BEYOND_FIRST_PLANE.search(text) is not None
    return not has_odd and unicodedata.is_normalized("NFKC", text)


def _fold(text: str) -> str:
    if "&" in text:
        text = _ENTITY.sub(lambda found: html.unescape(f"&{found[1]}"), text)
    if text.isascii():
        return _BLANKS.sub(" ", text.replace("`", "'"))
    text = _replace(_SOFT_BREAK.sub("", text))
    return _BLANKS.sub(" ", _replace(unicodedata.normalize("NFKC", text)))  # NFKC makes blanks, quotes and dashes


def _replace(text: str) -> str:
    table, pattern = _folding()
    for plane in (pattern, _BEYOND_FIRST_PLANE):
        text = plane.sub(lambda found: table.get(found[0], found[0]), text)
    return text


def map_back(text: str, begin: int, end: int) -> tuple[int, int]:
    """Return the place in a text that `begin` to `end` in its folded form stands for.

    The text is folded in pieces, none of which changes by what stands beside it but for blanks, and counted.
    """
    folded_length = 0
    place = [0, len(text)]
    has_begun, ends_in_blank = False, True  # the folded text is stripped
    for piece_begin, piece_end in cut_into_pieces(text):
        piece = _fold(text[piece_begin:piece_end])
        if ends_in_blank:
            piece = piece.lstrip()
        if not piece:
            continue
        ends_in_blank = piece.endswith(" ")
        folded_length += len(piece)
        if not has_begun and folded_length > begin:
            place[0], has_begun = piece_begin, True
        if folded_length >= end:
            place[1] = piece_end
            break
    return place[0], place[1]


def cut_into_pieces(text: str) -> Iterator[tuple[int, int]]:
    """Yield begin and end of the shortest pieces that fold by themselves: a character with its marks, an entity."""
    whole = {found.start(): found.end() for pattern in (_ENTITY, _SOFT_BREAK) for found in pattern.finditer(text)}
    at = 0
    while at < len(text):
        end = whole.get(at, at + 1)
        while end < len(text) and _joins(text[end]) and end not in whole:
            end += 1
        yield at, end
        at = end


def _joins(char: str) -> bool:
    """Return whether a character becomes one with the character before it, or shows nothing."""
    if char.isascii():
        return False
    return (
        unicodedata.category(char).startswith("M")
        or "\u1160" <= char <= "\u11ff"  # vowels and ends of Hangul syllables
        or char in "\uff9e\uff9f"  # voice marks of half-width kana
        or _folding()[0].get(char) == ""
    )
