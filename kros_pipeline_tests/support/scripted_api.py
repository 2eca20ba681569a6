"""The real API client over a wire that a test scripts: each request gets the next answer, the last one for ever."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from kros_pipeline.core.clock import Clock
from kros_pipeline.source.api_client import ApiClient
from kros_pipeline.source.krosai import KrosAI
from kros_pipeline.source.settings import SourceSettings
from kros_pipeline.steps.settings import parse_settings

NOW = datetime(2025, 1, 10, 10, tzinfo=UTC)
KEY = "topsecretvalue"  # of no form that is redacted anyway
SETTINGS = parse_settings(
    {"KROSAI_API_KEY": KEY, "KROS_ARCHIVE_URL": "s3://bucket/p", "KROSAI_PLAN": "business"}
).source
HTML = b"<!doctype html><title>404 Not Found</title>"
Scripted = tuple[int, Mapping[str, str], bytes]


def error(code: str | None = None, text: object = "Something went wrong", **fields: object) -> bytes:
    """The API's own error."""
    return json.dumps({"error": text, **({"code": code} if code else {}), **fields}).encode()


class ScriptedApi(ApiClient):
    """Counts the requests with their queries, and the seconds that were slept on its clock."""

    def __init__(self, *script: Scripted, settings: SourceSettings = SETTINGS) -> None:
        self.script = list(script)
        self.settings = settings
        self.sent: list[str] = []
        self.queries: list[Mapping[str, Any]] = []
        self.slept_seconds = 0.0
        super().__init__(settings, Clock(now=lambda: NOW, monotonic=lambda: self.slept_seconds, sleep=self._sleep))

    @property
    def source(self) -> KrosAI:
        """The call source over this client."""
        return KrosAI(self.settings, self._clock, api=self)

    def _sleep(self, seconds: float) -> None:
        self.slept_seconds += seconds

    def _exchange(self, what: str, method: str, path: str, query: Mapping[str, Any] | None, *_: Any) -> Scripted:
        self.sent.append(what)
        self.queries.append(query or {})
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]
