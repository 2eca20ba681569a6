"""Start the KrosAI simulator in its own process, and control it from a test."""

from __future__ import annotations

import hashlib
import http.client
import json
import secrets
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar
from urllib.parse import urlsplit

from . import tls
from .config import SandboxConfig
from .faults import Faults
from .mp3 import mp3_audio
from .processes import ServerProcess

_CONTROL_PATH = "/__control__/"
_CONTROL_SECONDS = 60.0


class KrosaiSimulator(ServerProcess):
    """KrosAI on 127.0.0.1: its API and its recording storage."""

    module: ClassVar[str] = "kros_pipeline.sandbox.krosai_process"

    def __init__(self, config: SandboxConfig | None = None) -> None:
        super().__init__()
        self.config = config or SandboxConfig()
        self.ca_bundle: str | None = None
        """With TLS: the path of the certificate that clients must trust."""
        self._token = secrets.token_urlsafe(24)
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._origin = self._storage_origin = ""

    def _prepare(self) -> Mapping[str, Any]:
        if self.config.tls:
            self._folder = tempfile.TemporaryDirectory()
            self.ca_bundle = tls.make_certificate(self._folder.name)
        return {"config": self.config.to_json(), "token": self._token, "tls_folder": self.tls_folder}

    def _connect(self, ready: Mapping[str, Any]) -> None:
        self._origin, self._storage_origin = ready["origin"], ready["storage_origin"]

    def stop(self) -> None:
        """End the process and remove the certificate. Does nothing a second time."""
        super().stop()
        if self._folder:
            self._folder.cleanup()

    # Addresses.

    @property
    def tls_folder(self) -> str | None:
        """Return the folder of the certificate and its key; None without TLS."""
        return self._folder.name if self._folder else None

    @property
    def base_url(self) -> str:
        """Return the URL that the API's paths are appended to."""
        return self._origin + self.config.base_path

    @property
    def storage_origin(self) -> str:
        """Return scheme, host and port of the presigned URLs."""
        return self._storage_origin

    @property
    def environment(self) -> dict[str, str]:
        """Return the pipeline's settings for this simulator."""
        config = self.config
        environment = {
            "KROSAI_API_KEY": config.api_key,
            "KROSAI_BASE_URL": self.base_url,
            "KROS_RECORDING_HOSTS": "127.0.0.1",
        }
        if config.auth == "bearer" or config.bridge:
            environment["KROSAI_AUTH"] = "bearer"
        if config.organization_id:
            environment["KROSAI_ORGANIZATION_ID"] = config.organization_id
        if self.ca_bundle:
            environment["REQUESTS_CA_BUNDLE"] = self.ca_bundle
        return environment

    # What the simulator knows.

    def expected_calls(self, day: str | None = None, *, hashes: bool = True) -> list[dict[str, Any]]:
        """Return what is true of every call of the UTC day `day` (None: of all days), whatever the list shows.

        Keys: id, created_at, completed_at, status, direction, duration_seconds, recorded, deleted, late (not visible
        yet), listed_recording, audio_frames, size_bytes, sha256 (None if not recorded), transcript (the whole text or
        None), listed_transcript, language, confidence, extra. `hashes=False` leaves sha256 out, which takes one
        millisecond for each call.
        """
        calls: list[dict[str, Any]] = self._command("expected_calls", day=day)
        if hashes:
            for call in calls:
                call["sha256"] = hashlib.sha256(self._audio_of(call)).hexdigest() if call["recorded"] else None
        return calls

    def audio(self, call_id: str) -> bytes:
        """Return the recording of a call. Raises KeyError if the call is unknown or was not recorded."""
        for call in self._command("expected_calls", day=None):
            if call["id"] == call_id and call["recorded"]:
                return bytes(self._audio_of(call))
        raise KeyError(call_id)

    def extended_days(self) -> dict[str, list[int]]:
        """Return, by call id, the days of every extension that was applied."""
        answer: dict[str, list[int]] = self._command("extended_days")
        return answer

    def counters(self) -> dict[str, Any]:
        """Return the counters since the start or the last reset; the keys are the fields of `world.Counters`."""
        answer: dict[str, Any] = self._command("counters")
        return answer

    def reset_counters(self) -> None:
        """Set all counters to zero."""
        self._command("reset_counters")

    # Changes.

    def change_config(self, **changes: Any) -> None:
        """Change how calls are listed from now on: fields of the configuration that are in `config.CHANGEABLE`."""
        self._command("change_config", **changes)
        self.config = replace(self.config, **changes)

    def set_faults(self, faults: Faults) -> None:
        """Replace all injected faults; their attempts count from zero."""
        self._command("faults", faults=faults.to_json())

    def add_calls(self, day: str, count: int) -> list[str]:
        """Add calls to a day, as if they had come in late. Returns their ids."""
        answer: list[str] = self._command("add_calls", day=day, count=count)
        return answer

    def add_call(self, created_at: str, **properties: Any) -> str:
        """Add one call that begins at an ISO 8601 time; `properties` are those of `World.add_call`. Returns its id."""
        answer: str = self._command("add_call", created_at=created_at, **properties)
        return answer

    def move_call(self, call_id: str, seconds: float) -> str:
        """Move all times of a call by `seconds`. Returns the new `created_at`."""
        answer: str = self._command("move_call", call_id=call_id, seconds=seconds)
        return answer

    def remove_call(self, call_id: str) -> None:
        """Remove a call from the list and from all routes."""
        self._command("remove_call", call_id=call_id)

    def delete_recording(self, call_id: str) -> None:
        """Delete a recording, as KrosAI does when its retention ends."""
        self._command("delete_recording", call_id=call_id)

    def complete_calls(self) -> list[str]:
        """Complete every call that the fault `list_completing` shows as in progress. Returns their ids."""
        answer: list[str] = self._command("complete_calls")
        return answer

    def release_late(self) -> None:
        """Make late recordings and transcripts visible."""
        self._command("release_late")

    def advance_clock(self, seconds: float) -> None:
        """Move the simulator's clock forward: URLs expire and quotas renew."""
        self._command("advance_clock", seconds=seconds)

    def _audio_of(self, call: dict[str, Any]) -> memoryview:
        return mp3_audio(self.config.seed, call["id"], call["audio_frames"])

    def _command(self, name: str, **arguments: Any) -> Any:
        parts = urlsplit(self._origin)
        connection: http.client.HTTPConnection = http.client.HTTPConnection(parts.netloc, timeout=_CONTROL_SECONDS)
        if self.ca_bundle:
            context = ssl.create_default_context(cafile=self.ca_bundle)
            connection = http.client.HTTPSConnection(parts.netloc, timeout=_CONTROL_SECONDS, context=context)
        try:
            connection.request("POST", _CONTROL_PATH + name, json.dumps(arguments), {"x-control-token": self._token})
            response = connection.getresponse()
            answer = json.loads(response.read())
        finally:
            connection.close()
        if response.status != 200:
            raise ValueError(f"{name}: {answer['error']}")
        return answer
