"""Calls as they come through the door: parsed once, from the raw JSON of KrosAI's list, and typed from there on."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import date, datetime
from typing import Any

from ..core.days import parse_time
from ..core.transcripts import clean_text, is_whole

_TEXT_FIELDS = (
    "organization_id",
    "status",
    "direction",
    "from_number",
    "to_number",
    "endpoint_id",
    "phone_number_id",
)
_NUMBER_FIELDS = {"duration": "duration_seconds", "cost_cents": "cost_cents"}
_TIME_FIELDS = ("answered_at", "completed_at")
_MOST_DEPTH = 100  # of the JSON in `extra`: what is nested deeper would end the reading of the whole page
_PRESIGNED = re.compile(
    r"(?i)://.*[?&](x-(amz|goog)-[a-z-]+|signature|sig|token|key-pair-id|awsaccesskeyid|policy|expires)=", re.DOTALL
).search
_NEVER_KEPT = "recording_url"  # a bearer secret for an hour, and useless after it


class MalformedCall(ValueError):
    """A row of the list that cannot be kept as a call; the message names the field."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call, as the list showed it. The fields are the columns of the table `calls`, in its order.

    `extra` is the JSON of every field that has no column, and of every column's value that was of an
    unexpected type; URLs of recordings are never in it.
    """

    call_id: str
    call_date: date
    organization_id: str | None
    status: str | None
    direction: str | None
    from_number: str | None
    to_number: str | None
    duration_seconds: float | None
    cost_cents: float | None
    endpoint_id: str | None
    phone_number_id: str | None
    created_at: datetime
    answered_at: datetime | None
    completed_at: datetime | None
    has_recording: bool
    listed_transcript: str | None
    extra: str | None
    listed_at: datetime


@dataclass(frozen=True, slots=True)
class ListedCall:
    """A call and the presigned URL that came with it. The URL lives as long as this object and is stored nowhere."""

    call: Call
    recording_url: str | None

    def __repr__(self) -> str:  # the URL is a secret; a traceback or a log line must not show it
        return f"ListedCall({self.call.call_id!r})"


def parse_listed_call(raw: object, *, organization_id: str | None, now: datetime) -> ListedCall:
    """Parses one row of `GET /calls`.

    An id and a readable `created_at` are all that a row needs: without the first it cannot be named, without the
    second no day owns it. Any other field of an unexpected type is null in its column and whole in `extra`.
    Raises `MalformedCall`, which names the field and never shows its value.
    """
    if not isinstance(raw, Mapping):
        raise MalformedCall(f"a row of the list is a {type(raw).__name__}, not an object")
    call_id = raw.get("id")
    if not isinstance(call_id, str) or not call_id.strip():
        raise MalformedCall("field 'id' is missing, empty or not a string")
    if call_id != clean_text(call_id):
        raise MalformedCall("field 'id' is not valid Unicode")
    created_at = parse_time(raw.get("created_at"))
    if created_at is None:
        raise MalformedCall("field 'created_at' is missing or not an ISO 8601 time")

    extra = {key: value for key, value in raw.items() if key not in _KNOWN_FIELDS}
    columns: dict[str, Any] = {}
    for name in _TEXT_FIELDS:
        value = raw.get(name)
        columns[name] = clean_text(value) if isinstance(value, str) else None
        if value is not None and columns[name] is None:
            extra[name] = value
    for name, column in _NUMBER_FIELDS.items():
        columns[column] = finite_number(raw.get(name))
        if raw.get(name) is not None and columns[column] is None:
            extra[name] = raw[name]
    for name in _TIME_FIELDS:
        columns[name] = parse_time(raw.get(name))
        if raw.get(name) is not None and columns[name] is None:
            extra[name] = raw[name]
    transcript = raw.get("transcript")
    columns["listed_transcript"] = clean_text(transcript) if isinstance(transcript, str) and transcript else None
    if transcript is not None and not isinstance(transcript, str):
        extra["transcript"] = transcript
    columns["organization_id"] = columns["organization_id"] or organization_id
    url = raw.get(_NEVER_KEPT)
    recording_url = url if isinstance(url, str) and url.strip() else None

    call = Call(
        call_id=call_id,
        call_date=created_at.date(),
        created_at=created_at,
        has_recording=recording_url is not None,
        extra=canonical_json(without_urls(extra)) if extra else None,
        listed_at=now,
        **columns,
    )
    return ListedCall(call, recording_url)


def merge_calls(old: Call, new: Call) -> Call:
    """What is known of a call after it was listed again: newer values win, but nothing known is ever unlearned.

    A value that became null, a recording that is gone, or a text that became shorter upstream does not take away
    what the archive holds. `listed_at` moves only when something else did, so that an unchanged day stays byte-equal.
    """
    changes: dict[str, Any] = {}
    for field in fields(Call):
        known, seen = getattr(old, field.name), getattr(new, field.name)
        if field.name != "listed_at" and seen is not None and seen != known:
            changes[field.name] = seen
    if old.has_recording:
        changes.pop("has_recording", None)
    if "listed_transcript" in changes and _tells_less(changes["listed_transcript"], old.listed_transcript):
        del changes["listed_transcript"]
    if "extra" in changes and old.extra is not None:
        known = json.loads(old.extra)
        seen = json.loads(changes["extra"])
        changes["extra"] = canonical_json(seen | known | {key: seen[key] for key in seen if seen[key] is not None})
        if changes["extra"] == old.extra:
            del changes["extra"]
    return replace(old, **changes, listed_at=new.listed_at) if changes else old


def canonical_json(value: object) -> str:
    """JSON with sorted keys and nothing that Parquet, RE2 or a strict reader would refuse."""
    return clean_text(json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")))


def without_urls(value: Any, depth: int = 0) -> Any:
    """The same JSON value without any recording URL, at any depth; other presigned URLs lose their query."""
    if depth > _MOST_DEPTH:
        return "(nested too deep)"
    if isinstance(value, Mapping):
        return {str(key): without_urls(item, depth + 1) for key, item in value.items() if key != _NEVER_KEPT}
    if isinstance(value, list):
        return [without_urls(item, depth + 1) for item in value]
    if isinstance(value, str) and _PRESIGNED(value):
        return value.partition("?")[0]
    if isinstance(value, float) and not math.isfinite(value):
        return None  # NaN is not JSON
    return value


def _tells_less(seen: str, known: str | None) -> bool:
    """Whether a text is a worse copy of the known one: its labels, or its end, are gone."""
    if known is None or is_whole(known) != is_whole(seen):
        return is_whole(known)
    return len(seen) < len(known) and known.startswith(seen.rstrip().rstrip(".…"))


def finite_number(value: object) -> float | None:
    """A number, or a text that is one, as a float; None for anything else, infinity and NaN among it."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


_KNOWN_FIELDS = {"id", "created_at", "transcript", _NEVER_KEPT, *_TEXT_FIELDS, *_NUMBER_FIELDS, *_TIME_FIELDS}
