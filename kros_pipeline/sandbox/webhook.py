"""Answer GET /webhook-deliveries: what KrosAI would have sent to the account's webhook, and in which attempts.

A call that ended has an event, and so have its recording and its transcript. Each event is delivered in one to five
attempts, derived from its id; only the last one succeeds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from . import answers
from .calls import Call
from .http_server import Answer, Request
from .listing import MAXIMUM_LIMIT, parse_integer
from .world import World, format_time

_WEBHOOK_ID = "wh_sandbox"
_DEFAULT_LIMIT = 20
_FILTERS = ("webhook_id", "status")
_ATTEMPTS_AFTER = tuple(timedelta(minutes=minutes) for minutes in (0, 1, 5, 30, 120))
_NAMES = {
    "completed": {"call": "call.completed", "recording": "recording.ready", "transcript": "transcript.ready"},
    "ended": {
        "call": "call.ended",
        "recording": "call.recording.completed",
        "transcript": "transcription.completed",
    },
    "upper": {"call": "CALL_COMPLETED", "recording": "CALL_RECORDING_READY", "transcript": "TRANSCRIPT_READY"},
}


@dataclass(frozen=True, slots=True)
class _Event:
    """One event about a call; `kind` is one of the keys of a spelling in `_NAMES`."""

    kind: str
    call: Call
    at: datetime

    @property
    def digits(self) -> str:
        """Return hexadecimal digits that only this event has."""
        name = f"{self.kind}/{self.call.id}"
        return hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=8).hexdigest()

    @property
    def attempts(self) -> int:
        """Return how many attempts its delivery takes, 1 to 5."""
        return 1 + int(self.digits, 16) % len(_ATTEMPTS_AFTER)


class Webhook:
    """The deliveries to the webhook of one world's account."""

    def __init__(self, world: World) -> None:
        self._world = world

    def page(self, request: Request) -> Answer:
        """Answer with one page of the deliveries, the newest first."""
        config, query = self._world.config, request.query
        if not config.webhook:
            return answers.not_found("Webhook")
        try:
            limit = min(parse_integer(query, "limit", _DEFAULT_LIMIT, least=1), MAXIMUM_LIMIT)
            number = parse_integer(query, "page", 1, least=1)
        except ValueError as error:
            return answers.error(400, "VALIDATION_ERROR", str(error))
        rows = [row for row in self._rows() if all(row[name] == query.get(name, row[name]) for name in _FILTERS)]
        shown = rows[(number - 1) * limit : number * limit]
        facts = {"total": len(rows), "page": number, "limit": limit} if config.webhook_total else {}
        return answers.json_answer({config.webhook_list: [self._show(row) for row in shown], **facts})

    def detail(self, delivery_id: str) -> Answer:
        """Answer with one delivery: what was sent, and what the webhook answered."""
        found = [row for row in self._rows() if row["id"] == delivery_id] if self._world.config.webhook else []
        if not found:
            return answers.not_found("Delivery")
        response = {"status": 200 if found[0]["status"] == "success" else 503, "body": ""}
        return answers.json_answer(found[0] | {"response": response})

    def _rows(self) -> list[dict[str, Any]]:
        attempts = [
            (event.at + _ATTEMPTS_AFTER[number - 1], event.digits, number, event)
            for event in self._events()
            for number in range(1, event.attempts + 1)
        ]
        newest_first = sorted(attempts, key=lambda attempt: attempt[:3], reverse=True)
        return [self._row(event, number, at) for at, _, number, event in newest_first]

    def _events(self) -> Iterator[_Event]:
        for call in self._world.list_final_calls():
            if call.completed_at is None or call.status == "in_progress":
                continue
            yield _Event("call", call, call.completed_at)
            if self._world.has_recording(call):
                yield _Event("recording", call, call.completed_at + timedelta(seconds=20))
            if call.script is not None and self._world.is_ready(call):
                yield _Event("transcript", call, call.completed_at + timedelta(seconds=40))

    def _row(self, event: _Event, number: int, at: datetime) -> dict[str, Any]:
        """Return the delivery of an event in its attempt `number`, counted from 1."""
        name, event_id = _NAMES[self._world.config.webhook_names][event.kind], f"evt_{event.digits}"
        return {
            "id": f"del_{event.digits}_{number}",
            "webhook_id": _WEBHOOK_ID,
            "event": name,
            "event_id": event_id,
            "status": "success" if number == event.attempts else "failed",
            "attempt": number,
            "created_at": format_time(at),
            "payload": {
                "id": event_id,
                "event": name,
                "timestamp": format_time(event.at),
                "data": self._data(event),
            },
        }

    def _data(self, event: _Event) -> dict[str, Any]:
        call, where = event.call, self._world.config.webhook_data
        if where == "bare":
            return {"call_id": call.id, **({"status": call.status} if call.status != "completed" else {})}
        facts = {"status": call.status, "duration": call.duration_seconds, "created_at": format_time(call.created_at)}
        if where == "call":
            return {"call": {"id": call.id, **facts}}
        if where == "id" and event.kind == "call":
            return {"id": call.id, **facts}
        return {"call_id": call.id, **(facts if event.kind == "call" else {"id": f"rec_{event.digits}"})}

    def _show(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return a row as the list shows it."""
        match self._world.config.webhook_payload:
            case "text":
                return row | {"payload": json.dumps(row["payload"])}
            case "detail":
                return {name: value for name, value in row.items() if name != "payload"}
        return row
