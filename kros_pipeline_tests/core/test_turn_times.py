"""When turns begin: what the text says is believed where it can be true, the rest is an estimate and says so."""

from __future__ import annotations

import pytest

from kros_pipeline.core.turn_times import turn_times


@pytest.mark.parametrize(
    ("said", "lengths", "duration", "times"),
    [
        # nothing said: shared out by characters
        ([None, None, None], [10, 30, 10], 100.0, [(0.0, True), (20.0, True), (80.0, True)]),
        # said: as it is, and the others between
        ([0.0, None, 30.0, None], [10, 10, 10, 10], 60.0, [(0.0, False), (15.0, True), (30.0, False), (45.0, True)]),
        # not to be believed: backwards, or beyond the recording
        ([0.0, 50.0, 20.0], [1, 1, 1], 60.0, [(0.0, False), (50.0, False), (55.0, True)]),
        ([0.0, 900.0], [10, 10], 60.0, [(0.0, False), (30.0, True)]),
        # no duration: nothing is estimated behind the last time that is known
        ([None, None], [1, 1], None, [None, None]),
        ([None, 10.0, None], [5, 5, 5], None, [(0.0, True), (10.0, False), None]),
        ([], [], 10.0, []),
        # empty turns count as one character
        ([None, None], [0, 0], 10.0, [(0.0, True), (5.0, True)]),
    ],
)
def test_times_of_turns(
    said: list[float | None], lengths: list[int], duration: float | None, times: list[tuple[float, bool] | None]
) -> None:
    found = turn_times(said, lengths, duration)
    assert [(time.seconds, time.is_estimate) if time else None for time in found] == times
