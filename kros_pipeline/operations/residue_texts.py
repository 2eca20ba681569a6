"""Takes apart what the residue search reads: JSON values, sentences, lines with fields, and lines of any length."""

import re
from collections.abc import Iterator
from typing import IO, Any

_MIN_CHARACTERS = 4
_ENCODED_KEY = re.compile(r"sha256\.[a-z2-7]{52}")
_WORD = re.compile(r"[^\s,;\"'()<>]{4,}")  # an id that is not plain, in a sentence
_FIELD_ENDS = re.compile(r"[\t,;:=|\"'()<>\[\]{}]")  # of CSV, of JSON that was cut, and of the like
_MAX_LINE_BYTES = 1 << 20
_OVERLAP_BYTES = 4 << 10  # more than an id takes


def texts_in(value: Any) -> Iterator[str]:
    """Yield every text in a JSON value or in one of Arrow's, names of fields included, however deep it is nested."""
    rest = [value]
    while rest:
        one = rest.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, bytes):
            yield one.decode(errors="replace")
        elif isinstance(one, dict):
            rest += one.keys()
            rest += one.values()
        elif isinstance(one, (list, tuple)):
            rest += one


def integers_in(value: Any) -> Iterator[int]:
    """Yield every integer in a JSON value: a phone number may be one. An id is none: a count would pass for it."""
    rest = [value]
    while rest:
        one = rest.pop()
        if isinstance(one, int):
            yield one
        elif isinstance(one, dict):
            rest += one.values()
        elif isinstance(one, (list, tuple)):
            rest += one


def find_encoded_keys_and_words(text: str) -> Iterator[str]:
    """Yield what may be an encoded key, or an id that is not plain, in a sentence or a path."""
    yield from _ENCODED_KEY.findall(text)
    for word in _WORD.findall(text):
        yield word
        if len(bare := word.rstrip(".:!?")) >= _MIN_CHARACTERS:
            yield bare


def fields_of(line: str) -> Iterator[str]:
    """Yield the fields of a line of CSV or the like, without the blanks around them."""
    return filter(None, (field.strip() for field in _FIELD_ENDS.split(line)))


def lines_of(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the lines of a file; a very long one in parts that overlap, so that each name is whole in one of them."""
    while line := file.readline(_MAX_LINE_BYTES):
        yield line
        if len(line) == _MAX_LINE_BYTES and not line.endswith(b"\n"):
            file.seek(-_OVERLAP_BYTES, 1)
