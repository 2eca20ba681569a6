"""Answer the control routes, through which a test controls a simulator in another process.

`POST /__control__/<name>` with a JSON object of arguments and the parent's token in a header; the answer is JSON.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable
from typing import Any

from . import answers
from .api import derive_confidence
from .calls import Call
from .faults import Faults
from .http_server import Answer, Request
from .mp3 import FRAME_BYTES
from .transcripts import write_transcript
from .world import Counters, World, counters_to_json, format_time

CONTROL_PATH = "/__control__/"
TOKEN_HEADER = "x-control-token"  # noqa: S105 - the name of a header


class Control:
    """The control routes of one world."""

    def __init__(self, world: World, token: str) -> None:
        self._world = world
        self._token = token
        self._commands: dict[str, Callable[..., Any]] = {
            "faults": lambda faults: world.set_faults(Faults.from_json(faults)),
            "counters": lambda: counters_to_json(world.counters),
            "reset_counters": self._reset_counters,
            "expected_calls": self._expected_calls,
            "change_config": world.change_config,
            "add_calls": world.add_calls,
            "add_call": world.add_call,
            "move_call": world.move_call,
            "remove_call": world.remove_call,
            "complete_calls": world.complete_calls,
            "release_late": world.release_late,
            "delete_recording": lambda call_id: world.deleted.add(call_id),
            "advance_clock": world.advance_clock,
            "extended_days": lambda: world.extended_days,
        }

    def __call__(self, request: Request) -> Answer:
        """Run one command and answer with its result."""
        if not hmac.compare_digest(request.headers.get(TOKEN_HEADER, "").encode(), self._token.encode()):
            return answers.error(403, "FORBIDDEN", "Wrong control token")
        command = self._commands.get(request.path.removeprefix(CONTROL_PATH))
        if command is None:
            return answers.not_found("Command")
        try:
            return answers.json_answer(command(**json.loads(request.body or b"{}")))
        except (KeyError, TypeError, ValueError) as error:
            return answers.error(400, "VALIDATION_ERROR", str(error))

    def _reset_counters(self) -> None:
        self._world.counters = Counters()

    def _expected_calls(self, day: str | None) -> list[dict[str, Any]]:
        calls = self._world.list_final_calls()
        return [self._describe(call) for call in calls if day is None or format_time(call.created_at).startswith(day)]

    def _describe(self, call: Call) -> dict[str, Any]:
        return {
            "id": call.id,
            "created_at": format_time(call.created_at),
            "completed_at": call.completed_at and format_time(call.completed_at),
            "status": call.status,
            "direction": call.direction,
            "duration_seconds": call.duration_seconds,
            "recorded": call.recorded,
            "deleted": call.id in self._world.deleted,
            "late": not self._world.is_ready(call),
            "listed_recording": call.listed_recording,
            "audio_frames": call.audio_frames,
            "size_bytes": call.audio_frames * FRAME_BYTES,
            "transcript": write_transcript(call.script) if call.script else None,
            "listed_transcript": call.listed_transcript,
            "language": call.script.language_code if call.script else None,
            "confidence": derive_confidence(call) if call.script else None,
            "extra": call.extra,
        }
