"""A day of any number of calls: tables written directly, audio that is listed and not kept, an instant source."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import IO, Any

import pyarrow as pa

from kros_pipeline.archive.governance import ObjectVersion
from kros_pipeline.archive.listings import update_listing
from kros_pipeline.archive.object_store import Entry, Head, PutMode, VersionToken
from kros_pipeline.core import schemas
from kros_pipeline.core.days import start_of
from kros_pipeline.core.digest_set import DigestSet
from kros_pipeline.core.listing import Listing
from kros_pipeline.core.object_keys import audio_key, audio_prefix
from kros_pipeline.sandbox.mp3 import frames_in, mp3_audio
from kros_pipeline.source.call_source import Body, Page, Window
from kros_pipeline.steps.run_context import RunContext, open_run_context
from kros_pipeline_tests.support.accounts import AFTER_GRACE, DAY
from kros_pipeline_tests.support.clocks import clock_without_waits
from kros_pipeline_tests.support.fake_call_source import STORAGE, FakeCall, FakeCallSource
from kros_pipeline_tests.support.memory_bucket import objects_of
from kros_pipeline_tests.support.memory_store import MemoryGovernance, MemoryObjectStore

_AT_ONCE = 1_000
_AT = datetime(2025, 1, 12, tzinfo=UTC)
_BODY = bytes(mp3_audio(1, "sized", frames_in(6)))
_TEXT = "[Agent]: Hello, how can I help you?\n[Caller]: I want my money back."
_NOT_KEPT = ("audio/", "audit/", "seals/", "state/extensions/", "state/decisions/", "state/held/")


def id_of(number: int) -> str:
    return f"call_{number:012d}"


class SizedStore(MemoryObjectStore):
    """Counts what is put, and keeps nothing that grows with the calls but tables. `calls` audio objects are listed."""

    def __init__(self, bucket: str, prefix: str, calls: int) -> None:
        super().__init__(bucket, prefix)
        self.calls = calls
        self.puts: Counter[str] = Counter()
        self.bytes_put: Counter[str] = Counter()

    def forget_counts(self) -> None:
        self.requests_made = 0
        self.puts.clear()
        self.bytes_put.clear()

    def list(self, prefix: str, *, after: str = "") -> Iterator[Entry]:
        if prefix != audio_prefix(DAY):
            yield from super().list(prefix, after=after)
            return
        self.requests_made += 1
        for number in range(self.calls):
            yield Entry(audio_key(DAY, id_of(number)), len(_BODY), VersionToken("v"))

    def head(self, key: str) -> Head | None:
        return None if key.startswith("audio/") else super().head(key)

    def put(
        self,
        key: str,
        body: bytes | memoryview | IO[bytes],
        *,
        sha256: str,
        mode: PutMode,
        metadata: Mapping[str, str] | None = None,
        content_type: str = "application/octet-stream",
    ) -> VersionToken:
        kind = "/".join(key.split("/")[:2])
        size = len(body) if isinstance(body, bytes | memoryview) else body.seek(0, 2)
        self.puts[kind] += 1
        self.bytes_put[kind] += size
        if key.startswith(_NOT_KEPT):
            self.requests_made += 1
            return VersionToken("v")
        return super().put(key, body, sha256=sha256, mode=mode, metadata=metadata, content_type=content_type)


class SizedGovernance(MemoryGovernance):
    """Holds every version, and remembers none."""

    def has_object_lock(self) -> bool:
        return True

    def place_legal_hold(self, key: str, version_id: str | None = None) -> None:
        pass

    def versions(self, prefix: str) -> Iterator[ObjectVersion]:
        for entry in self._store.list(prefix):
            yield ObjectVersion(entry.key, "v", True, False, entry.size_bytes)


class SizedSource(FakeCallSource):
    """Has a recording of each call, and bytes of its own in each."""

    def __init__(self, calls: int) -> None:
        super().__init__([], clock_without_waits(lambda: AFTER_GRACE))
        self._count = calls

    def pages(self, window: Window, *, prefetch: int = 0, first: Page | None = None) -> Iterator[Page]:
        for begin in range(0, self._count, self.page_limit):
            numbers = range(min(self._count, begin + self.page_limit) - 1, begin - 1, -1)
            yield Page([self._list(FakeCall(id_of(number), start_of(DAY), _BODY)) for number in numbers], [], None, 100)

    def extend(self, call_id: str, days: int, *, idempotency_key: str) -> None:
        pass

    @contextmanager
    def open_recording(self, url: str) -> Iterator[Body]:
        assert url.startswith(STORAGE)
        yield Body(_BODY, None, len(_BODY), hashlib.sha256(url.encode()).hexdigest())


def open_sized_day(name: str, calls: int, *, is_archived: bool = True, **more_settings: str) -> RunContext:
    """Open a run over a day of `calls` calls; with `is_archived` its recordings and transcripts are archived."""
    objects_of(f"sized-{name}").clear()
    store = SizedStore(f"sized-{name}", f"day-{calls}", calls if is_archived else 0)
    settings = more_settings | {
        "KROSAI_API_KEY": "kros_test_memory",
        "KROS_ARCHIVE_URL": f"s3://{store.bucket}/day-{calls}",
        "KROSAI_RETENTION_DAYS": "90",
        "KROS_DOWNLOAD_WORKERS": "2",
    }
    clock = clock_without_waits(lambda: AFTER_GRACE)
    ctx = open_run_context(settings, clock=clock, open_archive=lambda _: (store, SizedGovernance(store)))
    ctx.source.close()
    ctx.source = SizedSource(calls)
    _write(ctx, schemas.CALLS, calls, _calls)
    if is_archived:
        _write(ctx, schemas.RECORDINGS, calls, lambda ids: _recordings(ctx, ids))
        _write(ctx, schemas.TRANSCRIPTS, calls, _transcripts)
    digests = DigestSet(map(id_of, range(calls))).pack()
    windows = [("2025-01-10T00:00:00+00:00", "2025-01-11T00:00:00+00:00")]
    listing = Listing(
        True, calls, windows=windows, listed_at=AFTER_GRACE.isoformat(), call_digests=digests, unlisted_digests=""
    )
    update_listing(store, DAY, lambda _: listing)
    return ctx


def _write(ctx: RunContext, table: schemas.Table, calls: int, make: Any) -> None:
    def build(_: object) -> Iterator[pa.RecordBatch]:
        for begin in range(0, calls, _AT_ONCE):
            ids = [id_of(number) for number in range(begin, min(calls, begin + _AT_ONCE))]
            columns: dict[str, Any] = dict.fromkeys(table.column_names, [None] * len(ids))
            columns |= {"call_id": ids, "call_date": [DAY] * len(ids)} | make(ids)
            yield pa.RecordBatch.from_pydict(columns, table.schema)

    ctx.tables.commit(table, DAY, build)


def _calls(ids: list[str]) -> dict[str, list[Any]]:
    at, count = start_of(DAY) + timedelta(hours=12), len(ids)
    return {"created_at": [at] * count, "has_recording": [True] * count, "listed_at": [_AT] * count}


def _recordings(ctx: RunContext, ids: list[str]) -> dict[str, list[Any]]:
    count = len(ids)
    return {
        "status": ["archived"] * count,
        "object_key": [ctx.store.full_key(audio_key(DAY, call_id)) for call_id in ids],
        "size_bytes": [len(_BODY)] * count,
        "sha256": [hashlib.sha256(call_id.encode()).hexdigest() for call_id in ids],
        "duration_seconds": [6.0] * count,
        "attempts": [1] * count,
        "archived_at": [_AT] * count,
    }


def _transcripts(ids: list[str]) -> dict[str, list[Any]]:
    count = len(ids)
    return {
        "status": ["kept"] * count,
        "source": ["list"] * count,
        "text": [_TEXT] * count,
        "fetched_at": [_AT] * count,
        "upstream_word_count": [15] * count,
    }
