"""The local index: made of the tables as they are, private, and deleted or damaged at any time without harm."""

from __future__ import annotations

import re
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from kros_pipeline.archive.moved_calls import MovedCalls
from kros_pipeline.browser import index_builder, index_cache
from kros_pipeline.browser.day_index import CallRow, DayIndex
from kros_pipeline.browser.index_cache import own_folder
from kros_pipeline.browser.index_connections import IndexConnections
from kros_pipeline.core.errors import ArchiveUnavailable
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
    assert own_folder(base, "s3://a/b") != own_folder(base, "s3://a/c")


def test_the_background_builds_every_day(tmp_path: Path) -> None:
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


def test_a_call_that_is_moved_while_the_page_runs_is_listed_once(
    archive: ListenArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process writes the marker; this one has read the day before."""
    monkeypatch.setattr(index_cache, "REFRESH_SECONDS", 0.0)
    archive.calls.append(ListedCall("call_1", "[Caller]: refund", day=date(2025, 1, 9)))
    archive.write_day(date(2025, 1, 9))
    client = archive.client()
    listed = re.compile(r'class="call" href="/call/([\d-]+)/call_1')
    assert listed.findall(client.get("/calls").text) == ["2025-01-10", "2025-01-09"]
    MovedCalls(archive.store).add(DAY, "call_1", date(2025, 1, 9))
    assert listed.findall(client.get("/calls").text) == ["2025-01-09"]
    assert client.get(CALL).status_code == 404
    assert len(files(archive)) == 2  # the one that has the call is deleted


def test_a_days_moved_calls_are_collected_and_sorted_once_for_each_look(
    archive: ListenArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(50):
        archive.tables.moved.add(DAY, f"moved_{number}", date(2025, 1, 9))
    sizes: list[int] = []

    def counted(collect: Callable[..., Any]) -> Callable[..., Any]:
        def collect_counted(items: Iterable[Any] = (), **options: Any) -> Any:
            result = collect(items, **options)
            sizes.append(len(result))
            return result

        return collect_counted

    monkeypatch.setattr(index_cache, "frozenset", counted(frozenset), raising=False)
    monkeypatch.setattr(index_cache, "sorted", counted(sorted), raising=False)
    client = archive.client()
    for _ in range(3):
        assert client.get(CALL).status_code == 200
    assert sizes.count(50) == 2 and len(sizes) < 50


def test_a_call_that_lost_its_row_is_still_shown(tmp_path: Path) -> None:
    """A row in `utterances` without one in `calls`: keep the data."""
    from kros_pipeline.archive.parquet import batches_of
    from kros_pipeline.core import schemas

    archive = ListenArchive(tmp_path, [ListedCall("call_1", "[Caller]: refund")])
    archive.tables.commit(schemas.CALLS, DAY, lambda present: batches_of(schemas.CALLS, []))
    page = archive.client().get(CALL)
    assert page.status_code == 200 and "refund" in page.text
    assert "call_1" in archive.client().get("/calls").text


def test_a_day_that_s3_did_not_give_is_tried_again(archive: ListenArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_cache, "REFRESH_SECONDS", 0.0)
    build, failures = index_builder.build_index, [ArchiveUnavailable("S3 does not answer")]

    def fail_first(*arguments: object) -> None:
        if failures:
            raise failures.pop()
        build(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(index_cache, "build_index", fail_first)
    client = archive.client()
    assert client.get(CALL).status_code == 503
    assert client.get(CALL).status_code == 200


@pytest.mark.parametrize("path", [CALL, "/calls"])
def test_a_call_that_is_erased_while_its_day_is_indexed_is_in_no_file(
    archive: ListenArchive, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    archive.calls.append(ListedCall("call_2", "[Caller]: hello"))
    archive.write_day(DAY)
    build = index_builder.build_index

    def erase_meanwhile(*arguments: object) -> None:
        build(*arguments)  # type: ignore[arg-type]
        if not archive.tombstones.pseudonyms():
            archive.erase("call_1")
            client.get("/call/2024-01-01/other")  # somebody looks at the tombstones

    monkeypatch.setattr(index_cache, "build_index", erase_meanwhile)
    listen = archive.open()
    client = TestClient(listen.app, base_url="http://127.0.0.1", raise_server_exceptions=False)
    client.get(path)
    assert "call_2" in client.get("/calls").text
    assert all(b"call_1" not in file.read_bytes() for file in files(archive)) and files(archive)


def test_a_connection_to_a_deleted_file_is_not_kept(archive: ListenArchive) -> None:
    archive.client().get(CALL)
    [file] = files(archive)
    connections = IndexConnections()
    with connections.borrow(file) as connection:
        file.unlink()
    with pytest.raises(sqlite3.ProgrammingError):  # it is closed
        connection.execute("SELECT 1")


def test_a_question_that_fails_deletes_no_good_file(archive: ListenArchive) -> None:
    archive.client().get(CALL)
    [file] = files(archive)
    connections = IndexConnections()
    with pytest.raises(sqlite3.OperationalError), connections.borrow(file) as connection:
        connection.execute("SELECT * FROM words WHERE words MATCH '\"'")
    assert file.exists()


def test_a_late_page_reads_no_more_rows_of_a_day_than_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    days = [date(2025, 1, day) for day in (8, 9, 10)]
    archive = ListenArchive(tmp_path, [ListedCall(f"call_{day.day}_{n:02}", day=day, has_audio=False)
                                       for day in days for n in range(40)])  # fmt: skip
    read: list[int] = []
    find = DayIndex.find

    def counted(self: DayIndex, *arguments: Any) -> tuple[int, list[CallRow]]:
        found = find(self, *arguments)
        read.append(len(found[1]))
        return found

    monkeypatch.setattr(DayIndex, "find", counted)
    client = archive.client()
    for order in ("newest", "oldest", "longest"):
        seen = [re.findall(r'class="call" href="/call/[^/]+/(\w+)', client.get(f"/calls?order={order}&page={n}").text)
                for n in range(1, 7)]  # fmt: skip
        calls = [call for page in seen for call in page]
        assert len(calls) == len(set(calls)) == 120, order
    read.clear()
    client.get("/calls?page=2&order=newest")
    assert sum(read) <= 3 * 26 + 26
