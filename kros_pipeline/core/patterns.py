"""Compile the patterns of rules: folded, checked, and searched in folded speech."""

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from .pattern_engine import BadPattern, compile_search
from .pattern_output import FoldedPattern
from .pattern_syntax import fold_pattern

MAX_PATTERNS = 1_000  # in one file: each compiled pattern stays in memory as long as the process lives
# What YAML makes of an escape in double quotes, and what was meant.
_REPLACED_BY_YAML: dict[str, str | int | None] = {
    "\b": r"\b",
    "\a": r"\a",
    "\x1b": r"\e",
    "\0": r"\0",
    "\v": r"\v",
    "\f": r"\f",
    "\t": r"\t",
}
_LINE_ENDS = re.compile("[\n\r\x85\u2028\u2029]+")
_LINE_ENDS_OF_YAML: dict[str, str | int | None] = {
    "\u2029": r"\P",
    "\u2028": r"\L",
    "\x85": r"\N",
}  # escapes in double quotes
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\t]")
_MAX_SHOWN_CHARS = 80


@dataclass(frozen=True)
class CompiledPattern:
    """A pattern, ready to be searched for in folded text."""

    is_in: Callable[[str], bool]
    folded: FoldedPattern

    def find(self, text: str) -> tuple[int, int]:
        """Return where in a folded text that matches the first match ends, and where the last one before it begins.

        The engine says only whether a text matches, so that ever smaller parts are tried. Where the pattern looks at
        bounds of words, the text is cut at blanks only; where it looks at the text's begin or end, that stays.
        """
        folded = self.folded
        blanks = [place for place, char in enumerate(text) if char == " "] if folded.looks_at_bounds else None
        ends: Sequence[int] = range(len(text) + 1) if blanks is None else [*blanks, len(text)]
        end = len(text) if folded.looks_at_end else _first(ends, lambda place: self.is_in(text[:place]))
        begins: Sequence[int] = range(end + 1) if blanks is None else [0, *(at + 1 for at in blanks if at < end)]
        begin = 0 if folded.looks_at_begin else _last(begins, lambda place: self.is_in(text[place:end]))
        return (begin, end) if self.is_in(text[begin:end]) else (0, len(text))


@lru_cache(maxsize=MAX_PATTERNS)
def compile_pattern(pattern: str) -> CompiledPattern:
    """Compile a pattern. Case is ignored unless it says `(?-i)`. Raises `BadPattern`."""
    folded = fold_pattern(pattern)
    return CompiledPattern(compile_search(f"(?i){folded.text}"), folded)


def check_pattern(pattern: str) -> None:
    """Raise `BadPattern` for a pattern that is not what its writer meant, or that can never match."""
    if not pattern:
        raise BadPattern("the pattern is empty; every text would match it")
    for char, meant in _REPLACED_BY_YAML.items():
        if char in pattern:
            corrected = pattern.translate(str.maketrans(_REPLACED_BY_YAML))
            raise BadPattern(
                f"has {_name(char)} where {meant} was meant: YAML replaces {meant} in double quotes. "
                f"Write the pattern in single quotes: {_show(corrected)}"
            )
    if control := _CONTROLS.search(pattern):
        raise BadPattern(f"has {_name(control[0])}, which nobody says: remove it")
    for char, meant in _LINE_ENDS_OF_YAML.items():
        if char in pattern:
            corrected = pattern.translate(str.maketrans(_LINE_ENDS_OF_YAML))
            raise BadPattern(
                f"has the line end U+{ord(char):04X}: YAML makes it of {meant} in double quotes. "
                f"Write the pattern in one line, in single quotes: {_show(corrected)}"
            )
    if _LINE_ENDS.search(pattern):
        corrected = _LINE_ENDS.sub(" ", pattern.strip())
        raise BadPattern(
            "has a line end, which > and | in YAML add, and \\n in double quotes. "
            f"Write the pattern in one line, in single quotes: {_show(corrected)}"
        )
    if pattern != pattern.strip() and not pattern.endswith("\\" + pattern[-1]):
        raise BadPattern(f"has a blank at its begin or end: write it without: {_show(pattern.strip())}")
    compiled = compile_pattern(pattern)
    if not compiled.folded.text:
        raise BadPattern("has only characters that show nothing; every text would match it")
    _check_order(compiled.folded.text)


def _check_order(folded: str) -> None:
    """Refuse a pattern that asks for the text's begin behind something else, or for its end before it.

    A blank at either is refused, too: a turn has none there.
    """
    if re.search(r"(?:(?<![\\\[])\^|\\A) (?!\?)| (?:\$|\\z)", folded):
        raise BadPattern("can never match: a turn has no blank at its begin or end, remove the one beside ^ or $")
    is_sequence = re.search(r"[|()*?{\[]", folded) is None
    if is_sequence and re.search(r".(?:(?<!\\)\^|\\A)|(?:(?<!\\)\$|\\z).", folded):
        raise BadPattern("can never match: ^ is the begin of the turn, and $ its end")


def _first(places: Sequence[int], holds: Callable[[int], bool]) -> int:
    low, high = 0, len(places) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(places[middle]) else (middle + 1, high)
    return places[low]


def _last(places: Sequence[int], holds: Callable[[int], bool]) -> int:
    low, high = 0, len(places) - 1
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(places[middle]) else (low, middle - 1)
    return places[low]


def _name(char: str) -> str:
    names = {"\b": "a backspace", "\a": "a bell", "\x1b": "an escape", "\0": "a NUL", "\t": "a tab"}
    return names.get(char) or f"the control character U+{ord(char):04X}"


def _show(pattern: str) -> str:
    shown = "".join(char if unicodedata.category(char)[0] != "C" else "?" for char in pattern[:_MAX_SHOWN_CHARS])
    return "'" + shown.replace("'", "''") + ("…" if len(pattern) > _MAX_SHOWN_CHARS else "") + "'"
