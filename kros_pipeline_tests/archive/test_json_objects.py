"""Small JSON objects: created once, or replaced under a condition, and read as what was written."""

from __future__ import annotations

import hashlib
import itertools
from typing import Any

import pytest

from kros_pipeline.archive.compare_and_swap import ATTEMPTS, compare_and_swap
from kros_pipeline.archive.json_objects import create_json, read_json, replace_json
from kros_pipeline.archive.object_store import CREATE, PutMode, Replace
from kros_pipeline.core.errors import ArchiveDenied, ArchiveError, ArchiveUnavailable, ObjectChanged, ObjectExists
from kros_pipeline_tests.support.memory_store import MemoryObjectStore

_numbers = itertools.count(1)


@pytest.fixture
def store() -> MemoryObjectStore:
    return MemoryObjectStore(f"json-{next(_numbers)}")


def test_the_bytes_of_a_json_object_do_not_depend_on_the_order_of_its_fields(store: MemoryObjectStore) -> None:
    assert create_json(store, "state/x.json", {"b": 1, "a": "é"})
    assert store.read("state/x.json") == '{\n "a": "é",\n "b": 1\n}'.encode()
    assert read_json(store, "state/x.json") == {"a": "é", "b": 1}


def test_create_says_whether_it_created(store: MemoryObjectStore) -> None:
    assert create_json(store, "state/x.json", {"n": 1})
    assert not create_json(store, "state/x.json", {"n": 2})
    assert read_json(store, "state/x.json") == {"n": 1}


def test_replace_creates_or_replaces(store: MemoryObjectStore) -> None:
    for number in (1, 2):
        replace_json(store, "state/x.json", {"n": number})
        assert read_json(store, "state/x.json") == {"n": number}


def test_replace_wins_over_writers_that_come_in_between(
    store: MemoryObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, others = store.put, iter(range(3))

    def put_second(key: str, body: Any, **how: Any) -> Any:
        for number in others:
            head, other = store.head(key), f'{{"other": {number}}}'.encode()
            mode: PutMode = Replace(head.version) if head else CREATE
            put(key, other, sha256=hashlib.sha256(other).hexdigest(), mode=mode)
            break
        return put(key, body, **how)

    monkeypatch.setattr(store, "put", put_second)
    replace_json(store, "state/x.json", {"n": 1})
    assert read_json(store, "state/x.json") == {"n": 1} and next(others, None) is None


def test_absent_is_none(store: MemoryObjectStore) -> None:
    assert read_json(store, "state/x.json") is None


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff"])
def test_content_that_is_no_json_object_is_an_error_that_names_the_url(store: MemoryObjectStore, body: bytes) -> None:
    store.put("state/x.json", body, sha256=hashlib.sha256(body).hexdigest(), mode=CREATE)
    with pytest.raises(ArchiveError, match=r"^s3://json-\d+/state/x\.json does not hold the JSON object"):
        read_json(store, "state/x.json")


# The retry loop of conditional writes.


@pytest.mark.parametrize("conflict", [ObjectChanged, ObjectExists])
def test_a_conflict_is_followed_by_reading_again_and_another_try(conflict: type[ArchiveError]) -> None:
    events: list[str] = []

    def write() -> str:
        events.append("write")
        if events.count("write") < 3:
            raise conflict("another writer was first")
        return "written"

    assert compare_and_swap("state/x", write, read_again=lambda: events.append("read")) == "written"
    assert events == ["write", "read", "write", "read", "write"]


def test_endless_conflicts_end_with_an_error_that_names_the_object() -> None:
    tries: list[int] = []

    def write() -> None:
        tries.append(1)
        raise ObjectChanged("another writer was first")

    with pytest.raises(ArchiveUnavailable, match=r"^state/x was replaced by others 5 times in a row$"):
        compare_and_swap("state/x", write)
    assert len(tries) == ATTEMPTS


def test_an_error_that_is_no_conflict_is_not_retried() -> None:
    def write() -> None:
        raise ArchiveDenied("no")

    with pytest.raises(ArchiveDenied):
        compare_and_swap("state/x", write, read_again=pytest.fail)
