"""A set of digests behaves as the set of the texts would."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kros_pipeline.core.digest_set import DigestSet, digest_all
from kros_pipeline.core.id_digests import digest_id, pack_digests

TEXTS = st.lists(st.text(st.characters(exclude_categories=()), max_size=3), max_size=40)  # surrogates, too


@given(st.lists(TEXTS, max_size=5), TEXTS)
def test_is_the_set_of_its_texts(added: list[list[str]], asked: list[str]) -> None:
    """Adding, asking, counting and comparing give what a set of texts gives."""
    made, expected = DigestSet(), set[str]()
    for texts in added:
        assert made.update(texts) == (not expected.issuperset(texts))
        expected.update(texts)
        assert len(made) == len(expected)
    assert made.has_all(asked) == (set(asked) <= expected)
    assert [text in made for text in asked] == [text in expected for text in asked]
    assert made.has(digest_all(asked)).tolist() == [text in expected for text in asked]
    assert made == DigestSet(expected)


@given(TEXTS, TEXTS)
def test_operators_are_those_of_sets(first: list[str], second: list[str]) -> None:
    """Union, intersection and difference are those of the texts."""
    one, other = DigestSet(first), DigestSet(second)
    assert one | other == DigestSet({*first, *second})
    assert one & other == DigestSet({*first} & {*second})
    assert one - other == DigestSet({*first} - {*second})


@given(TEXTS)
def test_its_bytes_are_those_of_a_packed_listing(texts: list[str]) -> None:
    """A set written as bytes is what `id_digests` packs, and comes back equal."""
    made = DigestSet(texts)
    assert pack_digests(map(digest_id, texts)) == made.pack()
    assert DigestSet.from_bytes(bytes(made)) == made == DigestSet.unpack(made.pack())


@pytest.mark.parametrize("count", [4_096, 4_097, 20_000])
def test_many_texts_stay_counted_once(count: int) -> None:
    """Digests that are held and digests that are sorted in are never counted twice."""
    ids = [f"call_{number}" for number in range(count)]
    made = DigestSet()
    for begin in range(0, count, 100):
        made.update(ids[begin : begin + 100])
        made.update(ids[max(0, begin - 250) : begin])
    assert len(made) == count
    assert made.has_all(ids)
    assert "call_-1" not in made


@pytest.mark.parametrize("packed", ["AAAA", "AAAAAAAAAA=", "no base 64!"])
def test_a_cut_or_foreign_text_is_not_unpacked(packed: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        DigestSet.unpack(packed)
