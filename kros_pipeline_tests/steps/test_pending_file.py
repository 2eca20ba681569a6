"""What a run has still to do comes back from its file as it was added, each item once."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from kros_pipeline.core.kept_body import KeptBody
from kros_pipeline.core.two_answers import FirstAnswer
from kros_pipeline.steps.pending_file import PendingFile
from kros_pipeline.steps.recording_rows import PendingRecording

AT = datetime(2025, 1, 10, 12, 0, 0, 123_456, UTC)
IDS = st.sampled_from(["call_a", "call_b", "..", "", "\ud800", "é"])


@given(st.lists(IDS, unique=True), st.lists(IDS, max_size=8))
def test_an_item_is_taken_out_once_and_the_rest_in_order(added: list[str], asked: list[str]) -> None:
    with PendingFile[int]() as file:
        expected = {}
        for number, call_id in enumerate(added):
            file.add(call_id, number)
            expected[call_id] = number
        for call_id in asked:
            assert (call_id in file) == (call_id in expected)
            assert file.take(call_id) == expected.pop(call_id, None)
            assert len(file) == len(expected)
        assert list(file.take_all()) == list(expected.values())
        assert not file


def test_a_call_comes_back_whole() -> None:
    calls = [
        PendingRecording("call_a", None, True, 0),
        PendingRecording("call_b", 1.5, False, 3, FirstAnswer(AT, is_asked=True), "quarantine/x.bin", KeptBody(2, AT)),
    ]
    with PendingFile[PendingRecording]() as file:
        for call in calls:
            file.add(call.call_id, call)
        assert file.take("call_b") == calls[1]
        assert list(file.take_all()) == calls[:1]
