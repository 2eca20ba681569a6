"""Parses the JSON of an answer so that one bad value spoils itself only, and not the page of calls that it is in.

A page was lost whole, and its day with it, to one integer of 5,000 digits, one list that was nested 1,000 deep, or one
byte that is not UTF-8. Each stands in a free field (`metadata`) that nobody reads.
"""

import json
import re

MAX_DEPTH = 200  # Python's parser gives up at about 1,000, less what the stack holds already
TOO_DEEP = "(nested too deep)"
_MAX_INTEGER_DIGITS = 4_000  # Python refuses to convert more than 4,300
_TOKENS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.DOTALL)


def parse_json(body: bytes) -> object:
    """Parse JSON. Raises `ValueError` where it is none.

    Bytes that are not UTF-8 become U+FFFD, an integer of more than 4,000 digits becomes a text, and what is nested more
    than 200 deep becomes `(nested too deep)`. Control characters in strings are accepted.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = body.decode("utf-8-sig", "replace")
    try:
        return _loads(text)
    except RecursionError:
        return _loads(_cut_depth(text))


def _loads(text: str) -> object:
    value: object = json.loads(text, strict=False, parse_int=_parse_integer)
    return value


def _parse_integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= _MAX_INTEGER_DIGITS else digits


def _cut_depth(text: str) -> str:
    """Replace every list or object that is nested too deep by a text, in linear time."""
    kept: list[str] = []
    depth = kept_until = 0
    for token in _TOKENS.finditer(text):
        mark = token[0]
        if mark in "[{":
            depth += 1
            if depth == MAX_DEPTH + 1:
                kept.append(text[kept_until : token.start()])
        elif mark in "]}":
            if depth == MAX_DEPTH + 1:
                kept.append(json.dumps(TOO_DEEP))
                kept_until = token.end()
            depth -= 1
    if depth > MAX_DEPTH:
        raise ValueError("JSON that does not end")
    return "".join([*kept, text[kept_until:]])
