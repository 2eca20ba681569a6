"""Every answer has its headers, and one that fails shows and logs nothing of what it was about."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from kros_pipeline.browser.access import Access
from kros_pipeline.browser.call_search import CallSearch
from kros_pipeline.browser.day_index import DayIndex
from kros_pipeline.browser.safe_answers import HEADERS
from kros_pipeline.core.errors import ArchiveError
from kros_pipeline_tests.browser.test_access import CALL, EVERY_PATH
from kros_pipeline_tests.support.listen_archive import ListedCall, ListenArchive

SECRET = "my number is 0801 234 5678"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> ListenArchive:
    return ListenArchive(tmp_path_factory.mktemp("listen"), [ListedCall("call_1"), ListedCall("call_2", state="lost")])


def strict_client(archive: ListenArchive) -> TestClient:
    """A client to which what reaches the server, and its log, is raised."""
    return TestClient(archive.open().app, base_url="http://127.0.0.1:8757")


def fail(*_: object, **__: object) -> None:
    try:
        raise ValueError(SECRET)
    except ValueError as error:
        raise RuntimeError(f"found {SECRET}") from error


@pytest.mark.parametrize("path", EVERY_PATH)
def test_every_answer_has_the_headers_that_keep_speech_harmless(archive: ListenArchive, path: str) -> None:
    for host in ("127.0.0.1", "evil.example"):
        answer = archive.client().get(path, headers={"host": host}, follow_redirects=False)
        assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
    policy = HEADERS["Content-Security-Policy"]
    assert "unsafe" not in policy and "*" not in policy and "default-src 'none'" in policy


@pytest.mark.parametrize(
    ("owner", "name", "path"),
    [
        (DayIndex, "call", CALL),
        (DayIndex, "call", f"{CALL}/audio"),
        (DayIndex, "call", f"{CALL}/peaks"),
        (CallSearch, "find", "/calls"),
        (Access, "_find_viewer", "/days"),
    ],
)
def test_an_answer_that_fails_is_as_harmless_as_others(
    archive: ListenArchive,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    owner: type,
    name: str,
    path: str,
) -> None:
    monkeypatch.setattr(owner, name, fail)
    client = strict_client(archive)
    with caplog.at_level(logging.INFO):
        answer = client.get(path)
    assert answer.status_code == 500 and "RuntimeError" in answer.text
    assert {header: answer.headers.get(header) for header in HEADERS} == HEADERS
    for text in (answer.text, caplog.text):
        assert SECRET not in text and "0801" not in text
    assert "RuntimeError" in caplog.text and "ValueError" in caplog.text and "in fail" in caplog.text


def test_an_answer_that_breaks_off_names_the_type_of_the_error_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    archive = ListenArchive(tmp_path, [ListedCall("call_1")])

    def break_off(*_: object) -> Iterator[bytes]:
        yield b"begin"
        raise ArchiveError(SECRET)

    monkeypatch.setattr("kros_pipeline.browser.call_pages.iterate_range", break_off)
    client = strict_client(archive)
    with pytest.raises(Exception) as raised:
        client.get(f"{CALL}/audio")
    assert type(raised.value).__name__ == "AnswerBrokenOff"
    assert raised.value.__suppress_context__ and SECRET not in str(raised.value)
    assert "ArchiveError" in caplog.text and SECRET not in caplog.text
