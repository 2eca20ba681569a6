"""What is put into a local file comes back, from memory and from disk; a full disk is reported as one."""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path
from typing import IO, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kros_pipeline.core.errors import LocalFault
from kros_pipeline.steps import local_file
from kros_pipeline.steps.local_file import LocalFile
from kros_pipeline.steps.pending_file import PendingFile

FULL_DISK = Path("/dev/full")


@settings(max_examples=40)
@given(st.lists(st.tuples(st.binary(max_size=9), st.booleans()), max_size=12), st.integers(0, 40))
def test_each_piece_comes_back_from_its_place(pieces: list[tuple[bytes, bool]], limit_bytes: int) -> None:
    with pytest.MonkeyPatch.context() as patch, closing(LocalFile()) as file:
        patch.setattr(local_file, "MAX_BYTES_IN_MEMORY", limit_bytes)
        places = []
        for piece, is_read_at_once in pieces:
            places.append(file.append(piece))
            if is_read_at_once:
                assert file.read(places[0], len(pieces[0][0])) == pieces[0][0]
        for (piece, _), place in zip(pieces, places, strict=True):
            assert file.read(place, len(piece)) == piece
        assert file.read(0, 1_000) == b"".join(piece for piece, _ in pieces)


def test_a_small_day_needs_no_disk_and_a_large_one_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container whose only writable folder is in memory."""

    def choose_none() -> str:
        raise LocalFault("/tmp is in memory")

    monkeypatch.setattr(local_file, "choose_folder", choose_none)
    monkeypatch.setattr(local_file, "MAX_BYTES_IN_MEMORY", 1_000)
    with PendingFile[int]() as small:
        small.add("call_1", 1)
        assert small.take("call_1") == 1
    with pytest.raises(LocalFault, match="in memory"), PendingFile[int]() as large:
        for number in range(1_000):
            large.add(f"call_{number}", number)


@pytest.mark.parametrize("count", [10, 5_000])  # what the buffer takes is refused when it is read, or at the end
def test_a_full_disk_is_reported_and_not_hidden_by_the_end(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    def open_full(*_: Any, **__: Any) -> IO[bytes]:
        return FULL_DISK.open("w+b")

    monkeypatch.setattr(tempfile, "TemporaryFile", open_full)
    monkeypatch.setattr(local_file, "MAX_BYTES_IN_MEMORY", 0)
    with pytest.raises(LocalFault, match="is full"), PendingFile[int]() as file:
        for number in range(count):
            file.add(f"call_{number}", number)
        file.take("call_1")


def test_what_was_in_memory_stays_there_where_the_disk_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: FULL_DISK.open("w+b"))
    monkeypatch.setattr(local_file, "MAX_BYTES_IN_MEMORY", 20_000)
    with closing(LocalFile()) as file:
        places = [file.append(bytes([number]) * 9_000) for number in range(2)]
        with pytest.raises(LocalFault, match="is full"):
            file.append(b"x" * 9_000)
        assert [file.read(place, 1) for place in places] == [b"\0", b"\1"]
