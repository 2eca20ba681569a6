"""The law of the archive, in random worlds; `make soak` tries two thousand of them."""

from __future__ import annotations

import pytest

from kros_pipeline.core.statuses import DayVerdict
from kros_pipeline_tests.support.worlds import try_world


@pytest.mark.parametrize("seed", range(40))
def test_no_call_that_was_ever_shown_is_missing_in_silence(seed: int) -> None:
    world = try_world(seed)
    breaches, _ = world.result
    assert not breaches, world.log


@pytest.mark.parametrize("seed", range(10_000, 10_020))
def test_every_day_of_a_world_without_lies_is_complete(seed: int) -> None:
    world = try_world(seed, has_lies=False)
    breaches, verdicts = world.result
    assert not breaches
    for row in verdicts.values():
        assert row is not None and (row["verdict"], row["problems"]) == (DayVerdict.COMPLETE, []), world.log


def test_the_law_is_broken_where_a_call_is_in_no_table() -> None:
    """The law can fail: a call that was shown, and that no table has while every day is complete, is named."""
    world = try_world(10_000, has_lies=False)
    world.shown["call_that_was_shown"] = world.days[0]
    world.come_to_rest()
    assert world.breaches() == [f"call_that_was_shown is in 0 days, and {world.days[0]} is complete"]
    world.archive.forget()
