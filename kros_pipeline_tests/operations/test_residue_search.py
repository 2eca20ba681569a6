"""The residue search recognizes a call by its id or its key, wherever in a text, and a number in any table."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kros_pipeline.archive.object_store import VersionToken
from kros_pipeline.archive.parquet import Partition
from kros_pipeline.core import schemas
from kros_pipeline.core.errors import UnreadablePartition
from kros_pipeline.core.object_keys import audio_key, call_key
from kros_pipeline.core.wanted_number import WantedNumber
from kros_pipeline.operations.every_day import find_ids
from kros_pipeline.operations.residue_search import ResidueSearch
from kros_pipeline_tests.support.accounts import DAY

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
