"""The metrics: what the last look found, in Prometheus' format, at one request to S3 a scrape."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from kros_pipeline.archive.latest_look import read_latest_look, write_latest_look
from kros_pipeline.archive.object_store import VersionToken
from kros_pipeline.core.errors import ArchiveUnavailable, LocalFault
from kros_pipeline.core.object_keys import LATEST_LOOK
from kros_pipeline.core.settings import BadSettings
from kros_pipeline.operations.archive_totals import ArchiveTotals
from kros_pipeline.operations.metrics import METRICS, NAMES, make_look
from kros_pipeline.operations.metrics_server import start_metrics_server
from kros_pipeline.operations.verification import Coverage
from kros_pipeline_tests.support.memory_bucket import StoredObject, objects_of
from kros_pipeline_tests.support.memory_store import MemoryGovernance, MemoryObjectStore

NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)
TOTALS = ArchiveTotals(
    first_day=NOW.date(), days_complete=400, days_waiting=2, days_incomplete=1, days_missing=3, days_owed=6,
    oldest_owed_day=NOW.date(), days_left_before_deletion=5, calls=1_000, utterances=14_000,
    recordings_expected=900, recordings_archived=890, recordings_pending=4, recordings_failed=3, recordings_lost=2,
    audio_bytes=2_000_000_000, audio_seconds=160_000.5, extensions_refused=1, extensions_unconfirmed=0,
    days_with_open_extensions=(NOW.date(),), api_requests_today=65, api_requests_quota_per_day=50_000,
    moved_recordings_today=30, moved_bytes_today=60_000_000, s3_writes_this_month=5_000, s3_reads_this_month=7_000,
    estimated_usd_this_month=1.25, coverage=Coverage(406, 400, 6, 0),
)  # fmt: skip
CHECKS = {"no_recent_day_is_missing": True, "recorded_calls_are_not_dropping": False}
PLACE = {"KROS_ARCHIVE_URL": "s3://metrics/archive", "KROS_METRICS_ADDRESS": "127.0.0.1:0"}


@pytest.fixture
def store() -> Iterator[MemoryObjectStore]:
    yield MemoryObjectStore("metrics", "archive")
    objects_of("metrics").clear()


@contextmanager
def served(store: MemoryObjectStore, now: datetime = NOW) -> Iterator[str]:
    """The address of the metrics."""
    server, thread = start_metrics_server(
        PLACE,
        now=lambda: now,
        open_archive=lambda _: (store, MemoryGovernance(store)),
    )
    try:
        yield f"http://127.0.0.1:{server.server_port}/metrics"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def scrape(url: str) -> dict[str, float]:
    """The samples, each named as a query names it."""
    text = urllib.request.urlopen(url).read().decode()
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation, family.name
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sample.labels.items())
            found[sample.name + (f"{{{labels}}}" if labels else "")] = sample.value
    return found


def test_every_number_of_the_last_look_is_a_metric_with_its_unit(store: MemoryObjectStore) -> None:
    write_latest_look(store, make_look(TOTALS, CHECKS, NOW - timedelta(minutes=20)))
    with served(store) as url:
        before = store.requests_made
        assert scrape(url) == {
            "kros_archive_readable": 1,
            "kros_look_age_seconds": 1_200,
            'kros_check_passed{check="no_recent_day_is_missing"}': 1,
            'kros_check_passed{check="recorded_calls_are_not_dropping"}': 0,
            'kros_days{verdict="complete"}': 400,
            'kros_days{verdict="waiting"}': 2,
            'kros_days{verdict="incomplete"}': 1,
            'kros_days{verdict="missing"}': 3,
            "kros_days_owed": 6,
            "kros_deletion_seconds": 5 * 86_400,
            "kros_calls": 1_000,
            "kros_utterances": 14_000,
            "kros_recordings_expected": 900,
            'kros_recordings{status="archived"}': 890,
            'kros_recordings{status="pending"}': 4,
            'kros_recordings{status="failed"}': 3,
            'kros_recordings{status="lost"}': 2,
            "kros_audio_bytes": 2_000_000_000,
            "kros_audio_seconds": 160_000.5,
            'kros_extensions_open{status="refused"}': 1,
            'kros_extensions_open{status="unconfirmed"}': 0,
            "kros_api_requests_today": 65,
            "kros_api_requests_quota": 50_000,
            "kros_moved_recordings_today": 30,
            "kros_moved_today_bytes": 60_000_000,
            'kros_s3_requests_this_month{kind="write"}': 5_000,
            'kros_s3_requests_this_month{kind="read"}': 7_000,
            "kros_estimated_cost_this_month_usd": 1.25,
            'kros_verification_days{status="verified"}': 400,
            'kros_verification_days{status="late"}': 6,
        }
        assert store.requests_made - before == 1


def test_every_number_of_the_totals_has_a_metric() -> None:
    shown = {number for metric in METRICS for number in metric.numbers.values()}
    assert len(shown) == sum(len(metric.numbers) for metric in METRICS), "none has two"
    no_numbers = {"first_day", "oldest_owed_day", "days_with_open_extensions", "coverage"}
    assert {name for name in shown if "." not in name} == {field.name for field in fields(ArchiveTotals)} - no_numbers


def test_names_follow_the_conventions_of_prometheus() -> None:
    for name in NAMES:
        assert re.fullmatch(r"kros(_[a-z0-9]+)+", name)
        assert not name.endswith(("_total", "_count", "_sum", "_bucket")), "these are for counters and histograms"
        assert not re.search(r"_(ms|milliseconds|minutes|hours|kb|mb|gb|percent)(_|$)", name), "base units"


def test_what_is_not_known_is_left_out(store: MemoryObjectStore) -> None:
    with served(store) as url:
        assert scrape(url) == {"kros_archive_readable": 1}, "no look yet"
        unlimited = {"days_left_before_deletion": None, "api_requests_quota_per_day": None}
        write_latest_look(store, make_look(ArchiveTotals(**(vars(TOTALS) | unlimited)), CHECKS, NOW))
        assert scrape(url).keys().isdisjoint({"kros_deletion_seconds", "kros_api_requests_quota"})
        objects_of(store.bucket).clear()
        write_latest_look(store, make_look(TOTALS, {}, NOW))
        older = json.loads(store.read(LATEST_LOOK) or b"")
        del older["numbers"]["utterances"]  # an earlier version wrote it
        objects_of(store.bucket).clear()
        objects_of(store.bucket)[store.full_key(LATEST_LOOK)] = stored_object(older)
        assert "kros_utterances" not in scrape(url) and scrape(url)["kros_calls"] == 1_000


def stored_object(value: object) -> StoredObject:
    return StoredObject(value if isinstance(value, bytes) else json.dumps(value).encode(), VersionToken("1"))


@pytest.mark.parametrize("body", [b"", b"no JSON", b"[]", b'{"looked_at": "today"}', b'{"looked_at": "2025-06-01"}'])
def test_an_object_that_is_no_look_is_as_none(store: MemoryObjectStore, body: bytes) -> None:
    objects_of(store.bucket)[store.full_key(LATEST_LOOK)] = stored_object(body)
    assert read_latest_look(store) is None


def test_an_archive_that_cannot_be_read_is_a_metric_and_no_error_of_the_scrape(
    store: MemoryObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: str) -> bytes:
        raise ArchiveUnavailable("no answer")

    monkeypatch.setattr(store, "read", refuse)
    with served(store) as url:
        assert scrape(url) == {"kros_archive_readable": 0}


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        ({"KROS_ARCHIVE_URL": ""}, "KROS_ARCHIVE_URL is missing"),
        ({"KROS_METRICS_ADDRESS": "9777"}, "KROS_METRICS_ADDRESS is '9777'; write host:port"),
        ({"KROS_METRICS_ADDRESS": "localhost:http"}, "write host:port"),
        ({"KROS_METRICS_ADDRESS": "localhost:65536"}, "write host:port"),
        ({"KROS_METRICS_ADRESS": "localhost:1"}, "did you mean KROS_METRICS_ADDRESS"),
    ],
)
def test_bad_settings_are_reported_and_those_of_the_api_are_not_needed(texts: dict[str, str], problem: str) -> None:
    with pytest.raises(BadSettings, match=problem):
        start_metrics_server(PLACE | texts)


def test_an_address_that_is_taken_is_named(store: MemoryObjectStore) -> None:
    with served(store) as url, pytest.raises(LocalFault, match=r"127.0.0.1:\d+ cannot be listened at"):
        port = url.split(":")[2].split("/")[0]
        start_metrics_server(
            PLACE | {"KROS_METRICS_ADDRESS": f"127.0.0.1:{port}"},
            open_archive=lambda _: (store, MemoryGovernance(store)),
        )
