"""A sample is the same for the same seed and calls, and has each stratum in its share."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kros_pipeline.core.review_sample import draw_sample

CALLS = [(f"call_{number}", "inbound" if number % 4 else "outbound") for number in range(400)]


def test_the_order_of_the_calls_does_not_matter_and_the_seed_does() -> None:
    shuffled = CALLS.copy()
    random.Random(1).shuffle(shuffled)
    assert draw_sample(CALLS, 40, "week-1") == draw_sample(shuffled, 40, "week-1")
    assert draw_sample(CALLS, 40, "week-1") != draw_sample(CALLS, 40, "week-2")


def test_each_stratum_has_its_share_and_a_rare_one_at_least_one_call() -> None:
    rare = [*CALLS, ("call_rare", "unknown")]
    strata = dict(rare)
    counts = Counter(strata[key] for key in draw_sample(rare, 40, "s"))
    assert counts == {"inbound": 29, "outbound": 10, "unknown": 1}


def test_a_call_that_goes_changes_its_stratum_only() -> None:
    before = draw_sample(CALLS, 40, "s")
    gone = next(key for key in before if dict(CALLS)[key] == "outbound")
    after = draw_sample([call for call in CALLS if call[0] != gone], 40, "s")
    changed = set(before) ^ set(after)
    assert gone in changed and len(changed) <= 4
    assert draw_sample(CALLS, 41, "s")[:1] == before[:1]


@settings(max_examples=60, deadline=None)
@given(
    strata=st.lists(st.integers(0, 6), max_size=60),
    size=st.integers(1, 70),
)
def test_a_sample_has_as_many_calls_as_wanted_each_once(strata: list[int], size: int) -> None:
    calls = [(f"c{number}", str(stratum)) for number, stratum in enumerate(strata)]
    drawn = draw_sample(calls, size, "seed")
    assert len(drawn) == len(set(drawn)) == min(size, len(calls))
    if size >= len(set(strata)):
        assert {dict(calls)[key] for key in drawn} == {str(stratum) for stratum in strata}


@pytest.mark.parametrize("size", [1, 400, 1_000])
def test_a_sample_of_everything_is_everything(size: int) -> None:
    assert len(draw_sample(CALLS, size, "s")) == min(size, 400)
