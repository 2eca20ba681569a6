"""An erased call answers 410 everywhere, from the moment of its tombstone, and leaves no local file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kros_pipeline.browser import audio
from kros_pipeline.browser.reviews import Reviews
from kros_pipeline.core.errors import ArchiveDenied
from kros_pipeline_tests.support.listen_archive import ListedCall, ListenArchive

CALL = "/call/2025-01-10/call_1"
OWN = {"sec-fetch-site": "same-origin"}
SECRET = "the blue parrot"


@pytest.fixture
def archive(tmp_path: Path) -> ListenArchive:
    return ListenArchive(
        tmp_path,
        [
            ListedCall("call_1", f"[Agent]: hello\n[Caller]: refund {SECRET}"),
            ListedCall("call_2"),
            ListedCall("call_3"),
        ],
    )


@pytest.mark.parametrize("is_warm", [True, False])
def test_every_address_of_an_erased_call_answers_410(archive: ListenArchive, is_warm: bool) -> None:
    client = archive.client()
    if is_warm:  # it was seen, heard and indexed before
        assert [client.get(f"{CALL}{part}").status_code for part in ("", "/audio", "/peaks")] == [200] * 3
    archive.erase("call_1")
    lines = len(archive.audit_lines())
    for part in ("", "/audio", "/peaks"):
        answer = client.get(f"{CALL}{part}")
        assert answer.status_code == 410 and "erased" in answer.text, part
    assert client.head(f"{CALL}/audio").status_code == 410
    for part in ("hash", "reviews"):
        assert client.post(f"{CALL}/{part}", data={"verdict": "good"}, headers=OWN).status_code == 410
    assert len(archive.audit_lines()) == lines and not list(archive.store.list("reviews/"))


@pytest.mark.parametrize(
    "path",
    ["/calls", "/calls.csv", "/calls?turn=with&by=caller&words=parrot", "/calls.csv?turn=with&words=parrot",
     "/calls?rule=refund", "/sample?seed=a", "/sample.csv?seed=a", "/call/2025-01-10/call_2"],
)  # fmt: skip
@pytest.mark.parametrize("is_warm", [True, False])
def test_no_list_has_an_erased_call(archive: ListenArchive, path: str, is_warm: bool) -> None:
    client = archive.client()
    if is_warm:
        client.get(path)
    archive.erase("call_1")
    page = client.get(path)
    assert page.status_code == 200
    assert "call_1" not in page.text and SECRET not in page.text


def test_a_review_that_is_sent_while_its_call_is_erased_is_answered_with_410(
    archive: ListenArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = Reviews.add

    def add_late(self: Reviews, *args: Any) -> None:
        archive.erase("call_1")
        add(self, *args)

    monkeypatch.setattr(Reviews, "add", add_late)
    answer = archive.client().post(f"{CALL}/reviews", data={"verdict": "good"}, headers=OWN)
    assert answer.status_code == 410 and "erase_calls for this call once more" in answer.text


def test_the_tombstone_alone_makes_the_index_be_built_without_the_call(archive: ListenArchive) -> None:
    client = archive.client()
    client.get(CALL)
    client.get(f"{CALL}/peaks")
    archive.erase("call_1")
    client.get("/calls")
    kept = [file for file in (archive.folder / "cache").rglob("*") if file.is_file()]
    assert [file.suffix for file in kept if "peaks" not in file.parts] == [".sqlite"]
    for file in kept:
        assert b"call_1" not in file.read_bytes() and SECRET.encode() not in file.read_bytes(), file


def test_a_recording_stops_when_its_call_is_erased_while_it_is_played(
    archive: ListenArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audio, "PIECE_BYTES", 1_000)
    recording = audio.open_recording(archive.store, "audio/dt=2025-01-10/call_1.mp3")
    assert recording is not None
    answers = iter([True, True, False])
    pieces = audio.iterate_range(archive.store, recording, 0, recording.size_bytes, lambda: next(answers))
    assert len(next(pieces)) == len(next(pieces)) == 1_000
    with pytest.raises(Exception, match="erased"):
        next(pieces)


def test_without_the_key_nothing_is_answered_once_a_call_was_erased(archive: ListenArchive) -> None:
    archive.erase("call_1")
    archive.tombstones._key = None  # noqa: SLF001 - as a machine whose setting is missing
    client = archive.client()
    for path in (CALL, "/calls", f"{CALL}/audio", "/call/2025-01-10/call_2"):
        answer = client.get(path)
        assert "KROS_ERASURE_KEY" in answer.text and "Hello" not in answer.text
        assert answer.status_code == 503 or (path == "/calls" and 'href="/call/' not in answer.text)


@pytest.mark.parametrize("path", [CALL, f"{CALL}/audio", f"{CALL}/peaks", "/calls", "/calls.csv", "/sample?seed=a"])
def test_a_look_at_the_tombstones_precedes_every_answer(
    archive: ListenArchive, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    client = archive.client()
    client.get(path)
    looks: list[float] = []
    pseudonyms = archive.tombstones.pseudonyms

    def look(*, max_age_seconds: float = 0.0) -> frozenset[str]:
        looks.append(max_age_seconds)
        return pseudonyms(max_age_seconds=max_age_seconds)

    monkeypatch.setattr(archive.tombstones, "pseudonyms", look)
    client.get(path)
    assert 0.0 in looks


def test_where_tombstones_cannot_be_read_nothing_is_answered(
    archive: ListenArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = archive.client()
    client.get(CALL)

    def refuse(**_: object) -> None:
        raise ArchiveDenied("S3 says AccessDenied")

    monkeypatch.setattr(archive.tombstones, "pseudonyms", refuse)
    for path in (CALL, "/calls", f"{CALL}/audio", f"{CALL}/peaks"):
        assert client.get(path).status_code == 503
