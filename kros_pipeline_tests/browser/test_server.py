"""The page starts with settings that can be used, and says what is wrong otherwise."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kros_pipeline.browser.server import open_listen
from kros_pipeline.core.errors import ArchiveDenied
from kros_pipeline.core.settings import BadSettings
from kros_pipeline.steps.settings import SETTINGS
from kros_pipeline_tests.support.listen_archive import ERASURE_KEY, ListedCall, ListenArchive

GOOD = {"KROS_ARCHIVE_URL": "s3://bucket/prefix", "KROS_ERASURE_KEY": ERASURE_KEY}


def start(archive: ListenArchive, settings: dict[str, str]) -> None:
    listen, _ = open_listen(
        settings,
        declared=SETTINGS,
        caches=archive.folder,
        local_user="local",
        clock=archive.clock,
        open_archive=lambda _: archive.store,
    )
    listen.close()


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
