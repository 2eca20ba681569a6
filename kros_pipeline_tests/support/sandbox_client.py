"""Request the sandbox in a test: its API in this process without HTTP, or a running sandbox over the network."""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode, urlsplit

import mutagen.mp3
import pytest
import requests

from kros_pipeline.sandbox import Faults, Sandbox, SandboxConfig
from kros_pipeline.sandbox.api import Api
from kros_pipeline.sandbox.http_server import Answer, Request
from kros_pipeline.sandbox.world import World

DAY = "2025-01-10"
PLAIN = SandboxConfig(days=(DAY,), calls_per_day=45, variety=False, audio_seconds=(1, 2))
VARIED = SandboxConfig(days=("2025-01-09", DAY, "2025-01-11"), calls_per_day=200)


class InProcessApi:
    """The API of one world, without HTTP."""

    def __init__(self, config: SandboxConfig) -> None:
        self.config = config
        self.world = World(config)
        self.world.storage_origin = "http://127.0.0.1:9"
        self._api = Api(self.world)

    def answer(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Answer:
        """Send one request, with the API key unless `headers` are given."""
        if headers is None:
            key = self.config.api_key
            headers = {"authorization": f"Bearer {key}"} if self.config.bridge else {"x-api-key": key}
        path, _, query = path.partition("?")
        return self._api(Request(method, f"{self.config.base_path}{path}", query, headers, body))

    def get(self, path: str, **query: Any) -> Any:
        """Get a path, assert 200 and return its JSON."""
        answer = self.answer("GET", f"{path}?{urlencode(query)}")
        assert answer.status == 200, bytes(answer.body)
        return json.loads(bytes(answer.body))

    def refusal(self, method: str, path: str, body: bytes = b"") -> tuple[int, str]:
        """Send a request that must be refused; return the status and the error's code."""
        answer = self.answer(method, path, body)
        error = json.loads(bytes(answer.body))
        assert isinstance(error["error"], str)
        return answer.status, error["code"]

    def all_calls(self, **query: Any) -> list[dict[str, Any]]:
        """List all calls, page by page."""
        calls: list[dict[str, Any]] = []
        while page := self.get("/calls", limit=100, offset=len(calls), **query)["calls"]:
            calls += page
        return calls


def inject(**faults: Any) -> InProcessApi:
    """Make the API of plain calls with these faults."""
    return InProcessApi(replace(PLAIN, faults=Faults(**faults)))


@pytest.fixture(scope="session")
def plain() -> InProcessApi:
    return InProcessApi(PLAIN)


@pytest.fixture(scope="session")
def varied() -> InProcessApi:
    return InProcessApi(VARIED)


@pytest.fixture(scope="session")
def running_sandbox() -> Iterator[Sandbox]:
    with Sandbox(replace(VARIED, calls_per_day=40, audio_seconds=(5, 9))) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running_sandbox: Sandbox) -> Sandbox:
    """The running sandbox without faults, with its counters at zero."""
    running_sandbox.krosai.set_faults(Faults())
    running_sandbox.krosai.reset_counters()
    return running_sandbox


@pytest.fixture
def url(sandbox: Sandbox) -> str:
    """A new URL of the recording of `recorded_call_id(sandbox)`."""
    return str(request_api(sandbox, f"/calls/{recorded_call_id(sandbox)}/recording").json()["recording_url"])


def recorded_call_id(sandbox: Sandbox) -> str:
    """Return the id of the day's first call that was recorded."""
    calls = sandbox.krosai.expected_calls(DAY, hashes=False)
    return str(next(call["id"] for call in calls if call["recorded"]))


def request_api(sandbox: Sandbox, path: str, method: str = "GET", **options: Any) -> requests.Response:
    """Send a request with the API key."""
    headers = {"x-api-key": sandbox.environment["KROSAI_API_KEY"], **options.pop("headers", {})}
    return requests.request(method, sandbox.krosai.base_url + path, headers=headers, timeout=10, **options)


@dataclass
class WireResponse:
    """What arrived on the socket: the head, every byte of the body, and whether the connection was reset."""

    status: int
    headers: dict[str, str]
    body: bytes
    reset: bool


def fetch(url: str, *headers: str) -> WireResponse:
    """Get a URL over a plain socket, so that no HTTP client hides a fault."""
    parts = urlsplit(url)
    received, is_reset = b"", False
    with socket.create_connection((parts.hostname, parts.port or 80), timeout=10) as connection:
        lines = [f"GET {parts.path}?{parts.query} HTTP/1.1", "Host: storage", "Connection: close", *headers, "", ""]
        connection.sendall("\r\n".join(lines).encode())
        try:
            while data := connection.recv(1 << 20):
                received += data
        except ConnectionResetError:
            is_reset = True
    head, _, body = received.partition(b"\r\n\r\n")
    first, *rest = head.decode().split("\r\n")
    status = int(first.split(" ")[1]) if first else 0
    fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in rest)}
    return WireResponse(status, fields, body, is_reset)


def read_mp3(audio: bytes) -> Any:
    """Read bitrate, sample rate and length with mutagen, which is not our reader."""
    read: Any = mutagen.mp3.MP3  # it has no types
    return read(io.BytesIO(audio)).info
