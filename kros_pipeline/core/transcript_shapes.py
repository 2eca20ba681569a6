"""Read a transcript that is no text: a list of turns, an object around a text, or one around either."""

import json
from collections.abc import Mapping
from typing import Any

from .transcript_formats import find_turns

_WRAPPERS = ("transcript", "data", "result", "response", "text", "content", "transcription")
_MAX_DEPTH = 4


def read_transcript(value: object, depth: int = 0) -> str | None:
    """Return the text of a transcript; None where its shape is not clear, or it is empty.

    A list of turns becomes its JSON, in the order and with every field that came; `split_turns` reads it. A list of
    texts becomes lines.
    """
    if isinstance(value, str):
        return value or None
    if depth > _MAX_DEPTH:
        return None
    if isinstance(value, list):
        if value and all(isinstance(item, str) for item in value):
            return "\n".join(value) or None
        return _json_of(value) if find_turns(value) is not None else None
    if isinstance(value, Mapping):
        wrapped = [value[name] for name in _WRAPPERS if value.get(name)]
        if len(wrapped) == 1:
            return read_transcript(wrapped[0], depth + 1)
        if not wrapped and find_turns(value) is not None:
            return _json_of(value)
    return None


def holds_something(value: object) -> bool:
    """Return whether a JSON value holds anything that could be a transcript: a text, or a number, at any depth."""
    if isinstance(value, Mapping):
        return any(holds_something(item) for item in value.values())
    if isinstance(value, list):
        return any(holds_something(item) for item in value)
    return bool(value.strip()) if isinstance(value, str) else value is not None and not isinstance(value, bool)


def _json_of(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
