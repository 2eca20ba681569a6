"""A call that is listed again is merged with what is known of it, and nothing known is lost."""

import json
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kros_pipeline.core.calls import Call, merge_calls
from kros_pipeline.core.schemas import CALLS
from kros_pipeline.core.transcripts import is_whole
from kros_pipeline.source.call_parsing import parse_listed_call

NOW = datetime(2025, 1, 11, 2, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
URL = "https://storage.krosai.com/recordings/call_abc123.mp3?X-Amz-Signature=0a1b2c"


def call(now: datetime = NOW, /, **row: Any) -> Call:
    named = {"id": "a", "created_at": "2025-01-10T10:00:00Z"} | row
    return parse_listed_call(named, organization_id=None, now=now).call


def test_the_fields_of_a_call_are_the_columns_of_the_table_in_its_order() -> None:
    assert tuple(field.name for field in fields(Call)) == CALLS.column_names


TRANSCRIPTS = [
    None,
    "...",
    "Hello",
    "Hello there",
    "Hello ...",
    "[Agent]: Hello",
    "[Agent]: Hello there",
    "[Agent]: Hel...",
    "[Agent]: Other",
]
rows = st.fixed_dictionaries(
    {},
    optional={
        "status": st.sampled_from(["completed", "failed", None, 7]),
        "from_number": st.sampled_from(["+1", "+2", None, []]),
        "duration": st.sampled_from([0, 180, 181.5, "x", None]),
        "answered_at": st.sampled_from(["2025-01-10T10:00:05Z", "2025-01-10T10:00:06Z", "x", None]),
        "recording_url": st.sampled_from([URL, None]),
        "transcript": st.sampled_from(TRANSCRIPTS),
        "metadata": st.sampled_from([None, {"a": 1}, {"b": None}, 1.0, 1, "\ud800"]),
        "tags": st.sampled_from([None, [], ["x"]]),
        "\ud800": st.sampled_from([None, 1]),
    },
)
olds = rows.map(lambda row: call(**row))
news = rows.map(lambda row: call(LATER, **row))


@given(olds, news)
def test_nothing_known_is_lost(old: Call, new: Call) -> None:
    merged = merge_calls(old, new)
    for field in fields(Call):
        assert getattr(merged, field.name) is not None or getattr(old, field.name) is None
    assert merged.has_recording >= old.has_recording
    assert is_whole(merged.listed_transcript) >= is_whole(old.listed_transcript)
    known, after = json.loads(old.extra or "{}"), json.loads(merged.extra or "{}")
    assert known.keys() <= after.keys()
    assert all(after[name] is not None for name in known if known[name] is not None)


@given(olds, news)
def test_new_values_are_taken_over(old: Call, new: Call) -> None:
    merged = merge_calls(old, new)
    for field in fields(Call):
        if field.name not in ("has_recording", "listed_transcript", "extra", "listed_at"):
            assert getattr(new, field.name) in (None, getattr(merged, field.name))
    assert merged.has_recording >= new.has_recording
    assert is_whole(merged.listed_transcript) >= is_whole(new.listed_transcript)
    after = json.loads(merged.extra or "{}")
    assert all(after[name] == value for name, value in json.loads(new.extra or "{}").items() if value is not None)


@given(olds, news)
def test_merging_twice_is_merging_once(old: Call, new: Call) -> None:
    merged = merge_calls(old, new)
    assert merge_calls(merged, new) is merged
    assert merge_calls(merged, replace(new, listed_at=LATER + timedelta(days=1))) is merged


@given(olds, news)
def test_listed_at_moves_exactly_when_something_else_does(old: Call, new: Call) -> None:
    merged = merge_calls(old, new)
    assert (merged.listed_at == LATER) == (replace(merged, listed_at=NOW) != old)
    assert merged.listed_at in (NOW, LATER)


@given(olds)
def test_a_call_merged_with_itself_is_itself(old: Call) -> None:
    assert merge_calls(old, replace(old, listed_at=LATER)) is old


@pytest.mark.parametrize(
    ("known", "seen", "kept"),
    [
        # more of it came, or a correction
        (None, "Hello", "Hello"),
        ("Hello ...", "Hello there", "Hello there"),
        ("Hello ...", "[Agent]: Hello ...", "[Agent]: Hello ..."),
        ("Hello there", "[Agent]: Hello", "[Agent]: Hello"),
        ("[Agent]: Hello", "[Agent]: Hello\n[Caller]: Hi", "[Agent]: Hello\n[Caller]: Hi"),
        ("[Agent]: Hello", "[Agent]: Hallo", "[Agent]: Hallo"),
        # less of it came: gone, shortened, unlabelled, cut
        ("Hello", None, "Hello"),
        ("[Agent]: Hello", "[Agent]: Hel...", "[Agent]: Hello"),
        ("[Agent]: Hello", "Hello", "[Agent]: Hello"),
        ("[Agent]: Hello\n[Caller]: Hi", "[Agent]: Hello", "[Agent]: Hello\n[Caller]: Hi"),
        ("Hello there", "Hello ...", "Hello there"),
        ("Hello there", "Hello th…", "Hello there"),
    ],
)
def test_a_transcript_that_became_shorter_upstream_changes_nothing(
    known: str | None, seen: str | None, kept: str
) -> None:
    assert merge_calls(call(transcript=known), call(LATER, transcript=seen)).listed_transcript == kept


@pytest.mark.parametrize(
    ("known", "seen", "kept"),
    [
        ({}, {"a": 1}, {"a": 1}),
        ({"a": 1}, {}, {"a": 1}),
        ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ({"a": 1}, {"a": 2}, {"a": 2}),
        ({"a": 1}, {"a": None}, {"a": 1}),
        ({"a": None}, {"a": 1}, {"a": 1}),
        ({"a": 1}, {"a": None, "b": None}, {"a": 1, "b": None}),
    ],
)
def test_extra_fields_are_added_and_updated_and_never_lost(
    known: dict[str, Any], seen: dict[str, Any], kept: dict[str, Any]
) -> None:
    assert json.loads(merge_calls(call(**known), call(LATER, **seen)).extra or "{}") == kept
