"""Generated blocks of files: everything between two marks is written by a program, the rest by hand."""

BEGIN, END = ">>> generated", "<<< generated"


def replace_block(text: str, block: str, name: str = "") -> str:
    """Return `text` with other lines between its marks; `name` follows the first mark where a file has several.

    Raises `ValueError` where the marks are missing.
    """
    lines = text.splitlines()
    begins = [number for number, line in enumerate(lines) if _is_mark(line, f"{BEGIN} {name}".strip())]
    if len(begins) != 1:
        raise ValueError(f"{len(begins)} lines have the mark {BEGIN} {name}")
    end = next(number for number in range(begins[0], len(lines)) if _is_mark(lines[number], END))
    return "\n".join([*lines[: begins[0] + 1], *block.rstrip("\n").splitlines(), *lines[end:], ""])


def _is_mark(line: str, mark: str) -> bool:
    """Return whether a line is this mark, in a comment of any language."""
    return line.removeprefix("<!--").removesuffix("-->").strip().lstrip("#- ") == mark
