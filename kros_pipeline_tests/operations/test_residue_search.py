"""The residue search recognizes a call by its id or its key, wherever in a text, and a number in any table or copy."""

from __future__ import annotations

import errno
import hashlib
import io
import itertools
import json
from collections.abc import Callable, Mapping
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kros_pipeline.archive.governance import ObjectVersion
from kros_pipeline.archive.object_store import CREATE, VersionToken
from kros_pipeline.archive.parquet import Partition
from kros_pipeline.core import schemas
from kros_pipeline.core.errors import LocalFault, UnreadablePartition
from kros_pipeline.core.object_keys import audio_key, call_key, table_key
from kros_pipeline.core.wanted_number import WantedNumber
from kros_pipeline.operations import residue_search, residue_texts
from kros_pipeline.operations.every_day import find_ids
from kros_pipeline.operations.residue_search import ResidueSearch
from kros_pipeline_tests.support.accounts import DAY
from kros_pipeline_tests.support.memory_store import MemoryGovernance, MemoryObjectStore

IDS = ["call:1", "rüf 2/é", "call_0000000003", "x" * 200]


@pytest.mark.parametrize("call_id", IDS)
def test_an_id_and_its_key_are_found_in_sentences_and_paths(call_id: str) -> None:
    search = ResidueSearch([call_id], None)
    key = call_key(call_id)
    for text in (
        call_id,
        f"3 × recording lost: {key}, …",
        f"aside/{audio_key(DAY, call_id)}",
        f"{key}.",
        f"of '{key}'",
    ):
        assert search.is_named_in(text), text
    if " " not in call_id:
        assert search.is_named_in(f"The caller of {call_id}. Nothing else")
    assert not search.is_named_in(f"{call_key(call_id + '!')} and {call_id.replace('1', '2')}y")


def test_a_short_id_is_found_as_a_whole_text_only() -> None:
    search = ResidueSearch(["7", "é1", "abc"], None)
    assert search.is_named_in("7") and search.is_named_in("é1")
    assert not any(map(search.is_named_in, ("7 × recording lost: …", "7.", "of é1: abc.", "abc, 7")))


def file_of(columns: Mapping[str, object], *, statistics: bool = True) -> io.BytesIO:
    file = io.BytesIO()
    pq.write_table(pa.table(dict(columns)), file, write_statistics=statistics)
    file.seek(0)
    return file


def test_a_number_is_found_in_a_table_that_lacks_columns() -> None:
    search = ResidueSearch([], WantedNumber("+4915112345678"))
    for columns in ({"from_number": ["+4915112345678"]}, {"to_number": ["+4915112345678"]}):
        assert search.is_in_table(file_of({"call_id": ["a"]} | columns))
    assert not search.is_in_table(file_of({"call_id": ["a"], "from_number": ["+4915112345679"]}))


def calls_of(columns: Mapping[str, object], *, statistics: bool = True) -> Partition:
    return Partition(schemas.CALLS, file_of(columns, statistics=statistics), VersionToken('"1"'))


PARTS = [{"a": "m", "b": "n"}] * 3
LONG = ["a" * 5_000, "b", "é" * 5_000]


@pytest.mark.parametrize(
    ("make", "wanted"),
    [
        (lambda: calls_of({"call_id": ["a", "b", "c"]}), "b"),
        (lambda: calls_of({"call_id": ["a", "b", "c"]}, statistics=False), "b"),
        (lambda: calls_of({"before": PARTS, "call_id": ["x", "y", "z"]}), "y"),
        (lambda: calls_of({"call_id": LONG}), LONG[2]),
        (lambda: calls_of({"call_id": ["\uffee", "\U0001f600"]}), "\U0001f600"),
    ],
    ids=["plain", "no statistics", "a column with parts before", "long ids", "beyond 16 bits"],
)
def test_a_call_is_found_whatever_a_file_says_of_its_row_groups(make: Callable[[], Partition], wanted: str) -> None:
    assert find_ids(make(), [wanted, "\ud800"]) == [wanted]


def test_a_file_whose_ids_are_no_texts_is_reported_as_unreadable() -> None:
    cut = pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff\xfe"]).buffers())
    for ids in (pa.array([b"\xff\xfe"]), cut, pa.array([PARTS[0]])):
        with pytest.raises(UnreadablePartition):
            find_ids(calls_of({"call_id": ids}), ["b"])


# What is read, and what cannot be read.

NUMBER = "+4915112345678"
_numbers = itertools.count(1)


def find(key: str, body: bytes, *, reads_everything: bool = True, number: str | None = None) -> bool:
    store = MemoryObjectStore(f"residue-{next(_numbers)}")
    store.put(key, body, sha256=hashlib.sha256(body).hexdigest(), mode=CREATE)
    search = ResidueSearch(["call_0000000003", "rüf 2/é"], WantedNumber(number) if number else None)
    search.reads_everything = reads_everything
    governance = MemoryGovernance(store)
    return bool(search.find_in(governance, governance.versions("")))


def parquet_of(**columns: object) -> bytes:
    return file_of(columns).getvalue()


NO_TEXT = pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff\xfe"]).buffers())


@pytest.mark.parametrize(
    "ids",
    [pa.array([3]), pa.array([b"call_0000000003"]), NO_TEXT, pa.array([PARTS[0]])],
    ids=["integers", "bytes", "bytes that are no text", "parts"],
)
def test_a_table_of_which_nobody_can_tell_whom_it_names_counts_as_residue(ids: pa.Array) -> None:
    assert find(table_key("calls", DAY), parquet_of(call_id=ids))
    assert not find(table_key("calls", DAY), parquet_of(call_id=pa.array(["another"]).dictionary_encode()))


def test_a_damaged_text_of_another_column_counts_as_residue() -> None:
    assert find(table_key("reconciliation", DAY), parquet_of(problems=NO_TEXT))
    of_number = parquet_of(call_id=["a"], from_number=NO_TEXT)
    assert find(table_key("calls", DAY), of_number, number=NUMBER)


CALL, OTHER = "call_0000000003", "call_0000000004"
TIMES = {
    "a date beyond the year 9999": pa.array([1 << 61], pa.timestamp("us")),
    "a day beyond all years": pa.array([1 << 30], pa.date32()),
    "a zone that is unknown": pa.array([1], pa.timestamp("us", "Nowhere/No")),
    "nanoseconds": pa.array([1], pa.timestamp("ns")),
    "a time of the day": pa.array([1], pa.time64("ns")),
    "a duration": pa.array([1], pa.duration("ns")),
    "a dictionary": pa.array([1 << 61], pa.timestamp("us")).dictionary_encode(),
}


@pytest.mark.parametrize("kind", TIMES)
@pytest.mark.parametrize("name", ["at", "from_number", "extra"])
def test_a_time_that_python_cannot_express_neither_ends_the_search_nor_counts_as_residue(kind: str, name: str) -> None:
    parts = pa.StructArray.from_arrays([TIMES[kind]], names=["t"])
    several = pa.ListArray.from_arrays([0, 1], parts)
    by_name = pa.MapArray.from_arrays([0, 1], ["a"], parts)
    for number in (None, NUMBER):
        for call, is_left in ((CALL, True), (OTHER, False)):
            body = parquet_of(**{name: TIMES[kind], "several": several, "by_name": by_name, "id": [call]})
            assert find("export/calls.parquet", body, number=number) == is_left


NESTED: dict[str, Callable[[str], pa.Array]] = {
    "a part": lambda call: pa.array([{"a": call}]),
    "a field": lambda call: pa.array([{call: 1}]),
    "a list": lambda call: pa.array([[["x"], [call]]]),
    "a list of one length": lambda call: pa.array([["x", call]], pa.list_(pa.string(), 2)),
    "a key of a map": lambda call: pa.array([[(call, 1)]], pa.map_(pa.string(), pa.int64())),
    "a value of a map": lambda call: pa.array(
        [[("a", [{"b": call}])]], pa.map_(pa.string(), pa.list_(pa.struct([("b", pa.string())])))
    ),
    "a dictionary": lambda call: pa.array(["x", call]).dictionary_encode(),
    "a view": lambda call: pa.array(["x", call], pa.string_view()),
}


@pytest.mark.parametrize("kind", NESTED)
def test_an_id_is_found_however_a_foreign_column_is_nested(kind: str) -> None:
    for call, is_left in ((CALL, True), (OTHER, False)):
        assert find("export/calls.parquet", parquet_of(column=NESTED[kind](call))) == is_left


@pytest.mark.parametrize("kind", [pa.null(), pa.string_view(), pa.large_string()], ids=str)
def test_a_table_whose_ids_are_texts_of_another_type_is_read(kind: pa.DataType) -> None:
    key = table_key("calls", DAY)
    for number in (None, NUMBER):
        assert not find(key, parquet_of(call_id=pa.array([], kind), from_number=pa.array([], kind)), number=number)
        assert not find(key, parquet_of(call_id=pa.array([None], kind)), number=number)
        if kind != pa.null():
            assert find(key, parquet_of(call_id=pa.array([OTHER, CALL], kind)), number=number)
            assert not find(key, parquet_of(call_id=pa.array([OTHER, "x" * 40], kind)), number=number)


COPIES: dict[str, Callable[[str, str], bytes]] = {
    "a renamed table": lambda call, number: parquet_of(call_id=[call], from_number=[number]),
    "other columns": lambda call, number: parquet_of(id=[call], who=[number], counts=[1]),
    "columns of bytes": lambda call, number: parquet_of(id=[call.encode()], who=[number.encode()]),
    "numbers in extra": lambda call, number: parquet_of(extra=[json.dumps({"from_number": number, "note": call})]),
    "CSV": lambda call, number: f'id,from\r\n"{call}","{number}"\r\n'.encode(),
    "CSV with semicolons": lambda call, number: f"{call};tel:{number};1\n".encode(),
    "TSV": lambda call, number: f"1\t{call}\t{number} \n".encode(),
    "JSON in many lines": lambda call, number: json.dumps([{"id": call, "to": int(number[1:])}], indent=1).encode(),
    "JSON lines": lambda call, number: f'{{}}\n{{"id": "{call}", "a": {{"b": "{number}"}}}}\n'.encode(),
    "JSON that is nested deep": lambda call, number: f'{"[" * 9_000}"{call}","{number}"{"]" * 9_000}'.encode(),
}


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_in_any_folder_is_recognized_by_what_it_is(kind: str) -> None:
    for call, number, is_left in (
        (CALL, "+4915100000000", True),
        (OTHER, NUMBER, True),
        (OTHER, "+4915100000000", False),
    ):
        body = COPIES[kind](call, number)
        assert find("set-aside/copy.bin", body, number=NUMBER) == is_left
        assert not find("set-aside/copy.bin", body, number=NUMBER, reads_everything=False)
        assert not find(f"audio/dt={DAY}/another.mp3", body, number=NUMBER)


@pytest.mark.parametrize("key", ["tables/calls/part-0.parquet.bak", "state/copy", "seals/copy.parquet.old"])
def test_a_renamed_table_in_a_folder_of_the_pipeline_is_read_as_a_table(key: str) -> None:
    body = parquet_of(call_id=[f"call_{index:010}" for index in range(2_000)])
    assert find(key, body, reads_everything=False)


def test_an_id_that_is_not_plain_is_found_in_a_field() -> None:
    assert find("export/calls.csv", "1,rüf 2/é,2\n".encode())


def test_a_long_line_of_a_large_copy_is_read_in_parts_and_no_name_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(residue_search, "_MAX_WHOLE_BYTES", 10)
    monkeypatch.setattr(residue_texts, "_MAX_LINE_BYTES", 100)
    monkeypatch.setattr(residue_texts, "_OVERLAP_BYTES", 40)
    for begin in range(60, 130):
        body = b"1," * (begin // 2) + f",{CALL},{NUMBER},".encode() + b"1," * 100
        assert find("export/calls.csv", body)
        assert find("export/calls.csv", body.replace(CALL.encode(), b""), number=NUMBER)
        assert not find("export/calls.csv", body.replace(CALL.encode(), b""))


class NoDisk(MemoryGovernance):
    """Has no room for a copy, and notes how many bytes each request asks for."""

    asked: list[int]

    def copy_version_into(self, version: ObjectVersion, file: IO[bytes]) -> bool:
        raise OSError(errno.ENOSPC, "No space left on device")

    def read_version_range(self, version: ObjectVersion, begin: int, end: int) -> bytes:
        self.asked.append(end - begin)
        return super().read_version_range(version, begin, end)


def without_disk(key: str, body: bytes) -> tuple[NoDisk, ResidueSearch]:
    store = MemoryObjectStore(f"residue-{next(_numbers)}")
    store.put(key, body, sha256=hashlib.sha256(body).hexdigest(), mode=CREATE)
    search = ResidueSearch([CALL], None)
    search.reads_everything = True
    governance = NoDisk(store)
    governance.asked = []
    return governance, search


@pytest.mark.parametrize("call", [CALL, OTHER])
def test_a_large_foreign_object_is_read_by_ranges_and_not_copied(monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    monkeypatch.setattr(residue_search, "_MAX_WHOLE_BYTES", 10)
    monkeypatch.setattr(residue_texts, "_BUFFER_BYTES", 100_000)
    text = b"\xff\x00\n" * 200_000 + f"{call}\n".encode() + b"\xff\n" * 200_000
    for body in (text, parquet_of(id=[call, *map(str, range(200_000))])):
        governance, search = without_disk("set-aside/copy.bin", body)
        assert bool(search.find_in(governance, governance.versions(""))) == (call == CALL)
        if body is text:
            assert max(governance.asked) <= 100_000


def test_a_large_foreign_object_that_is_deleted_meanwhile_is_no_residue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(residue_search, "_MAX_WHOLE_BYTES", 10)
    store = MemoryObjectStore(f"residue-{next(_numbers)}")
    body = CALL.encode() * 2
    store.put("copy.bin", body, sha256=hashlib.sha256(body).hexdigest(), mode=CREATE)
    search = ResidueSearch([CALL], None)
    search.reads_everything = True
    governance = MemoryGovernance(store)
    versions = list(governance.versions(""))
    governance.delete(versions)
    assert not search.find_in(governance, versions)


@pytest.mark.parametrize("key", ["export/calls.csv", "state/copy"])
def test_a_full_disk_is_a_fault_of_this_machine(key: str) -> None:
    governance, search = without_disk(key, b"1,2\n")
    with pytest.raises(LocalFault, match="full"):
        search.find_in(governance, governance.versions(""))
