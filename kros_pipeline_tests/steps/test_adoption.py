"""An object that is in the bucket already is adopted by its bytes; its metadata is believed for nothing."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import IO

import pytest

from kros_pipeline.archive.object_store import VersionToken
from kros_pipeline.core.errors import ArchiveDenied
from kros_pipeline.core.object_keys import audio_key, table_key
from kros_pipeline.sandbox.mp3 import mp3_audio
from kros_pipeline.steps import recordings
from kros_pipeline_tests.support.accounts import DAY, PLAIN, Account, MakeAccount
from kros_pipeline_tests.support.memory_bucket import objects_of
from kros_pipeline_tests.support.steps import archive_recordings, reconcile_day

FEW = replace(PLAIN, days={"2025-01-10": 3}, audio_seconds=(1, 2))


@pytest.fixture
def our(memory_account: MakeAccount) -> Account:
    """An account whose day was complete, and has lost its table `recordings`."""
    our = memory_account(FEW)
    assert our.run_day().verdict.verdict == "complete"
    our.archive.delete(table_key("recordings", DAY))
    return our


def change(our: Account, body: bytes | None = None, metadata: Mapping[str, str] | None = None) -> str:
    """Change the body or the metadata of the first object, nothing else, and return its call's id."""
    key = min(our.archive.objects("audio/"))
    objects = objects_of(our.archive.bucket)
    stored = objects[f"{our.archive.prefix}/{key}"]
    objects[f"{our.archive.prefix}/{key}"] = dataclasses.replace(
        stored,
        body=stored.body if body is None else body,
        metadata=stored.metadata if metadata is None else {**stored.metadata, **metadata},
        version=VersionToken(stored.version + "changed"),
    )
    return key.split("/")[-1].removesuffix(".mp3")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html>not found</html>", "is no recording: .*an HTML or JSON answer at byte 0 of 22"),
        (b"", "is no recording: .*empty"),
        (bytes(mp3_audio(1, "another", 50)), "was changed: its SHA-256 is not the one that it was put with"),
    ],
    ids=["html", "empty", "other audio"],
)
def test_a_changed_object_is_not_adopted_whatever_its_metadata_say(our: Account, body: bytes, words: str) -> None:
    call_id = change(our, body)
    report = archive_recordings(our.ctx, DAY)
    row = our.archive.by_call("recordings", DAY)[call_id]
    assert row["status"] == "failed" and row["sha256"] is None and row["duration_seconds"] is None
    assert report.counts["adopted"] == 2 and report.counts["archived_now"] == 0
    verdict = reconcile_day(our.ctx, DAY).verdict
    assert verdict.verdict == "incomplete"
    assert verdict.problems[0].startswith(f"1 × recording failed: {call_id} (1 × ")
    assert our.archive.read(audio_key(DAY, call_id)) == body, "nothing is overwritten"
    [(_, reason)] = report.problems
    assert re.search(words, reason), reason


def test_a_cut_object_is_not_adopted(our: Account) -> None:
    call_id = change(our, our.archive.read(min(our.archive.objects("audio/")))[:-50])
    archive_recordings(our.ctx, DAY)
    row = our.archive.by_call("recordings", DAY)[call_id]
    assert row["status"] == "failed" and "its SHA-256 is not the one" in row["reason"]


def test_size_length_and_rates_are_those_of_the_bytes(our: Account) -> None:
    lies = {"duration-seconds": "9999.0", "sample-rate-hz": "1", "channels": "7", "bitrate-bps": "?"}
    before = objects_of(our.archive.bucket)[f"{our.archive.prefix}/{min(our.archive.objects('audio/'))}"]
    call_id = change(our, metadata=lies)
    archive_recordings(our.ctx, DAY)
    row = our.archive.by_call("recordings", DAY)[call_id]
    assert (row["status"], row["size_bytes"]) == ("archived", len(before.body))
    assert row["duration_seconds"] < 3 and row["sample_rate_hz"] > 1 and row["channels"] in (1, 2)
    assert row["archived_at"] == before.last_modified.astimezone(UTC) <= datetime.now(UTC)
    assert reconcile_day(our.ctx, DAY).verdict.verdict == "complete"


def test_an_adopted_object_costs_two_requests(our: Account) -> None:
    ctx = our.open()
    asked: list[tuple[str, str]] = []
    for name in ("head", "copy_into", "read", "digest"):
        true = getattr(ctx.store, name)

        def counting(key: str, *more: object, name: str = name, true: object = true) -> object:
            asked.append((name, key))
            return true(key, *more)  # type: ignore[operator]

        setattr(ctx.store, name, counting)
    archive_recordings(ctx, DAY)
    of_audio = sorted((name, key) for name, key in asked if key.startswith("audio/"))
    keys = sorted(our.archive.objects("audio/"))
    assert of_audio == sorted((name, key) for name in ("copy_into", "head") for key in keys)


def test_what_was_adopted_before_the_bucket_refused_stays(our: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recordings, "_SAVE_EVERY_CALLS", 1)
    ctx = our.open(KROS_DOWNLOAD_WORKERS="1")
    refused = max(our.archive.objects("audio/"))
    true = ctx.store.copy_into

    def copy_into(key: str, file: IO[bytes]) -> VersionToken | None:
        if key == refused:
            raise ArchiveDenied("s3: 403")
        return true(key, file)

    monkeypatch.setattr(ctx.store, "copy_into", copy_into)
    report = archive_recordings(ctx, DAY)
    assert isinstance(report.error, ArchiveDenied) and report.counts["adopted"] == 2
    statuses = [row["status"] for row in our.archive.table("recordings", DAY)]
    assert sorted(statuses) == ["archived", "archived", "pending"]
    monkeypatch.undo()
    assert our.run_day().verdict.verdict == "complete"
