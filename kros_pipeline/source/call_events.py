"""Parses the events of one call. Only the hangup causes are documented: fields have the names that APIs usually use.

Nothing of an event is lost: what is not understood goes to `extra`.
"""

from collections.abc import Collection, Mapping
from datetime import UTC, tzinfo
from typing import Any

from ..core.days import parse_time
from ..core.errors import UnexpectedResponse
from ..core.json_values import canonical_json, remove_urls
from ..core.transcripts import clean_text
from .api_errors import names_in
from .call_source import CallEvent

EVENT_FIELDS = ("events", "data", "timeline", "items")
"""The fields of an answer that may hold the list of events; none is documented."""
_NAME_FIELDS = ("type", "event", "name", "event_type")
_TIME_FIELDS = ("timestamp", "occurred_at", "created_at", "time", "at")
_CAUSE_FIELDS = ("hangup_cause", "cause", "reason")  # any text in the first, a documented cause in the others
_INNER_FIELDS = ("data", "details", "metadata", "payload")
_CAUSES = frozenset(
    ["normal_clearing", "user_hangup", "agent_hangup", "no_answer", "busy", "rejected", "network_error", "timeout"]
)  # Call logs page
_UNNAMED = "unnamed"


def parse_events(
    answer: Mapping[str, Any], *, zone: tzinfo | None = None, recording_hosts: Collection[str] = ()
) -> list[CallEvent]:
    """Parse the answer about one call's events, in its order.

    A time without a zone is meant in `zone`, or else in UTC. Raises `UnexpectedResponse` where there is no list.
    """
    for name in EVENT_FIELDS:
        value = answer.get(name)
        if isinstance(value, Mapping):  # wrapped once more
            value = next((value[inner] for inner in EVENT_FIELDS if isinstance(value.get(inner), list)), None)
        if isinstance(value, list):
            return [_parse_event(remove_urls(event, recording_hosts), zone or UTC) for event in value]
    raise UnexpectedResponse(f"the events of a call are in no known field: the answer has {names_in(answer)}")


def _parse_event(raw: object, zone: tzinfo) -> CallEvent:
    if not isinstance(raw, Mapping):
        if isinstance(raw, str) and raw.strip():
            return CallEvent(clean_text(raw), None, None, None)
        return CallEvent(_UNNAMED, None, None, canonical_json({"event": raw}))
    extra = dict(raw)
    name = _UNNAMED
    for field in _NAME_FIELDS:
        if isinstance(raw.get(field), str) and raw[field].strip():
            name = clean_text(extra.pop(field))
            break
    occurred_at = None
    for field in _TIME_FIELDS:
        if (occurred_at := parse_time(raw.get(field), zone)) is not None:
            del extra[field]
            break
    cause = _find_cause(raw)
    if cause is not None and extra.get("hangup_cause") == cause:
        del extra["hangup_cause"]
    cause = clean_text(cause) if cause is not None else None
    return CallEvent(name, occurred_at, cause, canonical_json(extra) if extra else None)


def _find_cause(raw: Mapping[str, Any]) -> str | None:
    """Return why the call ended, from the event or from an object in it; None where it does not say."""
    places = [raw, *(inner for field in _INNER_FIELDS if isinstance(inner := raw.get(field), Mapping))]
    for place in places:
        for field in _CAUSE_FIELDS:
            value = place.get(field)
            if isinstance(value, str) and value.strip() and (field == "hangup_cause" or value.lower() in _CAUSES):
                return value
    return None
