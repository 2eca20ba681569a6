"""What takes long waits for its turn, and everything else is answered meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest
from anyio.to_thread import current_default_thread_limiter
from starlette.testclient import TestClient

from kros_pipeline_tests.support.listen_archive import DAY, ListedCall, ListenArchive

CALL = f"/call/{DAY}/call_1"
OWN = {"sec-fetch-site": "same-origin"}
_STARLETTES_THREADS = 5
_REQUESTS = 12
_HANG_SECONDS = 60.0  # a page that does not answer makes the test fail, not last


@pytest.fixture
def archive(tmp_path: Path) -> ListenArchive:
    return ListenArchive(tmp_path, [ListedCall("call_1")])


@pytest.fixture
def client(archive: ListenArchive) -> Iterator[TestClient]:
    """A client of which all requests share one event loop, and few of Starlette's threads."""
    with TestClient(archive.open().app, base_url="http://127.0.0.1:8757") as client:
        assert client.portal is not None
        client.portal.call(limit_threads)
        yield client


async def limit_threads() -> None:
    current_default_thread_limiter().total_tokens = _STARLETTES_THREADS


def hold(monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> tuple[threading.Semaphore, threading.Event]:
    """Let no reading of a recording return before the event. The semaphore counts those that have begun."""
    begun, may_return = threading.Semaphore(0), threading.Event()
    method: Callable[..., object] = getattr(owner, name)

    def held(key: str, *arguments: object) -> object:
        if key.startswith("audio/"):
            begun.release()
            may_return.wait(_HANG_SECONDS)
        return method(key, *arguments)

    monkeypatch.setattr(owner, name, held)
    return begun, may_return


def start_all(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()


@pytest.mark.parametrize(
    ("held", "method", "path", "at_once"),
    [
        ("copy_into", "GET", f"{CALL}/peaks", 2),
        ("digest", "POST", f"{CALL}/hash", 4),
    ],
)
def test_pages_and_recordings_do_not_wait_for_what_takes_long(
    archive: ListenArchive,
    client: TestClient,
    monkeypatch: pytest.MonkeyPatch,
    held: str,
    method: str,
    path: str,
    at_once: int,
) -> None:
    client.get(CALL)  # the day is indexed
    begun, may_return = hold(monkeypatch, archive.store, held)
    answers: list[int] = []
    slow = [
        threading.Thread(target=lambda: answers.append(client.request(method, path, headers=OWN).status_code))
        for _ in range(_REQUESTS)
    ]
    quick: list[int] = []
    others = [
        threading.Thread(target=lambda address=address: quick.append(client.get(address).status_code))
        for address in (CALL, f"{CALL}/audio", "/calls?turn=with&words=hello", "/days")
    ]
    try:
        start_all(slow)
        for _ in range(at_once):
            assert begun.acquire(timeout=_HANG_SECONDS)
        start_all(others)
        for thread in others:
            thread.join(_HANG_SECONDS / 4)
        assert quick == [200] * 4 and answers == []
        assert not begun.acquire(blocking=False), "more are at it at once than there should be"
    finally:
        may_return.set()
        for thread in [*slow, *others]:
            thread.join(_HANG_SECONDS)
    assert answers == [200] * _REQUESTS


@pytest.mark.parametrize("path", ["/sample?seed=a", "/sample.csv?seed=a", "/calls.csv"])
def test_what_reads_all_calls_of_years_is_done_in_threads_of_its_own(
    archive: ListenArchive, client: TestClient, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    from kros_pipeline.browser.day_index import DayIndex

    names: list[str] = []
    iterate = DayIndex.iterate

    def noted(self: DayIndex, *arguments: object) -> object:
        names.append(threading.current_thread().name)
        return iterate(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(DayIndex, "iterate", noted)
    assert client.get(path).status_code == 200
    assert names and all(name.startswith("slow") for name in names)


def test_a_waveform_that_many_wait_for_is_computed_once(
    archive: ListenArchive, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    copy_into = archive.store.copy_into

    def counted(key: str, file: IO[bytes]) -> object:
        read.append(key)
        return copy_into(key, file)

    monkeypatch.setattr(archive.store, "copy_into", counted)
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(client.get(f"{CALL}/peaks").json())) for _ in range(10)]
    start_all(threads)
    for thread in threads:
        thread.join()
    assert len(found) == 10 and all(each == found[0] for each in found)
    assert 1 <= sum("audio" in key for key in read) <= 2  # by as many threads as decode at once
