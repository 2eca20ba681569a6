"""The local index: made of the tables as they are, private, and deleted or damaged at any time without harm."""

from __future__ import annotations

import stat
import threading
from datetime import date
from pathlib import Path

import pytest

from kros_pipeline.browser import index_builder, index_cache
from kros_pipeline.browser.index_cache import default_folder
from kros_pipeline_tests.support.listen_archive import DAY, ListedCall, ListenArchive

CALL = "/call/2025-01-10/call_1"


@pytest.fixture
def archive(tmp_path: Path) -> ListenArchive:
    return ListenArchive(tmp_path, [ListedCall("call_1", "[Caller]: refund")])


def files(archive: ListenArchive) -> list[Path]:
    return sorted((archive.folder / "cache").glob("*.sqlite"))


def test_a_table_that_changes_is_indexed_anew_and_the_old_file_is_deleted(
    archive: ListenArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_cache, "REFRESH_SECONDS", 0.0)
    client = archive.client()
    assert "refund" in client.get(CALL).text
    [before] = files(archive)
    archive.calls.append(ListedCall("call_2", "[Caller]: something new"))
    archive.write_day(DAY)
    assert "something new" in client.get("/call/2025-01-10/call_2").text
    [after] = files(archive)
    assert after != before


def test_the_folder_may_be_deleted_at_any_time(archive: ListenArchive) -> None:
    import shutil

    client = archive.client()
    client.get(CALL)
    shutil.rmtree(archive.folder / "cache")
    assert client.get(CALL).status_code == 200 and client.get(f"{CALL}/peaks").status_code == 200
    assert len(files(archive)) == 1


def test_a_damaged_file_is_built_again(archive: ListenArchive) -> None:
    archive.client().get(CALL)
    [file] = files(archive)
    file.write_bytes(b"SQLite format 3\x00" + b"\xff" * 5_000)
    client = archive.client()
    assert client.get(CALL).status_code == 503
    assert client.get(CALL).status_code == 200


def test_damaged_peaks_are_computed_again(archive: ListenArchive) -> None:
    client = archive.client()
    first = client.get(f"{CALL}/peaks").json()
    [peaks] = (archive.folder / "cache").rglob("*.json")
    peaks.write_text("{")
    assert client.get(f"{CALL}/peaks").json() == first


def test_many_readers_build_a_day_once(archive: ListenArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[date] = []
    build = index_builder.build_index

    def counted(path: Path, day: date, *rest: object) -> None:
        built.append(day)
        build(path, day, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(index_cache, "build_index", counted)
    client = archive.client()
    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(client.get(CALL).status_code)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 8 and built == [DAY]


def test_nobody_else_reads_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "cache"
    index_cache.protect(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o755)
    index_cache.protect(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_archives_do_not_share_a_folder() -> None:
    base = Path("/c")
    assert default_folder(base, "s3://a/b") != default_folder(base, "s3://a/c")


def test_the_background_builds_every_day(tmp_path: Path) -> None:
    from starlette.testclient import TestClient

    days = [date(2025, 1, day) for day in (8, 9, 10)]
    archive = ListenArchive(tmp_path, [ListedCall(f"call_{day.day}", day=day) for day in days])
    with TestClient(archive.open().app, base_url="http://127.0.0.1"):
        for _ in range(200):
            if len(files(archive)) == 3:
                break
            threading.Event().wait(0.05)
    assert len(files(archive)) == 3


def test_a_call_that_an_earlier_day_keeps_is_not_listed(archive: ListenArchive) -> None:
    archive.tables.moved.add(DAY, "call_1", date(2025, 1, 9))
    assert archive.client().get(CALL).status_code == 404


def test_a_call_that_lost_its_row_is_still_shown(tmp_path: Path) -> None:
    """A row in `utterances` without one in `calls`: keep the data."""
    from kros_pipeline.archive.parquet import batches_of
    from kros_pipeline.core import schemas

    archive = ListenArchive(tmp_path, [ListedCall("call_1", "[Caller]: refund")])
    archive.tables.commit(schemas.CALLS, DAY, lambda present: batches_of(schemas.CALLS, []))
    page = archive.client().get(CALL)
    assert page.status_code == 200 and "refund" in page.text
    assert "call_1" in archive.client().get("/calls").text
