"""What a server can do is probed: what the daily work needs is refused in one sentence, the rest by its name."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from kros_pipeline.archive.audit_log import AuditLog
from kros_pipeline.archive.capabilities import (
    read_capabilities,
    require_daily_capabilities,
    require_erasure_capabilities,
)
from kros_pipeline.archive.governance import ObjectVersion
from kros_pipeline.archive.json_objects import replace_json
from kros_pipeline.archive.object_store import CREATE, Replace, VersionToken
from kros_pipeline.archive.parquet import batches_of
from kros_pipeline.archive.tables import Tables
from kros_pipeline.archive.tombstones import Tombstones
from kros_pipeline.core import schemas
from kros_pipeline.core.errors import ArchiveDenied, ArchiveError, ArchiveUnavailable, ObjectChanged, UnfitStore
from kros_pipeline.core.object_keys import CAPABILITIES, DAILY_PROBE, audio_key
from kros_pipeline.steps.legal_holds import place_legal_holds
from kros_pipeline_tests.support.clocks import clock_without_waits
from kros_pipeline_tests.support.memory_bucket import create_versioned_bucket, objects_of
from kros_pipeline_tests.support.memory_store import MemoryGovernance, MemoryObjectStore, MemoryServer

NOW = datetime(2025, 1, 20, 4, 15, tzinfo=UTC)
CLOCK = clock_without_waits(lambda: NOW)
_numbers = itertools.count(1)
EMPTY: dict[str, Any] = dict.fromkeys(schemas.FLAGGED_CALLS.column_names)


class Encrypting(MemoryServer):
    """A server that is asked for encryption. `applies` says whether it says that it has encrypted."""

    encryption = "AES256"  # type: ignore[assignment]

    def __init__(self, *, applies: bool = True, takes_unencrypted: bool = True) -> None:
        self._applies, self._takes_unencrypted = applies, takes_unencrypted

    def encrypts(self, key: str) -> bool:
        return self._applies

    def takes_unencrypted(self, key: str) -> bool:
        return self._takes_unencrypted


class FaultyStore(MemoryObjectStore):
    """A store that lacks what its `lacks` names."""

    def __init__(self, *lacks: str, bucket: str = "") -> None:
        super().__init__(bucket or f"capabilities-{next(_numbers)}", "archive")
        self.lacks = set(lacks)

    def put(self, key: str, body: Any, *, sha256: str, mode: Any, **how: Any) -> VersionToken:
        head = self.head(key)
        if "create-only" in self.lacks and mode == CREATE and head is not None:
            mode = Replace(head.version)
        if "If-Match" in self.lacks and isinstance(mode, Replace) and head is not None:
            mode = Replace(head.version)
        if "right If-Match" in self.lacks and isinstance(mode, Replace):
            raise ObjectChanged(f"{key}: another writer was first")
        if "SHA-256" in self.lacks:
            sha256 = hashlib.sha256(bytes(body)).hexdigest()
        if "SSE" in self.lacks:
            raise ArchiveError(f"{key}: S3 says InvalidRequest")
        if "SSE by 500" in self.lacks:
            raise ArchiveUnavailable(f"{key}: S3 says InternalError")
        if "permission" in self.lacks:
            raise ArchiveDenied(f"{key}: S3 says AccessDenied")
        return super().put(key, body, sha256=sha256, mode=mode, **how)

    def read_range(self, key: str, begin: int, end: int, *, version: VersionToken | None = None) -> bytes | None:
        return super().read_range(key, begin, end, version=None if "If-Match of GET" in self.lacks else version)

    def keys(self) -> set[str]:
        return {key.removeprefix("archive/") for key in objects_of(self.bucket)}


def make_versioned(*lacks: str) -> FaultyStore:
    """Make a store in a bucket that keeps versions and has Object Lock."""
    bucket = f"capabilities-{next(_numbers)}"
    create_versioned_bucket(bucket)
    return FaultyStore(*lacks, bucket=bucket)


@pytest.fixture
def make() -> Iterator[Callable[..., FaultyStore]]:
    yield FaultyStore


def test_the_daily_work_is_probed_on_one_key_that_stays(make: Callable[..., FaultyStore]) -> None:
    store = make()
    found = require_daily_capabilities(store, CLOCK)
    assert found.compares_sha256 and not store.reads_audio_back
    assert store.keys() == {DAILY_PROBE, CAPABILITIES} and DAILY_PROBE.startswith("state/probe/")
    before = store.requests_made
    assert require_daily_capabilities(store, CLOCK) == found == read_capabilities(store)
    assert store.requests_made - before == 2, "both reads, and nothing else"


@pytest.mark.parametrize(
    ("lack", "sentence"),
    [
        ("create-only", "ignores If-None-Match"),
        ("If-Match", "ignores If-Match"),
        ("right If-Match", "refuses If-Match with the ETag that it has just named"),
    ],
)
@pytest.mark.parametrize("was_probed_before", [False, True])
def test_a_server_that_lacks_what_the_daily_work_needs_is_refused_by_name(
    make: Callable[..., FaultyStore], lack: str, sentence: str, was_probed_before: bool
) -> None:
    store = make(lack)
    if was_probed_before:  # the server was another version then
        store.lacks.clear()
        require_daily_capabilities(store, CLOCK)
        store.lacks.add(lack)
    later = clock_without_waits(lambda: NOW + timedelta(days=31))
    with pytest.raises(UnfitStore, match=f"The S3 server at memory .*{sentence}.*Nothing was archived"):
        require_daily_capabilities(store, later)
    assert store.keys() <= {DAILY_PROBE, CAPABILITIES}
    store.lacks.clear()
    assert require_daily_capabilities(store, later).probed_at == later.now()


def test_a_server_that_compares_no_sha256_is_taken_and_audio_is_read_back(make: Callable[..., FaultyStore]) -> None:
    store = make("SHA-256")
    assert not require_daily_capabilities(store, CLOCK).compares_sha256 and store.reads_audio_back
    store.reads_audio_back = False
    require_daily_capabilities(store, CLOCK)  # the next run, which only reads
    assert store.reads_audio_back


@pytest.mark.parametrize("lack", ["SSE", "SSE by 500"])
def test_encryption_that_is_refused_is_named_only_where_it_is_the_reason(
    make: Callable[..., FaultyStore], lack: str
) -> None:
    store = make(lack)
    store.server = Encrypting()
    with pytest.raises(UnfitStore, match=r"refuses writes that ask for KROS_SSE \(AES256\).*unset KROS_SSE"):
        require_daily_capabilities(store, CLOCK)
    store.server = Encrypting(takes_unencrypted=False)
    with pytest.raises(ArchiveError) as raised:
        require_daily_capabilities(store, CLOCK)
    assert not isinstance(raised.value, UnfitStore)


def test_encryption_that_is_taken_and_not_applied_is_refused(make: Callable[..., FaultyStore]) -> None:
    store = make()
    store.server = Encrypting(applies=False)
    with pytest.raises(UnfitStore, match=r"takes KROS_SSE \(AES256\) and does not apply it"):
        require_daily_capabilities(store, CLOCK)
    store.server = Encrypting()
    assert require_daily_capabilities(store, CLOCK).encryption == "AES256"


def test_a_role_that_may_not_write_is_no_unfit_server(make: Callable[..., FaultyStore]) -> None:
    with pytest.raises(ArchiveDenied) as raised:
        require_daily_capabilities(make("permission"), CLOCK)
    assert type(raised.value) is ArchiveDenied


@pytest.mark.parametrize(
    "change",
    [
        lambda stored: stored | {"endpoint": "https://s3.example.com"},
        lambda stored: stored | {"encryption": "aws:kms key-1"},
        lambda stored: stored | {"probed_at": (NOW - timedelta(days=30)).isoformat()},
        lambda stored: stored | {"probed_at": (NOW + timedelta(days=400)).isoformat()},
        lambda stored: stored | {"probed_at": "soon"},
        lambda stored: {"endpoint": "memory"},
        lambda stored: stored | {"a newer version's": 1},
        lambda stored: [],
    ],
)
def test_it_is_probed_again_where_it_is_not_known_any_more(
    make: Callable[..., FaultyStore], change: Callable[[Any], Any]
) -> None:
    store = make()
    require_daily_capabilities(store, CLOCK)
    body = json.dumps(change(json.loads(store.read(CAPABILITIES) or b""))).encode()
    head = store.head(CAPABILITIES)
    assert head is not None
    store.put(CAPABILITIES, body, sha256=hashlib.sha256(body).hexdigest(), mode=Replace(head.version))
    store.lacks.add("create-only")
    with pytest.raises(UnfitStore):
        require_daily_capabilities(store, CLOCK)
    store.lacks.clear()
    found = require_daily_capabilities(store, CLOCK)
    assert (found.endpoint, found.encryption, found.probed_at) == ("memory", None, NOW)


def test_probes_at_once_do_not_disturb_each_other(make: Callable[..., FaultyStore]) -> None:
    store = make()
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: require_daily_capabilities(store, CLOCK), range(12)):
            assert found.compares_sha256
        for _ in pool.map(lambda _: require_erasure_capabilities(store, MemoryGovernance(store), CLOCK), range(12)):
            pass
    assert store.keys() == {DAILY_PROBE, CAPABILITIES}


# Erasure.


class FaultyGovernance(MemoryGovernance):
    """A governance that lacks what its `lack` names."""

    def __init__(self, store: MemoryObjectStore, lack: str) -> None:
        super().__init__(store)
        self._lack = lack

    def read_version(self, version: ObjectVersion) -> bytes | None:
        if self._lack == "old versions" and not version.is_latest:
            return None
        return self._store.read(version.key) if self._lack == "bytes of old versions" else super().read_version(version)

    def versions(self, prefix: str) -> Iterator[ObjectVersion]:
        if self._lack == "versions":
            raise UnfitStore(f"{prefix}: S3 says NotImplemented")
        if self._lack == "list":
            return iter(())
        return super().versions(prefix)

    def delete(self, versions: list[ObjectVersion]) -> None:
        if self._lack == "right to delete":
            raise ArchiveError("S3 did not delete 1 of 1 versions: AccessDenied")
        if self._lack != "deletion":
            super().delete(versions)


@pytest.mark.parametrize(
    ("lack", "sentence"),
    [
        ("versions", "NotImplemented"),
        ("list", "does not list the version"),
        ("right to delete", "did not delete 1 of 1 versions: AccessDenied"),
        ("deletion", "still there after all its versions were deleted"),
    ],
)
def test_erasure_is_refused_by_name_where_the_server_or_the_role_cannot(
    make: Callable[..., FaultyStore], lack: str, sentence: str
) -> None:
    store = make()
    with pytest.raises(UnfitStore, match=f"erase_calls cannot be carried out .*{sentence}.*Nothing was touched"):
        require_erasure_capabilities(store, FaultyGovernance(store, lack), CLOCK)
    found = read_capabilities(store)
    assert found is not None and found.erasure is None, "the daily work goes on"
    require_erasure_capabilities(store, MemoryGovernance(store), CLOCK)


@pytest.mark.parametrize("lack", ["old versions", "bytes of old versions"])
def test_erasure_is_refused_where_old_versions_are_listed_and_not_returned(lack: str) -> None:
    """A proof would find nothing in them: 404 counts as "deleted meanwhile"."""
    store = make_versioned()
    with pytest.raises(UnfitStore, match="does not return the bytes of the old version"):
        require_erasure_capabilities(store, FaultyGovernance(store, lack), CLOCK)
    require_erasure_capabilities(store, MemoryGovernance(store), CLOCK)
    found = read_capabilities(store)
    assert found is not None and found.erasure is not None and found.erasure.keeps_versions


@pytest.mark.parametrize("is_versioned", [False, True])
def test_erasure_is_refused_where_the_condition_of_a_get_is_ignored(*, is_versioned: bool) -> None:
    store = make_versioned("If-Match of GET") if is_versioned else FaultyStore("If-Match of GET")
    with pytest.raises(UnfitStore, match="ignores If-Match of a GET"):
        require_erasure_capabilities(store, MemoryGovernance(store), CLOCK)


def test_what_an_earlier_probe_of_erasure_found_is_not_enough_and_is_kept_until_the_next(
    make: Callable[..., FaultyStore],
) -> None:
    store = make()
    require_erasure_capabilities(store, MemoryGovernance(store), CLOCK)
    stored = json.loads(store.read(CAPABILITIES) or b"")
    del stored["erasure"]["number"]
    replace_json(store, CAPABILITIES, stored | {"erasure": stored["erasure"] | {"holds": False}})
    found = require_daily_capabilities(store, CLOCK)
    assert found.erasure is not None and found.erasure.holds is False and not found.erasure.is_enough()
    with pytest.raises(UnfitStore):
        require_erasure_capabilities(store, FaultyGovernance(store, "versions"), CLOCK)
    require_erasure_capabilities(store, MemoryGovernance(store), CLOCK)
    require_erasure_capabilities(store, FaultyGovernance(store, "versions"), CLOCK)  # known


def test_what_erasure_found_is_kept_for_30_days_and_for_the_same_server(make: Callable[..., FaultyStore]) -> None:
    store = make()
    require_erasure_capabilities(store, MemoryGovernance(store), CLOCK)
    found = read_capabilities(store)
    assert found is not None and found.erasure is not None and not found.erasure.keeps_versions
    assert "deletes for good" in found.describe()["S3 erasure"]
    require_erasure_capabilities(store, FaultyGovernance(store, "versions"), CLOCK)  # known: nothing is tried
    later = clock_without_waits(lambda: NOW + timedelta(days=30))
    with pytest.raises(UnfitStore):
        require_erasure_capabilities(store, FaultyGovernance(store, "versions"), later)
    found = read_capabilities(store)
    assert found is not None and found.erasure is not None and found.probed_at == later.now()


def test_an_erasure_is_tried_again_where_the_server_is_only_busy(make: Callable[..., FaultyStore]) -> None:
    class Busy(MemoryGovernance):
        def versions(self, prefix: str) -> Iterator[ObjectVersion]:
            raise ArchiveUnavailable(f"{prefix}: S3 says SlowDown")

    store = make()
    with pytest.raises(ArchiveUnavailable, match="SlowDown"):
        require_erasure_capabilities(store, Busy(store), CLOCK)


class WithoutEffect(MemoryGovernance):
    """A governance of a bucket with Object Lock, whose server shows holds and deletes what is held."""

    def __init__(self, store: MemoryObjectStore) -> None:
        super().__init__(store)
        self.held: set[str] = set()

    def has_object_lock(self) -> bool:
        return True

    def place_legal_hold(self, key: str, version_id: str | None = None) -> None:
        self.held.add(key)

    def has_legal_hold(self, version: ObjectVersion) -> bool:
        return version.key in self.held


def test_no_recording_counts_as_held_where_the_server_was_found_to_ignore_holds(
    make: Callable[..., FaultyStore],
) -> None:
    store, day = make(), date(2025, 1, 10)
    governance, tombstones = WithoutEffect(store), Tombstones(store, None, CLOCK)
    tables = Tables(store, tombstones)
    row = {"call_id": "call_1", "call_date": day, "rule_id": "r", "reason": "r", "extend_days": 1, "rules_version": "1"}
    tables.commit(schemas.FLAGGED_CALLS, day, lambda _: batches_of(schemas.FLAGGED_CALLS, [EMPTY | row]))
    store.put(audio_key(day, "call_1"), b"audio", sha256=hashlib.sha256(b"audio").hexdigest(), mode=CREATE)

    def hold() -> list[str]:
        audit = AuditLog(store, tombstones, CLOCK, run_id="r", day=day, step="hold")
        return place_legal_holds(
            day,
            is_wanted=True,
            store=store,
            governance=governance,
            tables=tables,
            audit=audit,
            clock=CLOCK,
            threads=1,
        )

    require_erasure_capabilities(store, governance, CLOCK)
    found = read_capabilities(store)
    assert found is not None and found.erasure is not None and found.erasure.holds is False
    governance.held.clear()
    assert "deletes what is under legal hold" in hold()[0] and governance.held == set()
