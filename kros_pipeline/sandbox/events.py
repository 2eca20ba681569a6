"""The timeline of a call, as `GET /calls/{id}/events` answers it. Only the hangup causes are documented."""

from __future__ import annotations

from typing import Any

from .calls import Call
from .world import format_time

_CAUSES_OF_COMPLETED = ("normal_clearing", "user_hangup", "agent_hangup")
_CAUSES = {"failed": "network_error", "busy": "busy", "no_answer": "no_answer"}


def make_events(call: Call) -> list[dict[str, Any]]:
    """Return the events of a call, in their order; none while it is in progress."""
    if call.status == "in_progress":
        return []
    events: list[dict[str, Any]] = [
        {"type": "initiated", "timestamp": format_time(call.created_at), "data": {"direction": call.direction}},
    ]
    if call.answered_at is not None:
        events.append({"type": "answered", "timestamp": format_time(call.answered_at), "data": {}})
    cause = _CAUSES.get(call.status) or _CAUSES_OF_COMPLETED[sum(call.id.encode()) % len(_CAUSES_OF_COMPLETED)]
    ended_at = call.completed_at or call.created_at
    events.append({"type": "hangup", "timestamp": format_time(ended_at), "data": {"hangup_cause": cause}})
    return events
