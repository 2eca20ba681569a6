"""The laws of `Governance`, for every implementation: S3 (moto's server, and SeaweedFS), and those of the tests."""

from __future__ import annotations

import hashlib
import io
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from kros_pipeline.archive.governance import Governance, ObjectVersion, versions_at
from kros_pipeline.archive.object_store import CREATE, ObjectStore, PutMode, Replace
from kros_pipeline.archive.s3_governance import S3Governance
from kros_pipeline.archive.s3_store import S3ObjectStore
from kros_pipeline.archive.settings import ArchiveSettings
from kros_pipeline.core.errors import ArchiveError, ObjectChanged
from kros_pipeline_tests.support.memory_bucket import create_versioned_bucket, drop_versions, objects_of
from kros_pipeline_tests.support.memory_store import MemoryGovernance, MemoryObjectStore
from kros_pipeline_tests.support.years_store import YearsStore

Archive = tuple[ObjectStore, Governance]

_numbers = itertools.count(1)


@pytest.fixture(params=["s3", "s3, locked", "seaweedfs", "seaweedfs, versioned", "memory", "memory, locked", "years"])
def archive(request: pytest.FixtureRequest) -> Iterator[Archive]:
    kind, _, lock = request.param.partition(", ")
    bucket = f"governed-{next(_numbers)}"
    if kind == "years":
        years = YearsStore(0, 0)
        yield years, years
        return
    if kind == "memory":
        if lock:
            create_versioned_bucket(bucket)
        memory = MemoryObjectStore(bucket, "archive")
        yield memory, MemoryGovernance(memory)
        drop_versions(bucket)
        return
    request.getfixturevalue("aws")
    if kind == "seaweedfs":
        seaweedfs = request.getfixturevalue("seaweedfs")
        for name, value in seaweedfs.environment.items():
            request.getfixturevalue("monkeypatch").setenv(name, value)
        seaweedfs.create_bucket(bucket, lock or "plain")
    else:
        client: Any = request.getfixturevalue("s3_client")
        client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=bool(lock))
    store = S3ObjectStore(ArchiveSettings(bucket, "archive", None, None, None, connections=2))
    yield store, S3Governance(store)
    store.client.close()


def put(store: ObjectStore, key: str, *bodies: bytes) -> None:
    for body in bodies:
        head = store.head(key)
        mode: PutMode = Replace(head.version) if head is not None else CREATE
        store.put(key, body, sha256=hashlib.sha256(body).hexdigest(), mode=mode)


def keys(versions: Iterator[ObjectVersion]) -> list[str]:
    return [version.key for version in versions]


def test_versions_are_listed_below_a_prefix_and_by_level(archive: Archive) -> None:
    store, governance = archive
    for key in ("audio/b", "audio/a", "state/x", "audio/c/d", "audio/c/e", "top"):
        put(store, key, b"1")
    assert keys(governance.versions("")) == ["audio/a", "audio/b", "audio/c/d", "audio/c/e", "state/x", "top"]
    assert keys(governance.versions("audio/")) == ["audio/a", "audio/b", "audio/c/d", "audio/c/e"]
    for prefix, direct, folders in (
        ("", ["top"], ["audio/", "state/"]),
        ("audio/", ["audio/a", "audio/b"], ["audio/c/"]),
        ("audio/c/", ["audio/c/d", "audio/c/e"], []),
        ("none/", [], []),
    ):
        found = governance.level(prefix)
        assert ([version.key for version in found[0]], found[1]) == (direct, folders)


@pytest.mark.parametrize("archive", ["s3, locked", "memory, locked"], indirect=True)
def test_a_folder_whose_objects_are_hidden_is_named_while_a_version_is_left(archive: Archive, s3_client: Any) -> None:
    store, governance = archive
    put(store, "audio/c/d", b"1")
    if isinstance(store, S3ObjectStore):
        s3_client.delete_object(Bucket=store.bucket, Key=store.full_key("audio/c/d"))
    else:
        objects_of(store.bucket).pop(store.full_key("audio/c/d"))
    assert governance.level("audio/")[1] == ["audio/c/"]
    marker, old = sorted(governance.versions("audio/"), key=lambda version: not version.is_marker)
    assert (marker.is_latest, old.is_latest, governance.read_version(marker)) == (True, False, None)
    governance.delete([marker, old])
    assert governance.level("audio/") == ([], [])


@pytest.mark.parametrize("archive", ["s3", "memory, locked", "years"], indirect=True)
def test_a_delete_marker_has_no_bytes_and_is_not_asked_for(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS answers 405 to a GET of a marker, and other servers 404."""
    store, governance = archive

    def get_object(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "MethodNotAllowed", "Message": ""}}, "GetObject")

    if isinstance(store, S3ObjectStore):
        monkeypatch.setattr(store.client, "get_object", get_object)
    marker, file = ObjectVersion("state/x", "1", True, True, 0), io.BytesIO()
    assert governance.read_version(marker) is None
    assert (governance.copy_version_into(marker, file), file.getvalue()) == (False, b"")
    with pytest.raises(ObjectChanged):
        governance.read_version_range(marker, 0, 1)


def test_every_version_is_read_whole_or_in_parts_and_deleted_by_itself(archive: Archive) -> None:
    store, governance = archive
    put(store, "state/x", b"one", b"two two")
    new, *old = versions_at(governance, "state/x")
    assert (new.is_latest, new.size_bytes, governance.read_version(new)) == (True, 7, b"two two")
    assert governance.read_version_range(new, 4, 6) == b"tw"
    assert [(version.is_latest, governance.read_version(version)) for version in old] in ([], [(False, b"one")])
    governance.delete([new])
    assert store.read("state/x") == (b"one" if old else None)
    assert governance.read_version(new) is None
    with pytest.raises(ObjectChanged):
        governance.read_version_range(new, 0, 1)


def test_parts_of_an_object_that_was_replaced_are_refused(archive: Archive) -> None:
    store, governance = archive
    put(store, "state/x", b"one")
    (entry,), (version,) = store.list("state/x"), governance.versions("state/x")
    assert store.read_range("state/x", 1, 3, version=entry.version) == b"ne"
    put(store, "state/x", b"two")
    with pytest.raises(ObjectChanged):
        store.read_range("state/x", 1, 3, version=entry.version)
    if version.version_id == "null":
        with pytest.raises(ObjectChanged):
            governance.read_version_range(version, 1, 3)
    else:
        assert governance.read_version_range(version, 1, 3) == b"ne"


@pytest.mark.parametrize("archive", ["s3, locked", "memory, locked"], indirect=True)
def test_a_version_under_legal_hold_is_not_deleted(archive: Archive) -> None:
    store, governance = archive
    put(store, "audio/x.mp3", b"1")
    (version,) = governance.versions("audio/")
    assert not governance.has_legal_hold(version)
    governance.place_legal_hold("audio/x.mp3")
    assert governance.has_legal_hold(version)
    with pytest.raises(ArchiveError):
        governance.delete([version])
    governance.lift_legal_hold("audio/x.mp3")
    governance.delete([version])
    assert list(governance.versions("")) == []
