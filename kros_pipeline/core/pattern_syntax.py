"""Fold a pattern as speech is folded, without changing what it means, and write it for Rust's `regex` crate.

Patterns are written in the syntax of RE2. What the crate reads differently (`[a&&b]`, `\\<`, `{`, octal codes,
`\\Q…\\E`) is rewritten, and what cannot keep its meaning is refused. In folded speech a blank is one space, so blanks
of every kind, side by side, are one in a pattern, too.
"""

import re
import unicodedata

from .pattern_engine import BadPattern
from .pattern_output import BLANK_SIGNS, FoldedPattern, PatternOutput, escape, fold_range, may_be_missing
from .speaker_roles import read_words
from .text_folding import fold_inside

_CONTROL_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "a": "\a"}
_QUANTIFIER = re.compile(r"(?:[*+?]|\{\d{1,6}(?:,\d{0,6})?\})\??")
_GROUP = re.compile(r"\((?:\?(?:P?<(?P<name>[A-Za-z_]\w*)>|(?P<flags>[A-Za-z]*(?:-[A-Za-z]+)?)(?P<end>[:)])))?")
_PROPERTY = re.compile(r"\\[pP](?:\{(\^?[^{}]{1,40})\}|([A-Za-z]))")
_POSIX = re.compile(r"\[:\^?([a-z]+):\]")
_HEX = re.compile(r"\\(?:x\{([0-9A-Fa-f]{1,6})\}|x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|u\{([0-9A-Fa-f]{1,6})\})")
_OCTAL = re.compile(r"\\(0[0-7]{0,2}|[1-7][0-7]{1,2})")
_OF_CASE = read_words("lu ll lt l& uppercase_letter lowercase_letter titlecase_letter uppercase lowercase upper lower")
_OF_NOTHING_LEFT = read_words("pi pf cf cc zl zp")
_FORBIDDEN_FLAGS = {"m": "a turn is compared as one line, so that (?m) has no meaning: write \\b instead of ^ and $"}


def fold_pattern(pattern: str) -> FoldedPattern:
    """Fold a pattern. Raises `BadPattern` for what means something else, or nothing, in folded speech."""
    return _Folder(unicodedata.normalize("NFC", pattern)).fold()


class _Folder:
    """Reads a pattern from the left to the right, once."""

    def __init__(self, pattern: str):
        self._pattern, self._at = pattern, 0
        self._out, self._literals = PatternOutput(), list[str]()
        self._folded = FoldedPattern()
        self._case_sign, self._has_case_flag = "", False

    def fold(self) -> FoldedPattern:
        while self._at < len(self._pattern):
            self._read_one()
        self._flush()
        if self._case_sign and not self._has_case_flag:
            raise BadPattern(
                f"{self._case_sign} tells capital from small letters, and case is ignored: write (?-i) at the start, "
                "to compare it as written"
            )
        self._folded.text = self._out.finish()
        return self._folded

    def _read_one(self) -> None:
        sign = self._pattern[self._at]
        if sign == "\\":
            self._readescape()
        elif sign == "[":
            self._read_class()
        elif sign == "(":
            self._read_group()
        elif sign in ")|":
            self._emit(sign, 1, may_repeat=sign == ")")
        elif sign in "^$":
            self._folded.looks_at_begin |= sign == "^"
            self._folded.looks_at_end |= sign == "$"
            self._emit(sign, 1)
        elif sign == ".":
            self._emit(sign, 1)
        elif sign in "*+?":
            raise BadPattern(f"{sign} has nothing to repeat")
        else:
            self._add_literal(sign, 1)

    def _add_literal(self, char: str, length: int) -> None:
        """Add one literal character, with the quantifier behind it."""
        self._at += length
        quantifier = _QUANTIFIER.match(self._pattern, self._at)
        if quantifier is None:
            self._literals.append(char)
            return
        if char in BLANK_SIGNS:
            self._flush()
            self._out.add_blank(is_optional=may_be_missing(quantifier[0]))
        elif folded := fold_inside(char):
            self._flush()
            self._out.add((escape(folded) if len(folded) == 1 else f"(?:{escape(folded)})") + quantifier[0])
        self._at = quantifier.end()

    def _flush(self) -> None:
        """Write the literal characters that were read, folded together."""
        for piece in re.split("( )", fold_inside("".join(self._literals))):
            if piece == " ":
                self._out.add_blank(is_optional=False)
            elif piece:
                self._out.add(escape(piece))
        self._literals = []

    def _emit(self, piece: str, length: int, *, may_repeat: bool = True) -> None:
        """Write a piece that is no literal, with the quantifier behind it."""
        self._flush()
        self._at += length
        quantifier = _QUANTIFIER.match(self._pattern, self._at) if may_repeat else None
        self._out.add(piece + (quantifier[0] if quantifier is not None else ""))
        self._at = quantifier.end() if quantifier is not None else self._at

    def _emit_blank(self, length: int) -> None:
        self._flush()
        self._at += length
        quantifier = _QUANTIFIER.match(self._pattern, self._at)
        self._out.add_blank(is_optional=quantifier is not None and may_be_missing(quantifier[0]))
        self._at = quantifier.end() if quantifier is not None else self._at

    def _readescape(self) -> None:
        sign = self._pattern[self._at + 1 : self._at + 2]
        if sign == "s":
            self._emit_blank(2)
        elif sign in ("b", "B", "A", "z"):
            self._folded.looks_at_bounds |= sign in "bB"
            self._folded.looks_at_begin |= sign == "A"
            self._folded.looks_at_end |= sign == "z"
            self._emit("\\" + sign, 2, may_repeat=False)
        elif sign and sign in "dDwWS":
            self._emit("\\" + sign, 2)
        elif sign and sign in "pP":
            self._emit(*self._read_property())
        elif sign == "Q":
            end = self._pattern.find("\\E", self._at)
            quoted = self._pattern[self._at + 2 : end if end >= 0 else None]
            self._literals += quoted
            self._at = end + 2 if end >= 0 else len(self._pattern)
        else:
            char, length = self._read_charescape()
            self._add_literal(char, length)

    def _read_property(self) -> tuple[str, int]:
        found = _PROPERTY.match(self._pattern, self._at)
        if found is None:
            raise BadPattern("\\p needs the name of a Unicode property behind it, like \\p{Greek}")
        self._note_class((found[1] or found[2]).lstrip("^"), found[0])
        return found[0], len(found[0])

    def _note_class(self, name: str, written: str) -> None:
        if name.lower() in _OF_CASE:
            self._case_sign = written
        if name.lower() in _OF_NOTHING_LEFT:
            raise BadPattern(f"{written} matches nothing: speech is folded before the comparison, and has no such sign")

    def _read_charescape(self) -> tuple[str, int]:
        """Return the character that an escape stands for, and the escape's length."""
        sign = self._pattern[self._at + 1 : self._at + 2]
        if found := _HEX.match(self._pattern, self._at):
            code = int(next(digits for digits in found.groups() if digits), 16)
            if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
                raise BadPattern(f"{found[0]} is no character")
            return chr(code), len(found[0])
        if found := _OCTAL.match(self._pattern, self._at):
            return chr(int(found[1], 8)), len(found[0])
        if sign in _CONTROL_ESCAPES:
            return _CONTROL_ESCAPES[sign], 2
        if sign.isdecimal():
            raise BadPattern("backreferences are not supported: the search would not be linear")
        if sign == "C":
            raise BadPattern("\\C (one byte) is not supported: write . for one character")
        if not sign or sign.isalpha() or not sign.isascii():
            raise BadPattern(f"\\{sign} is no escape" if sign else "a backslash stands at the end")
        return sign, 2

    def _read_group(self) -> None:
        found = _GROUP.match(self._pattern, self._at)
        if found is None or (self._pattern[self._at + 1 : self._at + 2] == "?" and found[0] == "("):
            if self._pattern.startswith(("(?=", "(?!", "(?<=", "(?<!"), self._at):
                raise BadPattern("look-around is not supported: the search would not be linear")
            raise BadPattern(f"{self._pattern[self._at : self._at + 4]} begins no group")
        for flag in found["flags"] or "":
            if flag not in "isU-":
                raise BadPattern(_FORBIDDEN_FLAGS.get(flag, f"(?{flag}) is no flag: there are i, s and U"))
        self._has_case_flag |= "i" in (found["flags"] or "")
        self._emit(found[0], len(found[0]), may_repeat=False)

    def _read_class(self) -> None:
        """Read a class of characters, and write it with each of them folded."""
        is_negated = self._pattern.startswith("[^", self._at)
        at = begin = self._at + 1 + is_negated
        singles, parts, several = list[str](), list[str](), list[str]()
        has_blank = has_blank_class = False
        while True:
            if at >= len(self._pattern):
                raise BadPattern("[ has no ] behind it")
            sign = self._pattern[at]
            if sign == "]" and at > begin:
                break
            if posix := _POSIX.match(self._pattern, at):
                self._note_class(posix[1], posix[0])
                parts.append(posix[0])
                at = posix.end()
                continue
            if sign == "\\" and self._pattern[at + 1 : at + 2] in tuple("dDwWSpPs"):
                piece, length = self._read_classescape(at)
                has_blank_class |= piece == "\\s"
                parts.append(piece)
                at += length
                continue
            low, at = self._read_class_char(at)
            if (
                self._pattern.startswith("-", at)
                and not self._pattern.startswith("-]", at)
                and at + 1 < len(self._pattern)
            ):
                high, at = self._read_class_char(at + 1)
                parts.append(fold_range(low, high))
            elif low in BLANK_SIGNS:
                has_blank |= not is_negated or low == " "
            else:
                folded = fold_inside(low)
                (singles if len(folded) == 1 else several).append(folded)
        length = at + 1 - self._at
        if (
            not is_negated
            and (has_blank or has_blank_class)
            and not (singles or [p for p in parts if p != "\\s"] or several)
        ):
            self._emit_blank(length)
            return
        inner = "".join([*parts, *map(escape, singles), *([" "] if has_blank else [])])
        if is_negated:
            self._emit(f"[^{inner}]" if inner else "(?s:.)", length)
            return
        choices = [*([f"[{inner}]"] if inner else []), *(escape(text) for text in several if text)]
        self._emit(choices[0] if len(choices) == 1 and inner else f"(?:{'|'.join(choices)})", length)

    def _read_classescape(self, at: int) -> tuple[str, int]:
        if self._pattern[at + 1] in "pP":
            kept, self._at = self._at, at
            try:
                return self._read_property()
            finally:
                self._at = kept
        return self._pattern[at : at + 2], 2

    def _read_class_char(self, at: int) -> tuple[str, int]:
        """Return one character of a class, and the place behind it."""
        sign = self._pattern[at]
        if sign != "\\":
            return sign, at + 1
        if self._pattern[at + 1 : at + 2] in ("b", "B", "d", "D", "w", "W", "s", "S", "p", "P", "A", "z", "Q"):
            raise BadPattern(f"{self._pattern[at : at + 2]} cannot stand there in a class [...]")
        kept, self._at = self._at, at
        try:
            char, length = self._read_charescape()
        finally:
            self._at = kept
        return char, at + length
