"""The laws of `ObjectStore`, for every implementation: S3 (moto's server, and SeaweedFS) and those of the tests."""

from __future__ import annotations

import hashlib
import io
import itertools
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.scale.sqlite_store import SqliteStore
from kros_pipeline.archive.object_store import CREATE, Entry, ObjectStore, PutMode, Replace, VersionToken
from kros_pipeline.archive.s3_store import S3ObjectStore
from kros_pipeline.archive.settings import ArchiveSettings
from kros_pipeline.core.errors import ArchiveError, ObjectChanged, ObjectExists
from kros_pipeline_tests.support.memory_bucket import objects_of
from kros_pipeline_tests.support.memory_store import MemoryObjectStore
from kros_pipeline_tests.support.s3_servers import SeaweedFS
from kros_pipeline_tests.support.years_store import YearsStore

OpenStore = Callable[[str], ObjectStore]

_numbers = itertools.count(1)


@pytest.fixture(params=["s3", "seaweedfs", "seaweedfs, versioned", "memory", "years", "sqlite"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenStore]:
    """Open the store of a prefix; every prefix of one test is in the same bucket."""
    base = f"contract-{next(_numbers)}"
    if request.param == "memory":
        yield lambda prefix: MemoryObjectStore(base, prefix)
        objects_of(base).clear()
        return
    if request.param == "years":
        yield lambda prefix: YearsStore(0, 0, prefix=f"{base}/{prefix}")
        return
    if request.param == "sqlite":
        yield lambda prefix: SqliteStore(tmp_path, prefix)
        return
    bucket = request.getfixturevalue("aws").bucket
    server, _, kind = request.param.partition(", ")
    if server == "seaweedfs":
        bucket = request.getfixturevalue("seaweedfs_buckets")[kind or "plain"]
        for name, value in request.getfixturevalue("seaweedfs").environment.items():
            request.getfixturevalue("monkeypatch").setenv(name, value)
    opened: list[S3ObjectStore] = []

    def open_s3(prefix: str) -> ObjectStore:
        store = S3ObjectStore(ArchiveSettings(bucket, f"{base}/{prefix}", None, None, None, connections=8))
        opened.append(store)
        return store

    yield open_s3
    for store in opened:
        store.client.close()


@pytest.fixture(scope="module")
def seaweedfs_buckets(seaweedfs: SeaweedFS) -> dict[str, str]:
    """A bucket of each kind."""
    buckets = {kind: f"contract-{kind}" for kind in ("plain", "versioned")}
    for kind, bucket in buckets.items():
        seaweedfs.create_bucket(bucket, kind)
    return buckets


@pytest.fixture
def store(open_store: OpenStore) -> ObjectStore:
    return open_store("archive")


def put(store: ObjectStore, key: str, body: bytes, mode: PutMode = CREATE, **more: Any) -> VersionToken:
    return store.put(key, body, sha256=hashlib.sha256(body).hexdigest(), mode=mode, **more)


def body_of(size: int) -> bytes:
    return (bytes(number % 251 for number in range(1_000)) * (size // 1_000 + 1))[:size]


# Bodies.


@pytest.mark.parametrize("size", [0, 1, 1 << 16, (5 << 20) + 3])
@pytest.mark.parametrize("kind", ["bytes", "memoryview", "file"])
def test_every_kind_of_body_arrives_as_it_is(store: ObjectStore, kind: str, size: int) -> None:
    body = body_of(size)
    with tempfile.TemporaryFile() as file:
        file.write(body)
        file.seek(0)
        given: Any = {"bytes": body, "memoryview": memoryview(body), "file": file}[kind]
        store.put("state/x", given, sha256=hashlib.sha256(body).hexdigest(), mode=CREATE)
    assert store.read("state/x") == body


@pytest.mark.parametrize("position", [0, 1, 3])
def test_a_file_is_written_from_its_beginning_wherever_it_stands(store: ObjectStore, position: int) -> None:
    file = io.BytesIO(b"abc")
    file.seek(position)
    store.put("state/x", file, sha256=hashlib.sha256(b"abc").hexdigest(), mode=CREATE)
    assert store.read("state/x") == b"abc"


def test_a_body_that_is_not_the_one_of_its_sha256_is_refused(store: ObjectStore) -> None:
    other = hashlib.sha256(b"abd").hexdigest()
    for body in (b"abc", io.BytesIO(b"abc")):
        with pytest.raises(ArchiveError, match="BadDigest"):
            store.put("state/x", body, sha256=other, mode=CREATE)
    assert store.head("state/x") is None


# Conditions.


@pytest.mark.parametrize("kind", [bytes, memoryview, io.BytesIO])
def test_create_never_overwrites(store: ObjectStore, kind: Callable[[bytes], Any]) -> None:
    put(store, "state/x", b"first")
    with pytest.raises(ObjectExists, match="state/x"):
        store.put("state/x", kind(b"second"), sha256=hashlib.sha256(b"second").hexdigest(), mode=CREATE)
    assert store.read("state/x") == b"first"


@pytest.mark.parametrize("kind", [bytes, memoryview, io.BytesIO])
def test_replace_replaces_the_version_that_was_read(store: ObjectStore, kind: Callable[[bytes], Any]) -> None:
    version = put(store, "state/x", b"one")
    new = store.put("state/x", kind(b"two"), sha256=hashlib.sha256(b"two").hexdigest(), mode=Replace(version))
    assert store.read("state/x") == b"two"
    put(store, "state/x", b"three", Replace(new))
    assert store.read("state/x") == b"three"


def test_replace_writes_nothing_over_any_other_version(store: ObjectStore) -> None:
    version = put(store, "state/x", b"one")
    put(store, "state/x", b"two", Replace(version))
    for outdated in (version, VersionToken('"00000000000000000000000000000000"')):
        with pytest.raises(ObjectChanged, match="state/x"):
            put(store, "state/x", b"three", Replace(outdated))
    assert store.read("state/x") == b"two"


def test_replace_creates_nothing(store: ObjectStore) -> None:
    version = put(store, "state/x", b"one")
    with pytest.raises(ObjectChanged):
        put(store, "state/absent", b"one", Replace(version))
    assert store.head("state/absent") is None


def test_put_head_and_copy_name_the_same_version(store: ObjectStore) -> None:
    for key, body in (("state/x", b"one"), ("audio/x.mp3", memoryview(b"two"))):
        version = store.put(key, body, sha256=hashlib.sha256(body).hexdigest(), mode=CREATE)
        head = store.head(key)
        assert head is not None and head.version == version == store.copy_into(key, io.BytesIO())


@pytest.mark.parametrize("kind", [bytes, memoryview])
def test_exactly_one_of_concurrent_creators_wins(store: ObjectStore, kind: Callable[[bytes], Any]) -> None:
    won: list[bytes] = []
    lost: list[bytes] = []
    start = threading.Barrier(6)

    def create(number: int) -> None:
        body = f"{number}".encode()
        start.wait()
        try:
            store.put("state/raced", kind(body), sha256=hashlib.sha256(body).hexdigest(), mode=CREATE)
            won.append(body)
        except ObjectExists:
            lost.append(body)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1 and len(lost) == 5
    assert store.read("state/raced") == won[0]


# Reading.


def test_absent_is_none(store: ObjectStore) -> None:
    file = io.BytesIO()
    assert store.head("no") is None and store.read("no") is None and store.digest("no") is None
    assert store.copy_into("no", file) is None and file.getvalue() == b""
    assert list(store.list("no/")) == [] and list(store.folders("no/")) == []


def test_copy_writes_at_the_files_position(store: ObjectStore) -> None:
    put(store, "state/x", b"abc")
    file = io.BytesIO(b"12")
    file.seek(2)
    assert store.copy_into("state/x", file) is not None
    assert file.getvalue() == b"12abc"


def test_head_shows_size_metadata_and_an_aware_time(store: ObjectStore) -> None:
    metadata = {"sha256": "00ff", "duration-seconds": "12.5"}
    put(store, "state/x", b"abc", metadata=metadata)
    store.put(
        "audio/x.mp3", memoryview(b"abcd"), sha256=hashlib.sha256(b"abcd").hexdigest(), mode=CREATE, metadata=metadata
    )
    for key, size_bytes in (("state/x", 3), ("audio/x.mp3", 4)):
        head = store.head(key)
        assert head is not None and (head.size_bytes, dict(head.metadata)) == (size_bytes, metadata)
        assert head.last_modified.tzinfo is not None


def test_metadata_that_is_not_ascii_is_refused(store: ObjectStore) -> None:
    with pytest.raises(ArchiveError):
        put(store, "state/x", b"abc", metadata={"name": "é"})
    assert store.head("state/x") is None


def test_digest_is_sha256_and_size_of_the_stored_bytes(store: ObjectStore) -> None:
    body = body_of((2 << 20) + 7)
    put(store, "audio/x.mp3", body)
    assert store.digest("audio/x.mp3") == (hashlib.sha256(body).hexdigest(), len(body))


# Listing.


def test_a_range_ends_where_it_says_or_where_the_object_does(store: ObjectStore) -> None:
    body = bytes(range(256)) * 40
    put(store, "audio/a.mp3", body)
    for begin, end in ((0, 1), (0, len(body)), (100, 200), (len(body) - 1, len(body) + 500)):
        assert store.read_range("audio/a.mp3", begin, end) == body[begin:end]
    assert store.read_range("audio/none.mp3", 0, 10) is None
    with pytest.raises(ArchiveError):
        store.read_range("audio/a.mp3", len(body), len(body) + 1)


def test_a_listing_is_sorted_by_key_and_has_every_object_below_its_prefix_only(store: ObjectStore) -> None:
    keys = [f"audio/dt=2025-01-10/{name}" for name in ("-x", "0000", "0001", "A", "_", "a", "a.mp3", "b/c", "z")]
    versions = {key: put(store, key, b"x" * number) for number, key in reversed(list(enumerate(keys)))}
    put(store, "audio/dt=2025-01-100/other", b"")
    put(store, "audio/dt=2025-01-1", b"")
    listed = [Entry(key, number, versions[key]) for number, key in enumerate(keys)]
    assert list(store.list("audio/dt=2025-01-10/")) == listed
    assert [entry.key for entry in store.list("audio/dt=2025-01-10")] == [*keys, "audio/dt=2025-01-100/other"]


def test_a_listing_may_begin_behind_any_key(store: ObjectStore) -> None:
    keys = [f"seals/seal-{number:06d}.{suffix}" for number in (1, 2, 10) for suffix in ("sig", "txt")]
    for key in keys:
        put(store, key, b"x")
    put(store, "state/x", b"x")

    def after(key: str) -> list[str]:
        return [entry.key for entry in store.list("seals/seal-", after=key)]

    assert after(keys[1]) == keys[2:] and after(keys[5]) == [] and after("seals/seal-") == keys
    assert after("seals/seal-000002.tsr") == keys[3:], "the key need not be there"


def test_a_folder_is_named_once_whatever_it_holds(store: ObjectStore) -> None:
    for key in (
        "t/dt=2025-01-11/a",
        "t/dt=2025-01-10/a",
        "t/dt=2025-01-10/b",
        "t/dt=2025-01-10/c/d",
        "t/file",
        "u/x/y",
    ):
        put(store, key, b"")
    assert list(store.folders("t/")) == ["t/dt=2025-01-10/", "t/dt=2025-01-11/"]


# Keys.


def test_objects_of_other_prefixes_are_neither_read_nor_listed(open_store: OpenStore) -> None:
    one, other = open_store("archive"), open_store("archive2")
    put(other, "state/x", b"other")
    assert one.read("state/x") is None and list(one.list("")) == []
    put(one, "state/x", b"one")
    assert other.read("state/x") == b"other"
    assert [entry.key for entry in one.list("")] == ["state/x"]
    assert one.full_key("state/x").endswith("archive/state/x")
    assert one.url("state/x") == f"s3://{one.bucket}/{one.full_key('state/x')}"


def test_a_key_may_have_1024_bytes_with_its_prefix(store: ObjectStore) -> None:
    names = "/".join(["k" * 99] * 11)  # some stores have files: a name between two slashes has 255 bytes at most
    key = "audio/" + names[: 1_024 - len(store.full_key("audio/"))]
    for kind, mode_key in ((bytes, key), (memoryview, key[:-1] + "m")):
        assert len(store.full_key(mode_key).encode()) == 1_024
        store.put(mode_key, kind(b"abc"), sha256=hashlib.sha256(b"abc").hexdigest(), mode=CREATE)
        assert store.read(mode_key) == b"abc"
    assert [entry.key for entry in store.list("audio/")] == [key, key[:-1] + "m"]


def test_each_action_counts_as_one_request(store: ObjectStore) -> None:
    actions: list[Callable[[], object]] = [
        lambda: put(store, "state/x", b"abc"),
        lambda: store.put("audio/x", memoryview(b"abc"), sha256=hashlib.sha256(b"abc").hexdigest(), mode=CREATE),
        lambda: store.head("state/x"),
        lambda: store.read("state/x"),
        lambda: store.copy_into("state/x", io.BytesIO()),
        lambda: store.digest("state/x"),
        lambda: list(store.list("state/")),
        lambda: list(store.folders("")),
    ]
    for number, action in enumerate(actions, 1):
        action()
        assert store.requests_made == number
