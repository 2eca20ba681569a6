"""Texts are cut at marks and shortened for lists."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kros_pipeline.browser.rendering import cut_into_segments, shorten_around

MARKS = st.lists(st.tuples(st.integers(-2, 14), st.integers(-2, 14), st.sampled_from(["found", "rule"])), max_size=6)


@given(st.text("ab ", max_size=12), MARKS)
def test_segments_are_the_text_and_each_character_has_the_kinds_of_all_its_marks(
    text: str, marks: list[tuple[int, int, str]]
) -> None:
    segments = cut_into_segments(text, marks)
    assert "".join(part for part, _ in segments) == text and all(part for part, _ in segments)
    inside = [(begin, end, kind) for begin, end, kind in marks if begin >= 0 and end <= len(text)]
    expected = [" ".join(sorted({kind for b, e, kind in inside if b <= at < e})) for at in range(len(text))]
    assert [kind for part, kind in segments for _ in part] == expected


@pytest.mark.parametrize(
    ("text", "at", "expected"),
    [
        ("word " * 30 + "refund" + " word" * 30, 150, "… word"),
        ("x" * 300 + " refund now", 301, "… " + "x" * 52),
        ("退" * 400, 200, "… 退"),
        ("refund " + "y" * 400, 0, "refund "),
    ],
    ids=["words", "one long word", "no blanks", "at the begin"],
)
def test_a_shortened_text_has_its_mark_and_is_cut_between_words(text: str, at: int, expected: str) -> None:
    shown = shorten_around(text, [(at, at + 6, "found")])
    whole = "".join(part for part, _ in shown)
    assert whole.startswith(expected) and (text[at : at + 6], "found") in shown
    assert len(whole) <= 160 + 4
    words = whole.strip("… ").split(" ")
    assert "word" not in text or set(words) <= {"word", "refund"}
