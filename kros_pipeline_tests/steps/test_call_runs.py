"""Calls in sorted runs on disk come back as a dict of them would have them; a table takes them in as a dict would."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kros_pipeline.archive.object_store import VersionToken
from kros_pipeline.archive.parquet import Partition, batches_of, write_parquet
from kros_pipeline.core import schemas
from kros_pipeline.core.calls import Call, merge_calls
from kros_pipeline.core.errors import LocalFault
from kros_pipeline.steps import call_runs, local_file
from kros_pipeline.steps.call_runs import CallRuns
from kros_pipeline.steps.other_days import add_calls, has_news

DAYS = [date(2025, 1, 9), date(2025, 1, 10), date(2025, 1, 11)]
TEXTS = [None, "Agent: hi", "Agent: hi\nCaller: hello", "Caller: é日 \ud7ff"]


def call(call_id: str, day: date = DAYS[1], *, second: int = 0, **values: Any) -> Call:
    at = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    columns: dict[str, Any] = dict.fromkeys(schemas.CALLS.column_names)
    columns |= {"call_id": call_id, "call_date": day, "created_at": at, "has_recording": False}
    return Call(**columns | {"listed_at": at + timedelta(seconds=second)} | values)


CALLS = st.builds(
    call,
    st.sampled_from(["a", "A", "b", "ab", "é", "日", "call_1", "call_10"]),
    st.sampled_from(DAYS),
    second=st.integers(0, 3),
    listed_transcript=st.sampled_from(TEXTS),
    has_recording=st.booleans(),
    extra=st.sampled_from([None, '{"a":1}', '{"a":2,"b":null}', '{"b":3}']),
    cost_cents=st.sampled_from([None, 0.5, 2.0]),
)


def naively_merged(calls: Iterable[Call], known: Iterable[Call] = ()) -> dict[str, Call]:
    merged = {each.call_id: each for each in known}
    for each in calls:
        merged[each.call_id] = merge_calls(merged[each.call_id], each) if each.call_id in merged else each
    return merged


@contextmanager
def small_runs(max_held_bytes: int = 3_000) -> Iterator[CallRuns]:
    """Runs of three calls, in blocks of two, on disk."""
    with pytest.MonkeyPatch.context() as patch, closing(CallRuns(merge_calls)) as runs:
        patch.setattr(call_runs, "MAX_HELD_BYTES", max_held_bytes)
        patch.setattr(call_runs, "BYTES_PER_BLOCK", 2_000)
        patch.setattr(local_file, "MAX_BYTES_IN_MEMORY", 0)
        yield runs


@settings(max_examples=60)
@given(st.lists(CALLS, max_size=40), st.integers(0, 40))
def test_calls_come_back_sorted_and_merged_in_the_order_in_which_they_came(calls: list[Call], cut_at: int) -> None:
    with small_runs() as runs:
        since = 0
        for number, each in enumerate(calls):
            if number == cut_at:
                since = runs.cut()
            runs.add(each.call_date, each)
        assert runs.days == list(dict.fromkeys(each.call_date for each in calls))
        for day in DAYS:
            of_day = [each for each in calls if each.call_date == day]
            expected = naively_merged(of_day)
            assert list(runs.of_day(day)) == [expected[call_id] for call_id in sorted(expected)]
            late = naively_merged(each for each in calls[cut_at:] if each.call_date == day)
            if cut_at < len(calls):
                got = [each for batch in runs.batches_of(day, since) for each in batch]
                assert got == [late[call_id] for call_id in sorted(late)]


def test_two_readers_do_not_disturb_each_other() -> None:
    with small_runs() as runs:
        for number in range(30):
            runs.add(DAYS[0], call(f"call_{number:02d}", DAYS[0]))
        pairs = list(zip(runs.of_day(DAYS[0]), runs.of_day(DAYS[0]), strict=True))
        assert len(pairs) == 30 and all(first == second for first, second in pairs)


def test_few_calls_touch_no_disk_and_many_are_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with small_runs(1_000_000) as runs:
        for number in range(500):
            runs.add(DAYS[0], call(f"call_{number}", DAYS[0]))
        with pytest.raises(LocalFault, match="is full"):
            for number in range(600):
                runs.add(DAYS[0], call(f"call_{number}", DAYS[0], listed_transcript="x" * 100))


def partition_of(calls: Iterable[Call]) -> Partition:
    file = io.BytesIO()
    rows = [{name: getattr(each, name) for name in schemas.CALLS.column_names} for each in calls]
    write_parquet(schemas.CALLS, file, batches_of(schemas.CALLS, rows))
    return Partition(schemas.CALLS, file, VersionToken("1"))


def bytes_of(batches: Iterable[Any]) -> bytes:
    file = io.BytesIO()
    write_parquet(schemas.CALLS, file, batches)
    return file.getvalue()


@settings(max_examples=40)
@given(st.lists(CALLS, max_size=12), st.lists(CALLS, max_size=12), st.booleans())
def test_a_table_takes_calls_in_as_a_dict_of_all_would(known: list[Call], found: list[Call], is_sorted: bool) -> None:
    """Whatever order another program has given the table, and however often it has a call."""
    if is_sorted:
        known = sorted(naively_merged(known).values(), key=lambda each: each.call_id)
    listed = naively_merged(found)
    expected = naively_merged(listed.values(), known)
    ordered = [listed[call_id] for call_id in sorted(listed)]
    with closing(partition_of(known)) as present:
        got = bytes_of(add_calls(present, ordered))
        assert got == bytes_of(add_calls(None, [expected[call_id] for call_id in sorted(expected)]))
        before = {each.call_id: each for each in known}
        assert has_news(present, ordered) == any(
            each.call_id not in before or looked_at(expected[each.call_id]) != looked_at(before[each.call_id])
            for each in ordered
        )


def looked_at(each: Call) -> tuple[Any, ...]:
    return each.created_at, each.direction, each.has_recording, each.listed_transcript


def test_what_a_table_takes_in_is_not_what_it_has() -> None:
    """The comparison above can fail: a changed value changes the bytes."""
    known, later = call("a"), call("a", second=5, extra=json.dumps({"a": 1}))
    with closing(partition_of([known])) as present:
        unchanged = bytes_of(add_calls(present, [replace(known, listed_at=later.listed_at)]))
        assert unchanged == bytes_of(add_calls(None, [known])) != bytes_of(add_calls(present, [later]))
