"""Render calls as the API's JSON. Each call is rendered once and cached; a new URL is inserted each time."""

from __future__ import annotations

import json
from typing import Any

from .calls import Call
from .faults import MALFORMED
from .transcripts import remove_labels, shorten, write_transcript
from .world import World, format_time

_URL_MARK = "\x00recording url\x00"


def to_json(value: Any) -> bytes:
    """Encode JSON in UTF-8. If UTF-8 cannot encode the text (a lone surrogate), all non-ASCII text is escaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()


_JSON_URL_MARK = to_json(_URL_MARK)[1:-1]


class Renderer:
    """Renders the calls of one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._parts: dict[tuple[str, str, bool], tuple[bytes, bytes]] = {}

    def render(self, call: Call) -> bytes:
        """Render the call object of the list and of `/calls/{id}`."""
        has_recording = self._world.has_recording(call)
        key = call.id, call.status, self._world.is_ready(call) and call.id not in self._world.deleted
        if key not in self._parts:
            head, _, tail = to_json(self._fields(call)).partition(_JSON_URL_MARK)
            self._parts[key] = head, tail
        head, tail = self._parts[key]
        if not has_recording or call.listed_recording != "url":
            return head
        return b"".join((head, self._world.mint_url(call.id).encode(), tail))

    def render_malformed(self, call: Call, how: str | None) -> bytes:
        """Render the call as a malformed row; `how` is one of MALFORMED, or None to choose one by the id."""
        how = how or MALFORMED[sum(call.id.encode(errors="surrogatepass")) % len(MALFORMED)]
        row = self._fields(call) | {"recording_url": None}
        match how:
            case "missing_id":
                del row["id"]
            case "id_not_text":
                row["id"] = 12345
            case "missing_created_at":
                del row["created_at"]
            case "unreadable_created_at":
                row["created_at"] = "yesterday at noon"
            case "not_an_object":
                return to_json(f"call {call.id}")
            case _:
                raise ValueError(f"list_malformed must be one of {', '.join(MALFORMED)}, not {how!r}")
        return to_json(row)

    def _fields(self, call: Call) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "id": call.id,
            "from_number": call.from_number,
            "to_number": call.to_number,
            "direction": call.direction,
            "status": call.status,
            "duration": call.duration_seconds,
            "cost_cents": -(-call.duration_seconds // 60) * 4,
            "endpoint_id": call.endpoint_id,
            "phone_number_id": call.phone_number_id,
        }
        if call.listed_recording != "absent":
            shown = call.listed_recording == "url" and self._world.has_recording(call)
            fields["recording_url"] = _URL_MARK if shown else None
        if call.listed_transcript != "absent":
            fields["transcript"] = self._listed_transcript(call) if self._world.is_ready(call) else None
        return fields | {
            "created_at": format_time(call.created_at),
            "answered_at": call.answered_at and format_time(call.answered_at),
            "completed_at": call.completed_at and format_time(call.completed_at),
            **call.extra,
        }

    def _listed_transcript(self, call: Call) -> str | None:
        if call.script is None or call.listed_transcript == "null":
            return None
        text = write_transcript(call.script)
        match call.listed_transcript:
            case "unlabelled":
                return remove_labels(text)
            case "shortened":
                return shorten(text, dots="...")
            case "shortened…":
                return shorten(text, dots="…")
            case _:
                return text
