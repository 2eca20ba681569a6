"""Split what the residue search reads: columns, JSON values, sentences, lines with fields, and lines of any length."""

import io
import re
from collections.abc import Iterator
from typing import IO, Any, cast

import pyarrow as pa

MIN_CHARACTERS = 4
"""Of an id that is found within a text. A shorter one, such as 7, is only found as a whole text."""
_ENCODED_KEY = re.compile(r"sha256\.[a-z2-7]{52}")
_WORD = re.compile(rf"[^\s,;\"'()<>]{{{MIN_CHARACTERS},}}")  # an id that is not plain, in a sentence
_FIELD_ENDS = re.compile(r"[\t,;:=|\"'()<>\[\]{}]")  # of CSV, of JSON that was cut, and of the like
_MAX_LINE_BYTES = 1 << 20
_BUFFER_BYTES = 8 << 20
_OVERLAP_BYTES = 4 << 10  # more than an id takes


def is_time(kind: pa.DataType) -> bool:
    """Return whether a column's values are dates, times or durations."""
    return bool(pa.types.is_temporal(kind.value_type if pa.types.is_dictionary(kind) else kind))


def values_in_column(column: pa.Array) -> Iterator[object]:
    """Yield the values of a column of any type; of a nested one its parts and the names of its fields.

    Times are left out: they name nobody, and Python has none beyond the year 9999, nor nanoseconds.
    """
    kind = column.type
    if isinstance(column, pa.ExtensionArray):
        yield from values_in_column(column.storage)
    elif isinstance(column, pa.DictionaryArray):
        yield from values_in_column(column.dictionary)
    elif isinstance(column, pa.StructArray):
        yield from (field.name for field in kind)
        for part in column.flatten():
            yield from values_in_column(part)
    elif isinstance(column, pa.MapArray):
        yield from values_in_column(column.keys)
        yield from values_in_column(column.items)
    elif hasattr(column, "flatten") and pa.types.is_nested(kind):
        yield from values_in_column(column.flatten())
    elif not is_time(kind):
        yield from column.to_pylist()


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
        if len(bare := word.rstrip(".:!?")) >= MIN_CHARACTERS:
            yield bare


def fields_of(line: str) -> Iterator[str]:
    """Yield the fields of a line of CSV or the like, without the blanks around them."""
    return filter(None, (field.strip() for field in _FIELD_ENDS.split(line)))


def lines_of(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the lines of a file; a very long one in parts that overlap, so that each name is whole in one of them."""
    buffered = io.BufferedReader(cast(io.RawIOBase, file), _BUFFER_BYTES)  # each read of an object is a request
    while line := buffered.readline(_MAX_LINE_BYTES):
        yield line
        if len(line) == _MAX_LINE_BYTES and not line.endswith(b"\n"):
            buffered.seek(-_OVERLAP_BYTES, 1)
