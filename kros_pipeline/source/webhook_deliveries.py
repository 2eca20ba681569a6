"""Parses webhook deliveries: which calls KrosAI said had completed.

Documented are the event's envelope, `{"id", "event", "timestamp", "data"}`, and three spellings of the event names. Not
documented are the row of a delivery, whether the list shows what was sent, and the `data` of an event. So every form
that is likely is read, and a row of any other form is a problem of its own: nothing is raised.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any

from ..core.call_statuses import is_completed
from ..core.days import parse_time
from ..core.json_values import finite_number
from ..core.transcripts import clean_text
from .call_source import Delivery, WebhookEvent
from .json_answers import parse_json

_Fields = Mapping[str, Any]

_LIST_FIELDS = ("data", "deliveries", "webhook_deliveries")
_DETAIL_FIELDS = ("delivery", "webhook_delivery", "data")
_PAYLOAD_FIELDS = ("payload", "request_body", "request_payload", "body", "request", "event")
_ROW_NAME_FIELDS = ("event", "event_type", "event_name")
_EVENT_NAME_FIELDS = (*_ROW_NAME_FIELDS, "type")
_ROW_TIME_FIELDS = ("created_at", "timestamp", "sent_at", "attempted_at", "delivered_at")
_EVENT_TIME_FIELDS = ("timestamp", "created_at")
_CALL_TIME_FIELDS = ("created_at", "started_at")
_MAX_WRAPPERS = 3  # `{"request": {"body": "{…}"}}` has two
_MAX_UNIX_SECONDS = 1e11  # a greater number counts milliseconds

_not_in_a_name = re.compile(r"[^a-z0-9]+")
_CALL_EVENTS = frozenset({"callcompleted", "callended"})
_PART_EVENTS = frozenset(
    {"recordingready", "callrecordingcompleted", "callrecordingready", "transcriptready", "transcriptioncompleted"}
)
"""The documented spellings, without their separators. Only a call that completed has a recording or a transcript."""


def find_rows(answer: _Fields) -> list[Any] | None:
    """Return the rows of a list of deliveries; None where the answer has none."""
    return next((answer[name] for name in _LIST_FIELDS if isinstance(answer.get(name), list)), None)


def parse_detail(answer: _Fields, *, zone: tzinfo | None = None) -> Delivery:
    """Parse the answer about one delivery, which may be wrapped in a field."""
    forms = [answer, *(form for name in _DETAIL_FIELDS if (form := _as_object(answer.get(name))) is not None)]
    parsed = [parse_delivery(form, zone=zone) for form in forms]
    best = next((delivery for delivery in parsed if delivery.event), None)
    best = best or next((delivery for delivery in parsed if not delivery.problem and not delivery.needs_detail), None)
    return best or Delivery(problem="the answer does not show what was sent")


def parse_delivery(row: object, *, zone: tzinfo | None = None) -> Delivery:
    """Parse one row of the list. Times without a zone are meant in `zone`; where no setting gives it, in UTC."""
    if not isinstance(row, Mapping):
        return Delivery(problem=f"a webhook delivery is a {type(row).__name__}, not an object")
    zone = zone or UTC
    payload = _payload_of(row)
    delivery_id, event_id = _id_in(row, "id", "delivery_id"), _id_in(row, "event_id")
    sent_at = _time_in(row, _ROW_TIME_FIELDS, zone) or _time_in(payload or {}, _EVENT_TIME_FIELDS, zone)

    def delivery(**facts: Any) -> Delivery:
        return Delivery(delivery_id, event_id, sent_at, **facts)

    names = list(_names_in(payload, row))
    name = next((name for name in names if name in _CALL_EVENTS or name in _PART_EVENTS), None)
    if name is None and names:
        return delivery()  # another event
    if payload is None:
        return delivery(**_ask_for(delivery_id))
    if name is None:
        return delivery(problem="the event has no name")
    data = _as_object(payload.get("data"))
    is_envelope = data is not None
    data = payload if data is None else data
    if is_completed(_text_in(data, "status") or _text_in(_call_in(data), "status")) is False:
        return delivery()
    call_id = _call_id_in(data, is_call=name in _CALL_EVENTS)
    if call_id is None:
        return delivery(**({"problem": "the event names no call"} if is_envelope else _ask_for(delivery_id)))
    event_id = (_id_in(payload, "id") if is_envelope else None) or event_id
    created_at = _time_in(data, _CALL_TIME_FIELDS, zone) if name in _CALL_EVENTS and is_envelope else None
    event = WebhookEvent(
        event_id or delivery_id or f"{name} {call_id}",
        call_id,
        created_at or _time_in(_call_in(data), _CALL_TIME_FIELDS, zone),
        _time_in(payload, _EVENT_TIME_FIELDS, zone) or sent_at,
    )
    return Delivery(delivery_id, event.event_id, sent_at, event)


def _ask_for(delivery_id: str | None) -> dict[str, Any]:
    if delivery_id is None:
        return {"problem": "the delivery shows neither what was sent nor an id"}
    return {"needs_detail": True}


def _payload_of(row: _Fields) -> _Fields | None:
    """Return what was sent: a field of the row, or the row itself where it is the event; None otherwise."""
    payload = row
    for _ in range(_MAX_WRAPPERS):
        inner = [found for name in _PAYLOAD_FIELDS if (found := _as_object(payload.get(name)))]
        if not inner:
            break
        payload = inner[0]
    return payload if payload is not row or _as_object(row.get("data")) else None


def _names_in(payload: _Fields | None, row: _Fields) -> Iterator[str]:
    """Yield the names of the event in lower case, and without separators, as payload and row have them."""
    for fields, name_fields in ((payload or {}, _EVENT_NAME_FIELDS), (row, _ROW_NAME_FIELDS)):
        for name in name_fields:
            if text := _text_in(fields, name):
                yield _not_in_a_name.sub("", text.lower())


def _call_in(data: _Fields) -> _Fields:
    return _as_object(data.get("call")) or {}


def _call_id_in(data: _Fields, *, is_call: bool) -> str | None:
    """Return the id of the event's call. The event's own `id`, or a recording's, is not taken for one."""
    call = _call_in(data)
    candidates = [data.get("call_id"), data.get("callId"), call.get("id"), call.get("call_id")]
    if is_call:
        candidates.append(data.get("id"))
    texts = [text for text in candidates if isinstance(text, str) and text.strip() and text == clean_text(text)]
    return next((text for text in texts if not text.startswith("evt_")), None)


def _as_object(value: object) -> _Fields | None:
    """Return a JSON object, also one that is the text of another field; None for anything else."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            value = parse_json(value.encode("utf-8", "surrogatepass"))
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, Mapping) else None


def _text_in(fields: _Fields, name: str) -> str | None:
    value = fields.get(name)
    return value if isinstance(value, str) and value.strip() else None


def _id_in(fields: _Fields, *names: str) -> str | None:
    """Return the first id, as a text. One that is a number counts: it only has to be repeated."""
    for name in names:
        value = fields.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if isinstance(value, str) and value.strip():
            return clean_text(value)
    return None


def _time_in(fields: _Fields, names: Sequence[str], zone: tzinfo) -> datetime | None:
    return next((time for name in names if (time := _parse_moment(fields.get(name), zone)) is not None), None)


def _parse_moment(value: object, zone: tzinfo) -> datetime | None:
    """Parse a time: ISO 8601, or a number of seconds or milliseconds since 1970."""
    if isinstance(value, str):
        return parse_time(value, zone)
    number = finite_number(value)
    if number is None:
        return None
    try:
        return datetime.fromtimestamp(number / 1_000 if abs(number) > _MAX_UNIX_SECONDS else number, UTC)
    except (ValueError, OverflowError, OSError):
        return None
