"""The KrosAI simulator as its user sees it: a context manager that starts the process, and the handle to steer it."""

from __future__ import annotations

import hashlib
import http.client
import json
import secrets
import ssl
import tempfile
from typing import Any
from urllib.parse import urlsplit

from kros_pipeline.sandbox import tls
from kros_pipeline.sandbox.config import SandboxConfig
from kros_pipeline.sandbox.faults import Faults
from kros_pipeline.sandbox.mp3 import mp3_audio
from kros_pipeline.sandbox.processes import ChildServer

_MODULE = "kros_pipeline.sandbox.krosai_process"
_BASE_PATH = "/v1"
_CONTROL_PATH = "/__control__/"
_CONTROL_SECONDS = 60.0


class KrosaiSimulator:
    """KrosAI on 127.0.0.1, in a process of its own, which ends with this one at the latest."""

    def __init__(self, config: SandboxConfig | None = None) -> None:
        self.config = config or SandboxConfig()
        self.ca_bundle: str | None = None
        """With TLS: the path of the certificate to trust."""
        self._token = secrets.token_urlsafe(24)
        self._child = ChildServer(_MODULE)
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._origin = self._storage_origin = ""

    # Life.

    def start(self) -> None:
        """Returns at once; `wait_until_ready` makes it usable."""
        if self.config.tls:
            self._folder = tempfile.TemporaryDirectory()
            self.ca_bundle = tls.make_certificate(self._folder.name)
        told = {"config": self.config.to_json(), "token": self._token, "tls_folder": self._folder and self._folder.name}
        self._child.start(told)

    def wait_until_ready(self) -> None:
        """RuntimeError with its last words if the process never serves."""
        ready = self._child.wait_until_ready()
        self._origin, self._storage_origin = ready["origin"], ready["storage_origin"]

    def stop(self) -> None:
        """Ends the process; twice is once."""
        self._child.stop()
        if self._folder:
            self._folder.cleanup()

    def __enter__(self) -> KrosaiSimulator:
        self.start()
        self.wait_until_ready()
        return self

    def __exit__(self, *reason: object) -> None:
        self.stop()

    # Where it is.

    @property
    def base_url(self) -> str:
        """What the API's paths are appended to."""
        return self._origin + _BASE_PATH

    @property
    def storage_origin(self) -> str:
        """Scheme, host and port of the presigned URLs."""
        return self._storage_origin

    @property
    def pid(self) -> int:
        """Of the simulator's process."""
        return self._child.process.pid

    @property
    def environment(self) -> dict[str, str]:
        """The settings that lead the pipeline here."""
        config = self.config
        environment = {
            "KROSAI_API_KEY": config.api_key,
            "KROSAI_BASE_URL": self.base_url,
            "KROS_RECORDING_HOSTS": "127.0.0.1",
        }
        if config.auth == "bearer":
            environment["KROSAI_AUTH"] = "bearer"
        if config.organization_id:
            environment["KROSAI_ORGANIZATION_ID"] = config.organization_id
        if self.ca_bundle:
            environment["REQUESTS_CA_BUNDLE"] = self.ca_bundle
        return environment

    # What is true.

    def expected_calls(self, day: str | None = None, *, hashes: bool = True) -> list[dict[str, Any]]:
        """The truth about every call of the UTC day `day`, or of all days; what the list shows of it does not matter.

        Keys: id, created_at, completed_at, status, direction, duration_seconds, recorded, deleted, late (not yet to
        be seen), listed_recording, audio_frames, size_bytes, sha256 (None if not recorded), transcript (whole, or
        None), listed_transcript, language, confidence, extra. Without `hashes`, sha256 is left out: it takes a
        millisecond a call.
        """
        calls: list[dict[str, Any]] = self._command("expected_calls", day=day)
        if hashes:
            for call in calls:
                call["sha256"] = hashlib.sha256(self._audio_of(call)).hexdigest() if call["recorded"] else None
        return calls

    def audio(self, call_id: str) -> bytes:
        """The recording's bytes. KeyError: no such call, or it was not recorded."""
        for call in self._command("expected_calls", day=None):
            if call["id"] == call_id and call["recorded"]:
                return bytes(self._audio_of(call))
        raise KeyError(call_id)

    def extended_days(self) -> dict[str, list[int]]:
        """By call id, the days of every extension that was applied."""
        answer: dict[str, list[int]] = self._command("extended_days")
        return answer

    def counters(self) -> dict[str, Any]:
        """What has been asked since the start or the last reset; the keys are the fields of `world.Counters`."""
        answer: dict[str, Any] = self._command("counters")
        return answer

    def reset_counters(self) -> None:
        """Counts from zero again."""
        self._command("reset_counters")

    # What changes.

    def set_faults(self, faults: Faults) -> None:
        """Replaces every knob; attempts count from zero."""
        self._command("faults", faults=faults.to_json())

    def add_calls(self, day: str, count: int) -> list[str]:
        """More calls, as if they had come in late; returns their ids."""
        answer: list[str] = self._command("add_calls", day=day, count=count)
        return answer

    def remove_call(self, call_id: str) -> None:
        """It vanishes from the list and everywhere."""
        self._command("remove_call", call_id=call_id)

    def delete_recording(self, call_id: str) -> None:
        """As KrosAI does when the retention is over."""
        self._command("delete_recording", call_id=call_id)

    def complete_calls(self) -> list[str]:
        """Every call that the knob `list_completing` holds in progress completes; returns their ids."""
        answer: list[str] = self._command("complete_calls")
        return answer

    def release_late(self) -> None:
        """Late recordings and transcripts appear."""
        self._command("release_late")

    def advance_clock(self, seconds: float) -> None:
        """The simulator's clock jumps: URLs expire, quotas renew."""
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
