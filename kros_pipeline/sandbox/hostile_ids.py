"""Make call ids that break a path, a key, a query or a log line that does not encode them."""

from __future__ import annotations

import unicodedata

_HOSTILE = (
    "../../etc/passwd",
    "call/with/slashes",
    "/leading-slash",
    "trailing-slash/",
    "a//b",
    "call..dots..",
    ".hidden",
    "..",
    "a/../b",
    "%2F",
    "call%2Fencoded",
    "100%",
    "a b  c",
    " leading space",
    "trailing space ",
    "plus+and&and=and?and#and;",
    'double"quote',
    "single'quote",
    "back\\slash",
    "new\nline",
    "tab\there",
    "call_ABC",
    "call_abc",
    "Call_Abc",
    unicodedata.normalize("NFC", "café"),
    unicodedata.normalize("NFD", "café"),
    "电话_日本",
    "مكالمة",
    "emoji_😀",
    "right-to-left_\u202egpj.exe",
    "<script>alert(1)</script>",
    "dt=2025-01-10",
    "s3://kros-archive/audio",
    "-rf",
    "CON",
    "x" * 600,
    "语" * 200,
)


def hostile_id(number: int, unique: str, *, is_bare: bool) -> str:
    """Make the `number`-th id of a day. It ends in `unique`, unless `is_bare` and it is the first of its kind."""
    return _HOSTILE[number % len(_HOSTILE)] + ("" if is_bare and number < len(_HOSTILE) else unique)
