"""Split transcripts that are written in another format: subtitles (WebVTT, SubRip) and JSON turns.

A format is read only where it is unmistakable. Anything else is split by the labels of its lines.
"""

import html
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from .label_lines import read_label
from .speaker_roles import SpeakerRoles
from .statuses import Speaker

Span: TypeAlias = tuple[Speaker, str | None, str, int, int, float | None]
"""The fields of a `Turn` from `speaker` on, as a tuple: millions of them are made, and an object each is too slow."""

_TEXT_KEYS = ("text", "content", "message", "utterance", "transcript", "sentence", "speech", "body")
_SPEAKER_KEYS = ("speaker", "role", "label", "speaker_label", "speaker_name", "speakerLabel", "speakerName",
                 "participant", "name", "from", "sender", "who", "channel")  # fmt: skip
_SECONDS_KEYS = ("start", "start_time", "startTime", "start_seconds", "startSeconds", "start_sec", "secondsFromStart",
                 "begin", "offset", "timestamp", "time")  # fmt: skip
_MILLISECONDS_KEYS = ("start_ms", "startMs", "start_time_ms", "offset_ms", "startMillis")
_LIST_KEYS = ("turns", "transcript", "messages", "utterances", "segments", "entries", "items", "conversation",
              "dialogue", "dialog", "results", "transcripts", "lines", "data")  # fmt: skip
_MOST_SECONDS = 1_000_000  # more is a time of the calendar
_DECODER = json.JSONDecoder(strict=False)
_JSON_BEGIN = re.compile(r"[\s\ufeff]*(?:\[[\s]*\{|\{\s*\")")
_BLANK = re.compile(r"[\s\ufeff]*")
_CUE_TIME = re.compile(
    r"(?:(\d{1,3}):)?(\d{1,2}):(\d\d)[.,](\d{1,3})[ \t]+-->[ \t]+"
    r"(?:\d{1,3}:)?\d{1,2}:\d\d[.,]\d{1,3}[^\r\n]*(?:\r\n|\n|\r|\Z)"
)
_VTT_BEGIN = re.compile(r"\ufeff?WEBVTT(?=[ \t\r\n])")
_SRT_BEGIN = re.compile(r"[\s\ufeff]*\d{1,6}[ \t]*(?:\r\n|\n|\r)" + _CUE_TIME.pattern)
_VOICE = re.compile(r"<v(?:\.[^\s>]*)?[ \t]+([^>\r\n]{1,100})>")
_CUE_TAG = re.compile(r"</?(?:v|c|i|b|u|ruby|rt|lang)(?:[.\s][^>\r\n]*)?>|<\d[\d:.]*>")
_LONGEST_CUE_NAME = 300


def read_format(text: str, roles: SpeakerRoles) -> list[Span] | None:
    """Split a text in a known format into spans; None where it is in none of them."""
    first = text[:1]
    if first.isalpha() and not text.startswith("WEBVTT"):
        return None
    if _JSON_BEGIN.match(text):
        return _read_json(text, roles)
    if _VTT_BEGIN.match(text) or (first != "[" and _SRT_BEGIN.match(text)):
        return _read_cues(text, roles)
    return None


def find_turns(value: object) -> list[Mapping[str, Any]] | None:
    """Return the turns of a JSON value, if it is a list of them, or an object with one such list."""
    if isinstance(value, Mapping):
        lists = [value[key] for key in _LIST_KEYS if isinstance(value.get(key), list)]
        return find_turns(lists[0]) if len(lists) == 1 else None
    if not isinstance(value, list) or not value or not all(isinstance(item, Mapping) for item in value):
        return None
    if not all(_speaker_in(item) is not None or _text_in(item) is not None for item in value):
        return None
    return value if any(_text_in(item) for item in value) else None


def names_speakers(turns: list[Mapping[str, Any]]) -> bool:
    """Return whether a turn of a list says who speaks."""
    return any(_speaker_in(turn) is not None for turn in turns)


def _text_in(item: Mapping[str, Any]) -> str | None:
    return next((item[key] for key in _TEXT_KEYS if isinstance(item.get(key), str)), None)


def _speaker_in(item: Mapping[str, Any]) -> str | None:
    for key in _SPEAKER_KEYS:
        value = item.get(key)
        if isinstance(value, Mapping):
            value = next((value[name] for name in ("role", "name", "label") if isinstance(value.get(name), str)), None)
        if isinstance(value, str) and value.strip():
            return value.strip()
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
    return None


def _seconds_in(item: Mapping[str, Any]) -> float | None:
    for key in (*_SECONDS_KEYS, *_MILLISECONDS_KEYS):
        value = item.get(key)
        if isinstance(value, str):
            parts = re.fullmatch(
                r"(?:(\d{1,3}):)?(\d{1,3}):(\d\d(?:[.,]\d+)?)|(\d+(?:\.\d+)?)s?", value.strip(), re.ASCII
            )
            if parts is None:
                continue
            hours, minutes, seconds, plain = parts.groups()
            value = (
                float(plain) if plain else int(hours or 0) * 3600 + int(minutes) * 60 + float(seconds.replace(",", "."))
            )
        if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
            number = value / 1000 if key in _MILLISECONDS_KEYS else float(value)
            if number < _MOST_SECONDS:
                return number
    return None


def _read_json(text: str, roles: SpeakerRoles) -> list[Span] | None:
    try:
        turns = find_turns(_DECODER.decode(text.lstrip("\ufeff").strip("\ufeff \t\r\n")))
        places = list(_item_places(text)) if turns is not None else []
    except (ValueError, RecursionError):
        return None
    if turns is None or len(places) != len(turns):
        return None
    begins = [0, *places[1:], len(text)]
    spans: list[Span] = []
    for index, turn in enumerate(turns):
        label = _speaker_in(turn)
        speaker = Speaker.UNKNOWN if label is None else roles.speaker_of(label)
        speech = (_text_in(turn) or "").strip()
        spans.append((speaker, label, speech, begins[index], begins[index + 1], _seconds_in(turn)))
    return spans


def _item_places(text: str) -> Iterator[int]:
    """Yield where each item of the list of turns begins in the JSON text."""
    at = _skip(text, 0)
    while text[at] == "{":  # to the one list in the object
        at = _skip(text, at + 1)
        while True:
            key, at = _DECODER.raw_decode(text, at)
            at = _skip(text, _skip(text, at) + 1)
            value, end = _DECODER.raw_decode(text, at)
            if key in _LIST_KEYS and isinstance(value, list):
                break
            at = _skip(text, _skip(text, end) + 1)
    at = _skip(text, at + 1)
    while text[at] != "]":
        yield at
        _, end = _DECODER.raw_decode(text, at)
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    blank = _BLANK.match(text, at)
    return blank.end() if blank else at


def _read_cues(text: str, roles: SpeakerRoles) -> list[Span] | None:
    """Split subtitles into a turn for each cue; None where no cue says who speaks."""
    times = list(_CUE_TIME.finditer(text))
    spans: list[Span] = []
    begins = [_begin_of_cue(text, time.start()) for time in times]
    ends = [*begins[1:], len(text)]
    for index, time in enumerate(times):
        end = ends[index]
        speaker, label, speech = _read_cue(text[time.end() : end], roles)
        hours, minutes, seconds, fraction = time.groups()
        start = int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds) + float(f"0.{fraction}")
        spans.append((speaker, label, speech, begins[index] if index else 0, end, start))
    return spans if any(span[1] is not None for span in spans) else None


def _begin_of_cue(text: str, time: int) -> int:
    """Return where a cue begins: before its number or name, which has a line of its own behind a blank one."""
    before = text[max(0, time - _LONGEST_CUE_NAME) : time]
    *_, blank, name = ["", *before.splitlines()]
    return time - len(before) + before.rindex(name) if name.strip() and not blank.strip() else time


def _read_cue(payload: str, roles: SpeakerRoles) -> tuple[Speaker, str | None, str]:
    voices = _VOICE.findall(payload)
    speech = html.unescape(_CUE_TAG.sub("", payload)).strip()
    names = {voice.strip() for voice in voices}
    if len(names) == 1:
        name = names.pop()
        return roles.speaker_of(name), name, speech
    if names:
        return Speaker.UNKNOWN, None, speech
    label = read_label(speech, 0, len(speech.split("\n", 1)[0]), roles)
    if label is not None and (label.opener or roles.is_known(label.name)):
        return label.speaker, label.name, speech[label.speech_begin :].strip()
    return Speaker.UNKNOWN, None, speech
