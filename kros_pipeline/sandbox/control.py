"""The control routes: how a test steers a simulator that runs in another process.

`POST /__control__/<name>` with a JSON object of arguments and the token that the parent gave; the answer is JSON.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable
from typing import Any

from kros_pipeline.sandbox import answers
from kros_pipeline.sandbox.api import confidence
from kros_pipeline.sandbox.calls import Call
from kros_pipeline.sandbox.faults import Faults
from kros_pipeline.sandbox.http_server import Answer, Request
from kros_pipeline.sandbox.mp3 import FRAME_BYTES
from kros_pipeline.sandbox.transcripts import write_transcript
from kros_pipeline.sandbox.world import Counters, World, plain, utc_text

CONTROL_PATH = "/__control__/"
TOKEN_HEADER = "x-control-token"  # noqa: S105 - its name, not its value


class Control:
    """Steers one world."""

    def __init__(self, world: World, token: str) -> None:
        self._world = world
        self._token = token
        self._commands: dict[str, Callable[..., Any]] = {
            "faults": lambda faults: world.set_faults(Faults.from_json(faults)),
            "counters": lambda: plain(world.counters),
            "reset_counters": self._reset_counters,
            "expected_calls": self._expected_calls,
            "add_calls": world.add_calls,
            "remove_call": world.remove_call,
            "complete_calls": world.complete_calls,
            "release_late": world.release_late,
            "delete_recording": lambda call_id: world.deleted.add(call_id),
            "advance_clock": world.advance_clock,
            "extended_days": lambda: world.extended_days,
        }

    def __call__(self, request: Request) -> Answer:
        """The answer to a command."""
        if not hmac.compare_digest(request.headers.get(TOKEN_HEADER, "").encode(), self._token.encode()):
            return answers.error(403, "FORBIDDEN", "Not the control token")
        command = self._commands.get(request.path.removeprefix(CONTROL_PATH))
        if command is None:
            return answers.not_found("Command")
        try:
            return answers.json_answer(command(**json.loads(request.body or b"{}")))
        except (KeyError, TypeError, ValueError) as mistake:
            return answers.error(400, "VALIDATION_ERROR", str(mistake))

    def _reset_counters(self) -> None:
        self._world.counters = Counters()

    def _expected_calls(self, day: str | None) -> list[dict[str, Any]]:
        calls = self._world.truth()
        return [self._truth(call) for call in calls if day is None or utc_text(call.created_at).startswith(day)]

    def _truth(self, call: Call) -> dict[str, Any]:
        return {
            "id": call.id,
            "created_at": utc_text(call.created_at),
            "completed_at": call.completed_at and utc_text(call.completed_at),
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
            "confidence": confidence(call) if call.script else None,
            "extra": call.extra,
        }
