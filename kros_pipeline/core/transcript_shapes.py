"""Read a transcript that is no text: a list of turns, an object around a text, or one around either."""

import json
from collections.abc import Collection, Mapping
from typing import Any

from .json_values import remove_urls
from .transcript_formats import find_turns, names_speakers
from .transcripts import is_labelled

_WRAPPERS = ("transcript", "data", "result", "response", "text", "content", "transcription")
_MAX_DEPTH = 4


def read_transcript(value: object, hosts: Collection[str] = (), depth: int = 0) -> str | None:
    """Return the text of a transcript; None where its shape is not clear, or it is empty.

    A list of turns becomes its JSON, in the order and with every field that came; `split_turns` reads it. Only what
    grants access to a recording is left out: `hosts` are those of recordings. A list of texts becomes lines. Where an
    object has a text without labels and a list of turns with speakers, the turns are read.
    """
    if isinstance(value, str):
        return value or None
    if depth > _MAX_DEPTH:
        return None
    if isinstance(value, list):
        if value and all(isinstance(item, str) for item in value):
            return "\n".join(value) or None
        return _json_of(value, hosts) if find_turns(value) is not None else None
    if isinstance(value, Mapping):
        wrapped = [value[name] for name in _WRAPPERS if value.get(name)]
        turns = find_turns(value)
        if len(wrapped) == 1:
            text = read_transcript(wrapped[0], hosts, depth + 1)
            is_poorer = turns is not None and names_speakers(turns) and text is not None and not is_labelled(text)
            return _json_of(value, hosts) if is_poorer else text
        if not wrapped and turns is not None:
            return _json_of(value, hosts)
    return None


def holds_something(value: object) -> bool:
    """Return whether a JSON value holds anything that could be a transcript: a text, or a number, at any depth."""
    if isinstance(value, Mapping):
        return any(holds_something(item) for item in value.values())
    if isinstance(value, list):
        return any(holds_something(item) for item in value)
    return bool(value.strip()) if isinstance(value, str) else value is not None and not isinstance(value, bool)


def _json_of(value: Any, hosts: Collection[str]) -> str:
    return json.dumps(remove_urls(value, hosts), ensure_ascii=False)
