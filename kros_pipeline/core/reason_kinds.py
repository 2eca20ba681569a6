"""Group the reasons of many calls by their kind, so that a sentence about a day can say how often each was met."""

import re
from collections import Counter

from .two_answers import FirstAnswer

_MAX_KINDS = 3
_MAX_CHARACTERS = 80
_STATUS = re.compile(r"\b(?:answered|status) (\d{3})\b")
_NUMBERS = re.compile(r"(?<![A-Za-z\d])\d(?:[\d,.]*\d)?")  # not that of MP3
_OF_A_CALL = re.compile(r"/calls/[^/\s:]+")
_ID = re.compile(r"(?<![\w-])(?=[\w-]*\d)(?=[\w-]*[A-Za-z])[\w-]{8,}")  # of a call or a request, in upstream's words
_PLACE = re.compile(r" at byte … of …")


def kind_of_reason(reason: str | None) -> str:
    """Return what a reason has in common with those of other calls: no size, no time, no id, and one clause only.

    The status of an answer stays: 403 and 404 ask for different things.
    """
    text = (reason or "no reason is recorded").strip()
    text = text.removeprefix(f"{FirstAnswer.parse(text)}; ")
    text = _OF_A_CALL.sub("/calls/…", text)
    statuses = iter(_STATUS.findall(text))
    text = _STATUS.sub(lambda match: match[0].replace(match[1], "#"), text)
    text = _ID.sub("…", text)
    text = _PLACE.sub("", _NUMBERS.sub("…", text))
    text = re.sub("#", lambda _: next(statuses, "#"), text)
    text = text.split("; ")[0].rstrip(".")
    return text if len(text) <= _MAX_CHARACTERS else f"{text[: _MAX_CHARACTERS - 1]}…"


def describe_kinds(kinds: Counter[str]) -> str:
    """Return `3 × not a whole MP3: …, 2 × the storage answered 403`: the most frequent first, and the rest counted."""
    ordered = sorted(kinds.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{count} × {kind}" for kind, count in ordered[:_MAX_KINDS]]
    rest = sum(count for _, count in ordered[_MAX_KINDS:])
    return ", ".join([*shown, *([f"{rest} × other reasons"] if rest else [])])
