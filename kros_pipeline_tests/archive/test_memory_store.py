"""The bucket in memory does what the real store does, so that a day that is run over it is a day."""

from __future__ import annotations

import hashlib
import io
from typing import Any

import pytest

from kros_pipeline.archive.s3_store import ObjectStore
from kros_pipeline.core.errors import ArchiveError, ObjectChanged, ObjectExists
from kros_pipeline.steps import run_context as run_context
from kros_pipeline_tests.support.accounts import DAY, MakeAccount
from kros_pipeline_tests.support.archive_check import assert_archive_is_true
from kros_pipeline_tests.support.memory_store import MemoryObjectStore


def told(store: Any) -> list[Any]:
    """What a store answers to everything that the steps ask of one."""
    answers: list[Any] = []

    def ask(method: str, *arguments: Any, **named: Any) -> None:
        try:
            answer = getattr(store, method)(*arguments, **named)
            answers.append(answer == store.head(arguments[0]).etag if method == "put" else answer)
        except ArchiveError as error:
            answers.append(type(error))

    def put(key: str, body: bytes, only_if: str) -> None:
        file = io.BytesIO(body)
        file.seek(0, io.SEEK_END)  # it is written from its beginning, wherever it stands
        ask("put", key, file, sha256=hashlib.sha256(body).hexdigest(), only_if=only_if, metadata={"a": "b"})

    put("state/a.json", b"{}", "absent")
    put("state/a.json", b"[]", "absent")
    put("state/a.json", b"[1]", '"other"')
    put("state/b.json", b"[1]", '"other"')
    put("state/a.json", b'{"n": 1}', store.head("state/a.json").etag)
    ask("put_audio", "audio/x.mp3", memoryview(b"abc"), metadata={"sha256": "00"})
    ask("put_audio", "audio/x.mp3", b"abcd", metadata={})
    ask("put_json", "state/c.json", {"b": 1, "a": "é"}, only_if="absent")
    for key in ("state/a.json", "state/c.json", "audio/x.mp3", "nothing"):
        ask("read", key)
        file = io.BytesIO()
        answers.append((store.copy_into(key, file) is None, file.getvalue()))
        head = store.head(key)
        answers.append(head and (head.size_bytes, dict(head.metadata), head.last_modified.tzinfo is not None))
    ask("read_json", "state/a.json")
    ask("read_json", "nothing")
    answers.append([(entry.key, entry.size_bytes) for entry in store.list("state/")])
    answers.append([(entry.key, entry.size_bytes) for entry in store.list("")])
    return answers


def test_the_bucket_in_memory_answers_as_the_real_store_does(account: MakeAccount) -> None:
    settings = account().ctx.settings
    in_memory = told(MemoryObjectStore(settings))
    assert in_memory == told(ObjectStore(settings))
    assert {ObjectExists, ObjectChanged} <= {answer for answer in in_memory if isinstance(answer, type)}


def test_a_checksum_that_is_not_the_bodys_is_told(memory_account: MakeAccount) -> None:
    with pytest.raises(AssertionError, match="another checksum"):
        memory_account().ctx.store.put("state/a", b"abc", sha256=hashlib.sha256(b"abd").hexdigest(), only_if="absent")


def test_a_day_leaves_the_same_objects(account: MakeAccount, memory_account: MakeAccount, monkeypatch: Any) -> None:
    in_memory = memory_account()
    in_memory.run_day()
    monkeypatch.setattr(run_context, "ObjectStore", ObjectStore)
    real = account()
    real.run_day()
    tables = [f"tables/{name}/dt={DAY}/part-0.parquet" for name in ("utterances", "flagged_calls")]  # have no clock
    for archive in (in_memory.archive, real.archive):
        assert_archive_is_true(real.krosai, archive, DAY)
    keys = [{key.replace(our.ctx.run_id, "RUN") for key in our.archive.objects()} for our in (in_memory, real)]
    assert keys[0] == keys[1]
    for key in [key for key in real.archive.objects() if key.startswith("audio/")] + tables:
        assert in_memory.archive.read(key) == real.archive.read(key), key
