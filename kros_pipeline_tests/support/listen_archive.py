"""An archive for the reviewer's page: chosen calls, written straight into the tables, over any object store."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import soundfile
from starlette.testclient import TestClient

from kros_pipeline.archive.object_store import CREATE, ObjectStore
from kros_pipeline.archive.parquet import Row, batches_of
from kros_pipeline.archive.tables import Tables
from kros_pipeline.archive.tombstones import Tombstones
from kros_pipeline.browser.app import Listen, make_app
from kros_pipeline.browser.review_form import read_form
from kros_pipeline.core import schemas
from kros_pipeline.core.browse_settings import BrowseSettings, parse_browse_settings
from kros_pipeline.core.clock import Clock
from kros_pipeline.core.flags import parse_rules
from kros_pipeline.core.object_keys import audio_key
from kros_pipeline.core.settings import BadSettings, SettingsReader
from kros_pipeline.core.transcripts import split_turns
from kros_pipeline_tests.support.clocks import clock_without_waits
from kros_pipeline_tests.support.memory_store import MemoryObjectStore

DAY = date(2025, 1, 10)
NOW = datetime(2025, 1, 20, 9, tzinfo=UTC)
ERASURE_KEY = "a key of the tests, long enough for them"
RULES = """rules:
  - {id: refund, speaker: caller, text_matches: '\\brefund\\b', extend_days: 90}
  - {id: long, duration_seconds_at_least: 300, extend_days: 30}
"""
LONGEST_SECONDS = 20  # of audio, whatever the tables say: to encode it takes time
_SAMPLE_RATE = 16_000
_numbers = itertools.count(1)


@dataclass
class ListedCall:
    """One call. `audio` None is a recording that is not there; `state` is `recordings.status`."""

    call_id: str
    text: str = "[Agent]: Hello\n[Caller]: Hello"
    day: date = DAY
    direction: str = "inbound"
    seconds: float = 12.0
    from_number: str = "+2348012345678"
    to_number: str = "+14155551234"
    language: str | None = "en"
    state: str = "archived"
    has_audio: bool = True
    quarantine_key: str | None = None
    transcript: str = "kept"
    extra: str | None = None
    audio: bytes | None = None  # instead of a tone


@cache
def tone(seconds: float) -> bytes:
    """An MP3 that rises and falls like speech: something to see in a waveform."""
    moments = np.arange(int(seconds * _SAMPLE_RATE)) / _SAMPLE_RATE
    loudness = np.abs(np.sin(moments * 2.1)) * np.abs(np.sin(moments * 0.31)) ** 2
    body = io.BytesIO()
    samples = (np.sin(2 * np.pi * 180 * moments) * loudness * 0.8).astype("float32")
    soundfile.write(body, samples, _SAMPLE_RATE, format="MP3", subtype="MPEG_LAYER_III")
    return body.getvalue()


@dataclass
class ListenArchive:
    """The archive, and the page over it."""

    folder: Path
    calls: list[ListedCall]
    store: ObjectStore = field(default_factory=lambda: MemoryObjectStore("listen", f"archive-{next(_numbers)}"))
    now: datetime = NOW
    clock: Clock = field(init=False)

    def __post_init__(self) -> None:
        self.clock = clock_without_waits(lambda: self.now)
        self.tombstones = Tombstones(self.store, ERASURE_KEY, self.clock)
        self.tables = Tables(self.store, self.tombstones)
        for day in sorted({call.day for call in self.calls}):
            self.write_day(day)

    def write_day(self, day: date) -> None:
        """Write the tables and recordings of a day."""
        calls = sorted((call for call in self.calls if call.day == day), key=lambda call: call.call_id)
        numbered = list(enumerate(calls))
        self._write(schemas.CALLS, day, (self._call_row(call, number) for number, call in numbered))
        self._write(schemas.RECORDINGS, day, map(self._recording_row, calls))
        self._write(schemas.TRANSCRIPTS, day, map(self._transcript_row, calls))
        self._write(schemas.UTTERANCES, day, itertools.chain.from_iterable(map(self._turn_rows, calls)))
        self._write(schemas.FLAGGED_CALLS, day, itertools.chain.from_iterable(map(self._flag_rows, calls)))
        self._write(schemas.RECONCILIATION, day, [self._day_row(day, calls)])

    def _write(self, table: schemas.Table, day: date, rows: Iterable[Row]) -> None:
        whole = [dict.fromkeys(table.column_names) | {"call_date": day} | row for row in rows]
        self.tables.commit(table, day, lambda present: batches_of(table, whole))

    def _call_row(self, call: ListedCall, number: int) -> Row:
        at = datetime.combine(call.day, time(8), UTC) + timedelta(minutes=7 * number)
        return {
            "call_id": call.call_id, "status": "completed", "direction": call.direction, "created_at": at,
            "from_number": call.from_number, "to_number": call.to_number, "duration_seconds": call.seconds,
            "has_recording": True, "listed_at": at, "endpoint_id": "ep_1", "extra": call.extra,
        }  # fmt: skip

    def _recording_row(self, call: ListedCall) -> Row:
        row: Row = {"call_id": call.call_id, "status": call.state, "attempts": 1, "quarantine_key": call.quarantine_key}
        if call.state != "archived":
            return row | {"reason": "for a reason"}
        body = call.audio or tone(min(call.seconds, LONGEST_SECONDS))
        digest = hashlib.sha256(body).hexdigest()
        key = audio_key(call.day, call.call_id)
        if call.has_audio and self.store.head(key) is None:
            self.store.put(key, body, sha256=digest, mode=CREATE, content_type="audio/mpeg")
        return row | {
            "object_key": self.store.full_key(key), "size_bytes": len(body), "sha256": digest,
            "duration_seconds": call.seconds, "sample_rate_hz": _SAMPLE_RATE, "channels": 1, "bitrate_bps": 32_000,
            "archived_at": self.now, "upstream_expires_on": call.day + timedelta(days=30),
        }  # fmt: skip

    def _transcript_row(self, call: ListedCall) -> Row:
        is_kept = call.transcript == "kept"
        return {
            "call_id": call.call_id, "status": call.transcript, "text": call.text if is_kept else None,
            "language": call.language, "fetched_at": self.now,
        }  # fmt: skip

    def _turn_rows(self, call: ListedCall) -> Iterable[Row]:
        for span in split_turns(call.text) if call.transcript == "kept" else []:
            yield {
                "call_id": call.call_id, "turn_index": span.turn_index, "speaker": span.speaker, "text": span.text,
                "speaker_label": span.speaker_label, "word_count": len(span.text.split()),
                "char_start": span.char_start, "char_end": span.char_end, "start_seconds": span.start_seconds,
                "created_at": self.now, "direction": call.direction, "language": call.language,
            }  # fmt: skip

    def _flag_rows(self, call: ListedCall) -> Iterable[Row]:
        facts = SimpleNamespace(**dict.fromkeys(schemas.CALLS.column_names) | self._call_row(call, 0))
        turns = split_turns(call.text) if call.transcript == "kept" else []
        for flag in sorted(
            parse_rules(RULES, confidence_is_known=False).find_flags(facts, None, turns), key=lambda flag: flag.rule_id
        ):
            yield {
                "call_id": call.call_id, "rule_id": flag.rule_id, "reason": flag.reason, "turn_index": flag.turn_index,
                "extend_days": flag.extend_days, "rules_version": "test",
            }  # fmt: skip

    def _day_row(self, day: date, calls: list[ListedCall]) -> Row:
        archived = [call for call in calls if call.state == "archived"]
        pending = [call for call in calls if call.state == "pending"]
        failed = [call for call in calls if call.state in ("failed", "refused", "lost")]
        row: Row = dict.fromkeys(
            (column.name for column in schemas.RECONCILIATION.columns if column.type == schemas.INT64), 0
        )
        return row | {
            "verdict": "incomplete" if failed else "waiting" if pending else "complete",
            "calls": len(calls), "recordings_archived": len(archived), "recordings_pending": len(pending),
            "problems": [f"{len(failed)} recordings failed"] if failed else [], "checked_at": self.now,
            "audio_seconds": float(sum(call.seconds for call in archived)),
        }  # fmt: skip

    def erase(self, call_id: str) -> None:
        """Write the tombstone, as an erasure does first; the tables still have the call."""
        call = next(call for call in self.calls if call.call_id == call_id)
        Tombstones(self.store, ERASURE_KEY, self.clock).add_call(call.day, call_id)

    def open(self, **settings: str) -> Listen:
        """Make the page, with settings by their names without `KROS_BROWSE_`."""
        return make_app(
            store=self.store,
            tables=self.tables,
            tombstones=self.tombstones,
            settings=browse_settings(**settings),
            form=read_form(None),
            cache_folder=self.folder / "cache",
            local_user="local",
            clock=self.clock,
        )

    def client(self, **settings: str) -> TestClient:
        """A client of the page, without its background thread; it comes from the address of the proxy."""
        return TestClient(
            self.open(**settings).app,
            base_url="http://127.0.0.1:8757",
            client=("10.0.0.9", 50_000),
            raise_server_exceptions=False,
        )

    def audit_lines(self) -> list[dict[str, Any]]:
        """Every line of the audit log."""
        bodies = [self.store.read(entry.key) or b"" for entry in self.store.list("audit/")]
        return [json.loads(line) for body in bodies for line in body.splitlines()]


def browse_settings(**settings: str) -> BrowseSettings:
    """Parse settings, given without `KROS_BROWSE_`."""
    reader = SettingsReader({f"KROS_BROWSE_{name}": text for name, text in settings.items()})
    parsed = parse_browse_settings(reader)
    if reader.problems:
        raise BadSettings(reader.problems)
    return parsed


PROXIED = {
    "PROXIES": "10.0.0.0/24",
    "USERS": "amina=listen, bola=read, *=read-without-numbers",
    "LISTEN": "0.0.0.0:8757",
}
"""Settings of a page behind a reverse proxy."""


def as_user(name: str) -> dict[str, str]:
    """The header that the proxy adds."""
    return {"X-Forwarded-User": name}
