"""Recordings: in ranges, in pieces, and an audit record before the first byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from kros_pipeline.browser import audio
from kros_pipeline.core.errors import ArchiveUnavailable
from kros_pipeline.core.object_keys import audio_key
from kros_pipeline_tests.support.listen_archive import DAY, ListedCall, ListenArchive, tone

CALL = "/call/2025-01-10/call_1"


@pytest.fixture
def archive(tmp_path: Path) -> ListenArchive:
    return ListenArchive(
        tmp_path,
        [
            ListedCall("call_1", seconds=20),
            ListedCall("call_gone", has_audio=False),
            ListedCall("call_late", state="pending"),
            ListedCall("call_bad", state="failed", quarantine_key="krosai/quarantine/x.bin"),
        ],
    )


BODY = tone(20)
SIZE = len(BODY)


@pytest.mark.parametrize(
    ("asked", "status", "begin", "end"),
    [
        (None, 200, 0, SIZE),
        ("bytes=0-", 206, 0, SIZE),
        ("bytes=0-0", 206, 0, 1),
        ("bytes=100-199", 206, 100, 200),
        ("bytes=100-99999999", 206, 100, SIZE),
        ("bytes=-10", 206, SIZE - 10, SIZE),
        ("bytes=-99999999", 206, 0, SIZE),
        (f"bytes={SIZE - 1}-", 206, SIZE - 1, SIZE),
        # no single range of bytes: the whole body, as RFC 9110 allows
        ("bytes=5-2", 200, 0, SIZE),
        ("bytes=0-1,3-4", 200, 0, SIZE),
        ("items=0-1", 200, 0, SIZE),
        ("bytes=-", 200, 0, SIZE),
        ("bytes=" + "9" * 5_000 + "-", 200, 0, SIZE),
    ],
)
def test_a_range_is_sent_as_it_is_asked_for(
    archive: ListenArchive, asked: str | None, status: int, begin: int, end: int
) -> None:
    answer = archive.client().get(f"{CALL}/audio", headers={"Range": asked} if asked else {})
    assert answer.status_code == status
    assert answer.content == BODY[begin:end]
    assert answer.headers["content-length"] == str(end - begin)
    assert answer.headers["content-type"] == "audio/mpeg"
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers.get("content-range") == (f"bytes {begin}-{end - 1}/{SIZE}" if status == 206 else None)


@pytest.mark.parametrize("asked", [f"bytes={SIZE}-", "bytes=999999999-", "bytes=-0"])
def test_a_range_beyond_the_end_is_refused(archive: ListenArchive, asked: str) -> None:
    answer = archive.client().get(f"{CALL}/audio", headers={"Range": asked})
    assert answer.status_code == 416 and answer.headers["content-range"] == f"bytes */{SIZE}"


def test_a_condition_that_no_answer_fulfils_gives_the_whole_recording(archive: ListenArchive) -> None:
    headers = {"Range": "bytes=0-9", "If-Range": '"another"'}
    assert archive.client().get(f"{CALL}/audio", headers=headers).status_code == 200


def test_a_recording_is_read_in_pieces(archive: ListenArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio, "PIECE_BYTES", 10_000)
    asked: list[int] = []
    read_range = archive.store.read_range

    def counted(key: str, begin: int, end: int) -> bytes | None:
        asked.append(end - begin)
        return read_range(key, begin, end)

    monkeypatch.setattr(archive.store, "read_range", counted)
    monkeypatch.setattr(archive.store, "read", lambda key: pytest.fail("read whole") if "audio/" in key else b"{}")
    assert archive.client().get(f"{CALL}/audio").content == BODY
    assert max(asked) <= 10_000 and sum(asked) == SIZE + 16


@pytest.mark.parametrize(
    ("begin", "kind"),
    [
        (b"RIFF....WAVE", "audio/wav"),
        (b"OggS............", "audio/ogg"),
        (b"<!doctype html><script>alert(1)</script>", "audio/mpeg"),
        (b"%PDF-1.7", "audio/mpeg"),
    ],
)
def test_no_body_is_sent_as_something_that_a_browser_runs(tmp_path: Path, begin: bytes, kind: str) -> None:
    archive = ListenArchive(tmp_path, [ListedCall("call_gone", has_audio=False)])
    _put(archive, begin)
    answer = archive.client().get("/call/2025-01-10/call_gone/audio")
    assert answer.headers["content-type"] == kind and answer.headers["x-content-type-options"] == "nosniff"


def _put(archive: ListenArchive, body: bytes) -> None:
    import hashlib

    key = audio_key(DAY, "call_gone")
    archive.store.put(key, body, sha256=hashlib.sha256(body).hexdigest(), mode="create")


def test_a_recording_that_cannot_be_decoded_has_no_waveform(tmp_path: Path) -> None:
    archive = ListenArchive(tmp_path, [ListedCall("call_gone", has_audio=False)])
    _put(archive, b"\x00" * 5_000)
    assert archive.client().get("/call/2025-01-10/call_gone/peaks").json() == {"peaks": [], "seconds": 0.0}


def test_the_waveform_is_computed_once(archive: ListenArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    client = archive.client()
    first = client.get(f"{CALL}/peaks").json()
    assert len(first["peaks"]) == 800 and max(first["peaks"]) > 150 and min(first["peaks"]) < 20
    assert first["seconds"] == pytest.approx(20, abs=0.5)
    monkeypatch.setattr(
        archive.store, "copy_into", lambda key, file: pytest.fail("read again") if "audio" in key else None
    )
    assert client.get(f"{CALL}/peaks").json() == first


@pytest.mark.parametrize("part", ["audio", "peaks"])
@pytest.mark.parametrize(
    ("call_id", "sentence"),
    [
        ("call_gone", "verify_archive"),
        ("call_late", "tries again by itself"),
        ("call_bad", "accept_quarantined"),
    ],
)
def test_a_recording_that_is_not_there_says_why(archive: ListenArchive, call_id: str, sentence: str, part: str) -> None:
    answer = archive.client().get(f"/call/2025-01-10/{call_id}/{part}")
    assert answer.status_code == 404 and sentence in answer.text


def test_each_play_has_one_audit_record_however_many_parts_it_has(archive: ListenArchive) -> None:
    client = archive.client()
    for asked in ("bytes=0-", "bytes=1000-1999", "bytes=2000-"):
        client.get(f"{CALL}/audio", headers={"Range": asked})
    [line] = archive.audit_lines()
    assert {name: line[name] for name in ("event", "call", "by", "how")} == {
        "event": "played", "call": "call_1", "by": "local", "how": "recording",
    }  # fmt: skip
    client.get(f"{CALL}/audio", headers={"Range": "bytes=0-"})  # played again from its begin
    assert len(archive.audit_lines()) == 2


def test_a_play_that_begins_in_the_middle_has_a_record(archive: ListenArchive) -> None:
    archive.client().get(f"{CALL}/audio", headers={"Range": "bytes=5000-"})
    assert [line["event"] for line in archive.audit_lines()] == ["played"]


@pytest.mark.parametrize("path", [f"{CALL}/audio", CALL, "/calls?turn=with&words=hello"])
def test_nothing_is_shown_where_the_record_cannot_be_written(
    archive: ListenArchive, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    client = archive.client()

    def refuse(*_: object, **__: object) -> None:
        raise ArchiveUnavailable("audit/: S3 gives no answer")

    monkeypatch.setattr(archive.store, "put", refuse)
    answer = client.get(path)
    assert answer.status_code == 503 and "Hello" not in answer.text


def test_only_head_asks_without_a_play(archive: ListenArchive) -> None:
    answer = archive.client().head(f"{CALL}/audio")
    assert (answer.status_code, answer.headers["content-length"]) == (200, str(SIZE))
    assert archive.audit_lines() == []


def test_the_hash_is_checked_now(archive: ListenArchive) -> None:
    own = {"sec-fetch-site": "same-origin"}
    assert ">same<" in archive.client().post(f"{CALL}/hash", headers=own).text
    assert ">missing<" in archive.client().post("/call/2025-01-10/call_gone/hash", headers=own).text
    _put(archive, b"other bytes")
    assert ">different<" in archive.client().post("/call/2025-01-10/call_gone/hash", headers=own).text
