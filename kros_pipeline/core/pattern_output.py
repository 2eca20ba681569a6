"""Write a folded pattern for the engine: literal characters, ranges, and blanks; blanks side by side are one."""

from dataclasses import dataclass, field

from .pattern_engine import BadPattern
from .text_folding import fold_inside

BLANK_SIGNS = frozenset("\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f\x20\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000") | frozenset(
    map(chr, range(0x2000, 0x200B))
)
_META = frozenset("\\.+*?()|[]{}^$&-~")


@dataclass
class FoldedPattern:
    """A pattern for the engine, and whether it looks at a text's begin or end, or at the bounds of words."""

    text: str = ""
    looks_at_begin: bool = False
    looks_at_end: bool = False
    looks_at_bounds: bool = False


@dataclass
class PatternOutput:
    """The pieces of the folded pattern; a blank is held until it is known whether another one follows."""

    pieces: list[str] = field(default_factory=list)
    blank: str | None = None  # "" for one that may be missing, " " for one that must be there

    def add(self, piece: str) -> None:
        """Add a piece that is no blank."""
        self._write_blank()
        self.pieces.append(piece)

    def add_blank(self, *, is_optional: bool) -> None:
        """Add a blank; several side by side are one, and one of them that must be there is enough."""
        self.blank = " " if not is_optional or self.blank == " " else ""

    def finish(self) -> str:
        """Return the whole pattern."""
        self._write_blank()
        return "".join(self.pieces)

    def _write_blank(self) -> None:
        if self.blank is not None:
            self.pieces.append(" " if self.blank else " ?")
            self.blank = None


def fold_range(low: str, high: str) -> str:
    """Return a range of a class with both of its ends folded."""
    if low > high:
        raise BadPattern(f"the range {low}-{high} is reversed")
    folded = [fold_inside(char) if char not in BLANK_SIGNS else char for char in (low, high)]
    if any(len(end) != 1 for end in folded) or folded[0] > folded[1]:
        raise BadPattern(
            f"the range {low}-{high} has an end that is folded before the comparison: write its characters"
        )
    return escape(folded[0]) if folded[0] == folded[1] else f"{escape(folded[0])}-{escape(folded[1])}"


def may_be_missing(quantifier: str) -> bool:
    """Return whether what is repeated may be there no times."""
    return quantifier[0] in "*?" or quantifier.startswith(("{0", "{,"))


def escape(text: str) -> str:
    """Return a text as a pattern that matches it and nothing else."""
    return "".join(
        "\\" + char if char in _META else f"\\x{{{ord(char):x}}}" if ord(char) < 32 else char for char in text
    )
