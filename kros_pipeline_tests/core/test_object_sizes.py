"""The sizes of a day's objects behave as a dict of them would, from which keys are popped."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kros_pipeline.core.object_sizes import ObjectSizes

KEYS = st.sampled_from([f"audio/{name}.mp3" for name in "abcdef"])


@given(st.dictionaries(KEYS, st.integers(0, 1 << 40)), st.lists(KEYS, max_size=10))
def test_each_object_is_taken_out_once(stored: dict[str, int], asked: list[str]) -> None:
    sizes, expected = ObjectSizes(stored.items()), dict(stored)
    assert (len(sizes), sizes.total_bytes) == (len(stored), sum(stored.values()))
    assert [sizes.take(key) for key in asked] == [expected.pop(key, None) for key in asked]
    assert sizes.has_left == bool(expected)
    assert {key for key in stored if sizes.is_left(key)} == expected.keys()
    assert not sizes.is_left("audio/other.mp3")
