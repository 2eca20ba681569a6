"""Say when each turn of a call begins: as the text says it, or by an estimate.

The estimate shares the time between two known moments out by the characters that are spoken. People pause and speak at
different speeds, so it may be wrong by many seconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class TurnTime:
    """When a turn begins, in seconds from the begin of the recording."""

    seconds: float
    is_estimate: bool


def turn_times(
    said: Sequence[float | None], lengths: Sequence[int], duration_seconds: float | None
) -> list[TurnTime | None]:
    """Return the begin of each turn; None where nothing can be said.

    `said` has the seconds that the text itself says, `lengths` the characters of each turn. A time that runs backwards
    or beyond the recording is not believed. Without a duration nothing is estimated behind the last known time.
    """
    known = _believed(said, duration_seconds)
    times: list[TurnTime | None] = [None] * len(said)
    anchors = [(-1, 0.0), *known, (len(said), duration_seconds)]
    for (first, begin), (last, end) in pairwise(anchors):
        if first >= 0 and begin is not None:
            times[first] = TurnTime(begin, is_estimate=False)
        if begin is None or end is None:
            continue
        inside = range(max(first, 0), last)
        total = sum(max(1, lengths[number]) for number in inside)
        passed = 0
        for number in inside:
            if number != first:
                times[number] = TurnTime(begin + (end - begin) * passed / total, is_estimate=True)
            passed += max(1, lengths[number])
    return times


def _believed(said: Sequence[float | None], duration_seconds: float | None) -> list[tuple[int, float]]:
    known: list[tuple[int, float]] = []
    latest = 0.0
    for number, seconds in enumerate(said):
        if seconds is None or seconds < latest or (duration_seconds is not None and seconds > duration_seconds):
            continue
        known.append((number, seconds))
        latest = seconds
    return known
