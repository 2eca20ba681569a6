"""Large bodies wait on a disk, under a limit, and a fault of this machine is never blamed on the storage."""

from __future__ import annotations

import errno
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from kros_pipeline.core.errors import DownloadBroken, LocalFault
from kros_pipeline.source.local_faults import find_local_fault, of_local_files
from kros_pipeline.source.spool import Spool, choose_folder, is_in_memory

MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
tmpfs /tmp tmpfs rw 0 0
/dev/sdb1 /tmp/disk ext4 rw 0 0
tmpfs /mnt/with\\040space tmpfs rw 0 0
"""


@pytest.mark.parametrize(
    ("number", "is_of_file", "words"),
    [
        (errno.ENOSPC, False, "the disk of /spool is full"),
        (errno.EDQUOT, False, "the disk of /spool is full"),
        (errno.EMFILE, False, "too many files and connections are open"),
        (errno.ENFILE, False, "too many files and connections are open"),
        (errno.ENOMEM, False, "out of memory"),
        (errno.ENOENT, True, "no temporary file can be made in /spool"),
        (errno.EACCES, True, "no temporary file can be made in /spool"),
        (errno.EROFS, True, "no temporary file can be made in /spool"),
        # the network's
        (errno.EACCES, False, None),
        (errno.ECONNRESET, True, None),
        (errno.ETIMEDOUT, False, None),
    ],
)
def test_a_fault_of_this_machine_is_told_from_one_of_the_network(
    number: int, is_of_file: bool, words: str | None
) -> None:
    fault = find_local_fault(OSError(number, os.strerror(number)), "/spool", is_of_file=is_of_file)
    assert (words in str(fault)) if words else fault is None


def test_only_faults_of_this_machine_are_turned_into_one() -> None:
    with pytest.raises(LocalFault, match="is full"), of_local_files("/spool"):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(ConnectionResetError), of_local_files("/spool"):
        raise ConnectionResetError(errno.ECONNRESET, "reset")


@pytest.mark.parametrize(
    ("folder", "expected"),
    [("/tmp/a", True), ("/tmp", True), ("/tmp/disk/a", False), ("/var", False), ("/mnt/with space/a", True)],
)
def test_a_file_system_in_memory_is_recognized(folder: str, expected: bool) -> None:
    assert is_in_memory(folder, MOUNTS) == expected


def test_the_spool_is_not_in_memory_unless_a_setting_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/tmp")
    assert choose_folder(MOUNTS) == "/var/tmp"
    assert choose_folder("/dev/sda1 / ext4 rw 0 0") == "/tmp"
    with pytest.raises(
        LocalFault, match="/tmp is in memory, and large recordings and large days need a disk: set TMPDIR"
    ):
        choose_folder("tmpfs / tmpfs rw 0 0")
    monkeypatch.setattr(tempfile, "tempdir", "/mnt/with space")  # as TMPDIR names it
    assert choose_folder(MOUNTS) == "/mnt/with space"


def test_without_any_folder_the_fault_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    with pytest.raises(LocalFault, match="set TMPDIR to a folder that can be written"):
        choose_folder()


def test_a_file_that_cannot_be_made_or_written_is_a_local_fault(tmp_path: Path) -> None:
    with pytest.raises(LocalFault, match="gone"), Spool(str(tmp_path / "gone")).open(None) as _:
        pass
    if Path("/dev/full").exists():
        spool = Spool(str(tmp_path))
        with spool.open(None) as file, Path("/dev/full").open("wb", buffering=0) as full:
            file.file = full
            with pytest.raises(LocalFault, match=f"the disk of {tmp_path} is full"):
                file.write(b"piece")


def test_what_a_full_disk_did_not_take_raises_nothing_else_at_the_end(tmp_path: Path) -> None:
    if Path("/dev/full").exists():
        spool = Spool(str(tmp_path))
        with pytest.raises(LocalFault, match="is full"), spool.open(None) as file:
            os.dup2(os.open("/dev/full", os.O_WRONLY), file.file.fileno())
            file.write(b"a piece that stays in the file's buffer")
            file.data()


def test_a_body_that_the_disk_has_no_room_for_is_not_begun(tmp_path: Path) -> None:
    with pytest.raises(LocalFault, match="free bytes, and a recording of"), Spool(str(tmp_path)).open(1 << 60) as _:
        pass


@pytest.fixture
def files() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_bodies_of_a_known_size_wait_for_room_and_growing_ones_do_not(tmp_path: Path, files: ExitStack) -> None:
    spool = Spool(str(tmp_path), limit_bytes=40 << 20)
    first = files.enter_context(spool.open(30 << 20))
    first.write(b"body")
    with pytest.raises(DownloadBroken, match="is full at present"), spool.open(None) as growing:
        growing.write(b"piece")
    opened = threading.Event()

    def second() -> None:
        with spool.open(20 << 20):
            opened.set()

    thread = threading.Thread(target=second)
    thread.start()
    assert not opened.wait(0.05)
    files.close()
    assert opened.wait(5)
    thread.join()
    with spool.open(90 << 20):  # larger than the limit: no other beside it
        pass
    assert not list(tmp_path.iterdir())
