"""A set of hashes behaves as the set of their texts would."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kros_pipeline.core.hash_set import HashSet

# Few different hashes, so that two sets share some; zeros at the end, which numpy leaves out of a text.
HASHES = st.sampled_from([f"{first:02x}" + "ab" * 30 + f"{last:02x}" for first in range(3) for last in range(3)])
SETS = st.lists(HASHES, max_size=12)


@given(SETS, SETS)
def test_is_the_set_of_its_hashes(first: list[str], second: list[str]) -> None:
    one, other = HashSet(first), HashSet(second)
    assert (list(one), len(one)) == (sorted(set(first)), len(set(first)))
    assert set(one | other) == {*first, *second}
    assert set(one - other) == {*first} - {*second}
    assert [text in one for text in second] == [text in first for text in second]
    assert (one == other) == ({*first} == {*second})


@given(SETS)
def test_lines_and_bytes_are_read_back(hashes: list[str]) -> None:
    made = HashSet(hashes)
    lines = b"".join(made.lines())
    assert lines.decode() == "".join(f"{text}\n" for text in sorted(set(hashes)))
    assert HashSet.from_lines(memoryview(lines)) == made
    assert HashSet.from_bytes(b"".join(map(bytes.fromhex, hashes))) == made
    assert hash(HashSet(hashes)) == hash(made)


def test_another_text_is_in_no_set() -> None:
    made = HashSet(["ab" * 31 + "00"])
    assert not any(text in made for text in ("", "ab" * 31, "zz" * 32, "ab" * 32, "ab" * 31 + "0000"))
