"""The page starts with settings that can be used, and says what is wrong otherwise."""

from __future__ import annotations

import getpass
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest
import uvicorn
from starlette.testclient import TestClient

from kros_pipeline.__main__ import name_of_user
from kros_pipeline.browser.app import Listen
from kros_pipeline.browser.server import open_listen, serve
from kros_pipeline.core.errors import ArchiveDenied
from kros_pipeline.core.settings import BadSettings
from kros_pipeline.steps.settings import SETTINGS
from kros_pipeline_tests.support.listen_archive import ERASURE_KEY, ListedCall, ListenArchive, browse_settings

GOOD = {"KROS_ARCHIVE_URL": "s3://bucket/prefix", "KROS_ERASURE_KEY": ERASURE_KEY}


def open_page(archive: ListenArchive, settings: dict[str, str]) -> Listen:
    listen, _ = open_listen(
        settings,
        declared=SETTINGS,
        caches=archive.folder,
        local_user="local",
        clock=archive.clock,
        open_archive=lambda _: archive.store,
    )
    return listen


def start(archive: ListenArchive, settings: dict[str, str]) -> None:
    open_page(archive, settings).close()


def test_it_needs_no_key_of_krosai(tmp_path: Path) -> None:
    start(ListenArchive(tmp_path, [ListedCall("call_1")]), GOOD)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"KROS_ARCHIVE_URL": ""}, "KROS_ARCHIVE_URL is missing"),
        ({"KROS_BROWSE_LISTEN": "0.0.0.0:80"}, "nobody logs in"),
        ({"KROS_BROWSE_PROXY": "10.0.0.1"}, "did you mean KROS_BROWSE_PROXIES"),
        ({"KROS_BROWSE_REVIEW_FORM": "/nowhere.yaml"}, "cannot be read"),
        ({"KROS_BROWSE_CACHE": "/dev/null/cache"}, "KROS_BROWSE_CACHE"),
    ],
)
def test_a_bad_setting_stops_it_with_a_sentence(tmp_path: Path, settings: dict[str, str], sentence: str) -> None:
    with pytest.raises(BadSettings, match=sentence):
        start(ListenArchive(tmp_path, []), GOOD | settings)


def test_a_folder_that_others_use_keeps_what_is_theirs(tmp_path: Path) -> None:
    """The folder has files of another program, which look like the page's own, and the indexes of another archive."""
    folder = tmp_path / "shared"
    foreign = [folder / "app.sqlite", folder / "upload.part", folder / "peaks" / "everest" / "height.json"]
    for file in foreign:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("theirs")
    folder.chmod(0o755)
    for name in ("one", "two"):
        archive = ListenArchive(tmp_path / name, [ListedCall("call_1")])
        given = GOOD | {"KROS_ARCHIVE_URL": f"s3://bucket/{name}", "KROS_BROWSE_CACHE": str(folder)}
        listen = open_page(archive, given)
        page = TestClient(listen.app, base_url="http://127.0.0.1:8757")
        for part in ("", "/peaks"):
            assert page.get(f"/call/2025-01-10/call_1{part}").status_code == 200
        listen.close()
    assert all(file.read_text() == "theirs" for file in foreign)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    own = [path for path in folder.rglob("*") if path.is_file() and path not in foreign]
    assert len(own) == 4 and {path.suffix for path in own} == {".sqlite", ".json"}
    assert all(stat.S_IMODE((folder / path.relative_to(folder).parts[0]).stat().st_mode) == 0o700 for path in own)


def test_it_does_not_start_without_the_key_of_the_tombstones(tmp_path: Path) -> None:
    archive = ListenArchive(tmp_path, [ListedCall("call_1")])
    archive.tombstones.claim_key()
    with pytest.raises(ArchiveDenied, match="KROS_ERASURE_KEY is missing"):
        start(archive, GOOD | {"KROS_ERASURE_KEY": ""})
    with pytest.raises(ArchiveDenied, match="not the key"):
        start(archive, GOOD | {"KROS_ERASURE_KEY": "another key of the tests, long enough"})


def test_the_command_says_every_problem_and_fails(tmp_path: Path) -> None:
    environment = {"KROS_ARCHIVE_URL": "bucket", "KROS_BROWSE_LISTEN": "0.0.0.0:1", "HOME": str(tmp_path), "PATH": ""}
    command = [sys.executable, "-m", "kros_pipeline", "browse"]
    run = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert run.returncode == 1 and run.stdout == ""
    assert "KROS_ARCHIVE_URL must name a bucket" in run.stderr and "KROS_BROWSE_PROXIES" in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("error", [KeyError, OSError])
def test_a_user_without_a_name_as_in_a_container_has_a_number(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def refuse() -> str:
        raise error("no such user")

    monkeypatch.setattr(getpass, "getuser", refuse)
    assert name_of_user() == f"uid-{os.getuid()}"


def test_it_listens_on_a_unix_socket_that_only_its_group_can_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers: list[uvicorn.Server] = []

    class Ended(uvicorn.Server):
        def __init__(self, config: uvicorn.Config) -> None:
            super().__init__(config)
            servers.append(self)

    monkeypatch.setattr(uvicorn, "Server", Ended)
    path = tmp_path / "browse"
    given = {"LISTEN": f"unix:{path}", "USERS": "amina=read"}
    with socket.socket(socket.AF_UNIX) as left:  # by a process that was killed
        left.bind(str(path))
    listen = ListenArchive(tmp_path, [ListedCall("call_1")]).open(**given)
    said: list[str] = []
    thread = Thread(target=serve, args=(listen, browse_settings(**given), said.append))
    thread.start()
    try:
        while not said:
            thread.join(0.01)
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        for header, status in (("X-Forwarded-User: amina\r\n", b"200"), ("", b"403")):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
                client.sendall(f"GET /days HTTP/1.0\r\n{header}\r\n".encode())
                assert client.recv(100).split(b" ")[1] == status
    finally:
        servers[0].should_exit = True
        thread.join(20)
    assert said == [f"Listen is on unix:{path} until Ctrl-C."]
