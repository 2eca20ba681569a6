"""Render calls as the API's JSON. Each call is rendered once and cached; a new URL is inserted each time."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

from .calls import Call
from .transcripts import remove_labels, shorten, write_transcript
from .world import World, format_time

_URL_MARK = "\x00recording url\x00"
_HEAVY_MARK = "\x00heavy\x00"
_HEAVY_JSON = {
    "huge_integer": b"7" * 5_000,
    "deep": b"[" * 1_000 + b"]" * 1_000,
    "many_schemes": b'"%s"' % (b"://" * 40_000),
}
"""JSON that Python's encoder refuses to write or its decoder to read."""


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
        self._config = world.config
        self._rendered: dict[str, tuple[Call, bool, bytes, bytes]] = {}

    def render(self, call: Call) -> bytes:
        """Render the call object of the list and of `/calls/{id}`."""
        if self._config is not self._world.config:  # it was changed, and with it what calls show
            self._config = self._world.config
            self._rendered.clear()
        has_recording = self._world.has_recording(call)
        is_shown_whole = self._world.is_ready(call) and call.id not in self._world.deleted
        rendered = self._rendered.get(call.id)
        if rendered is None or rendered[0] is not call or rendered[1] != is_shown_whole:
            head, _, tail = to_json(self._fields(call)).partition(_JSON_URL_MARK)
            rendered = self._rendered[call.id] = call, is_shown_whole, head, tail
        _, _, head, tail = rendered
        if not has_recording or call.listed_recording != "url":
            return head
        return b"".join((head, self._world.mint_url(call.id).encode(), tail))

    def render_faulty(self, call: Call, *, status: str | None, heavy: str | None, malformed: str | None) -> bytes:
        """Render the call as a row with any of: another status, one of HEAVY in its metadata, one of MALFORMED."""
        row = self._fields(call)
        if status is not None:
            row["status"] = status
        if heavy is not None:
            row["metadata"] = {**row.get("metadata", {}), "heavy": _HEAVY_MARK}
        encoded = to_json(row if malformed is None else _malform(row, malformed))
        if _JSON_URL_MARK in encoded:
            encoded = encoded.replace(_JSON_URL_MARK, self._world.mint_url(call.id).encode())
        return encoded.replace(to_json(_HEAVY_MARK), _HEAVY_JSON[heavy]) if heavy is not None else encoded

    def _fields(self, call: Call) -> dict[str, Any]:
        config = self._world.config
        fields: dict[str, Any] = {
            "id": call.id,
            "from_number": call.from_number,
            "to_number": call.to_number,
            "direction": call.direction,
            "status": config.listed_status if call.status == "completed" else call.status,
            "duration": call.duration_seconds,
            "cost_cents": -(-call.duration_seconds // 60) * 4,
            "endpoint_id": call.endpoint_id,
            "phone_number_id": call.phone_number_id,
        }
        if organization := self._world.organization_of(call):
            fields["organization_id"] = organization
        if call.listed_recording != "absent":
            shown = call.listed_recording == "url" and self._world.has_recording(call)
            fields["recording_url"] = _URL_MARK if shown else None
        if call.listed_transcript != "absent":
            fields["transcript"] = self._listed_transcript(call) if self._world.is_ready(call) else None
        return fields | {
            "created_at": self._format_time(call.created_at),
            "answered_at": call.answered_at and self._format_time(call.answered_at),
            "completed_at": call.completed_at and self._format_time(call.completed_at),
            **call.extra,
        }

    def _format_time(self, moment: datetime) -> str:
        config = self._world.config
        if config.times == "utc":
            return format_time(moment)
        local = moment.astimezone(timezone(timedelta(hours=config.zone_hours)))
        if config.times == "naive":
            local = local.replace(tzinfo=None)
        return local.isoformat(timespec="milliseconds" if moment.microsecond else "seconds")

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


def _malform(row: dict[str, Any], how: str) -> Any:
    """Return the row malformed in one of the MALFORMED ways."""
    row = row | {"recording_url": None}
    match how:
        case "missing_id":
            del row["id"]
        case "id_not_text":
            row["id"] = 12345
        case "missing_created_at":
            del row["created_at"]
        case "unreadable_created_at":
            row["created_at"] = "yesterday at noon"
        case _:
            return f"call {row['id']}"
    return row
