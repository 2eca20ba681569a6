"""Search terms: speech and terms are cut and folded alike, in every script."""

from __future__ import annotations

import sqlite3

import pytest

from kros_pipeline.core.search_terms import (
    MAX_TERMS,
    BadTerms,
    Term,
    find_marks,
    fts5_expression,
    has_digits,
    index_text,
    parse_terms,
)


def found(speech: str, search: str) -> bool:
    """Whether a turn is found, by SQLite itself."""
    with sqlite3.connect(":memory:") as index:
        index.execute("CREATE VIRTUAL TABLE words USING fts5(caller, content='', tokenize='ascii')")
        index.execute("INSERT INTO words (rowid, caller) VALUES (1, ?)", (index_text(speech),))
        expression = fts5_expression(parse_terms(search), ["caller"])
        return bool(index.execute("SELECT rowid FROM words WHERE words MATCH ?", (expression,)).fetchall())


@pytest.mark.parametrize(
    ("speech", "search", "is_found"),
    [
        # words, in any order, all of them
        ("I want a refund now", "refund", True),
        ("I want a refund now", "now refund", True),
        ("I want a refund now", "refund sorry", False),
        ("prefund", "refund", False),
        # case and the folding of the rules
        ("I want a REFUND", "refund", True),
        ("ﬁnd it", "find", True),
        ("don’t", "don't", True),
        ("it’s re\u00adfund\u200bed", "refunded", True),
        ("order ١٢٣٤", "1234", True),
        ("Tom &amp; Jerry&#39;s", "jerry's", True),
        ("GROẞE Straße", "strasse", True),
        # accents are compared as written, as in the rules
        ("naïve", "naïve", True),
        ("nai\u0308ve", "naïve", True),
        ("naïve", "naive", False),
        # phrases, prefixes, alternatives
        ("my money, back please", '"money back"', True),
        ("money comes back", '"money back"', False),
        ("money back", "“money back”", True),
        ("refunding", "refund*", True),
        ("so sorry", "apologise OR sorry", True),
        ("so what", "apologise OR sorry", False),
        ("sorry for the refund", "refund apologise OR sorry", True),
        # words that are FTS5's own
        ("near and not", "NEAR AND NOT", True),
        ("a column: caller", "caller:", True),
        ("x", 'x"', True),
        # scripts without blanks: characters side by side
        ("我要退款谢谢", "退款", True),
        ("退还货款", "退款", False),
        ("ขอคืนเงินหน่อย", "คืนเงิน", True),
        ("返金してください", "返金", True),
        # other scripts, marks included
        ("नमस्ते दुनिया", "नमस्ते", True),
        ("нужен ВОЗВРАТ денег", "возврат", True),
        ("أريد اسـترداد المال", "استرداد", True),
        ("𞤀𞤣𞤤𞤢𞤥 wala", "𞤢𞤣𞤤𞤢𞤥", True),  # Adlam has case
        ("mo fẹ́ owó mi", "fẹ́", True),
        ("환불 해주세요", "환불", True),
        ("emoji 😀 here", "emoji here", True),
    ],
)
def test_a_turn_is_found_by(speech: str, search: str, is_found: bool) -> None:
    assert found(speech, search) is is_found


@pytest.mark.parametrize("search", ['"', "* ( ) : ^ -", "'; DROP TABLE words; --", "a" * 500, "{caller} : x", "\x00 x"])
def test_no_search_breaks_the_expression(search: str) -> None:
    try:
        terms = parse_terms(search)
    except BadTerms:
        return
    assert terms
    found("speech", search)


def test_a_search_of_punctuation_only_is_refused_and_a_blank_one_is_none() -> None:
    assert parse_terms("  ") == ()
    with pytest.raises(BadTerms, match="no letter"):
        parse_terms("?!")


def test_a_search_has_limits() -> None:
    with pytest.raises(BadTerms, match="Shorten"):
        parse_terms("word " * 200)
    with pytest.raises(BadTerms, match="Leave some out"):
        parse_terms("ab " * (MAX_TERMS + 1))


@pytest.mark.parametrize(
    ("text", "terms", "marked"),
    [
        ("I want my  money  back—now", [Term(("money", "back"))], ["money  back"]),
        ("REFUND the refund!", [Term(("refund",))], ["REFUND", "refund"]),
        ("refunding it", [Term(("refund",), is_prefix=True)], ["refunding"]),
        ("&amp;refund&nbsp;it", [Term(("refund",))], ["refund"]),
        ("我要退款", [Term(("退", "款"))], ["退款"]),
        ("nothing here", [Term(("refund",))], []),
        ("a b a b", [Term(("a", "b")), Term(("a",))], ["a b", "a b"]),  # the longest
    ],
)
def test_what_was_found_is_marked_in_the_turns_own_text(text: str, terms: list[Term], marked: list[str]) -> None:
    assert [text[begin:end] for begin, end in find_marks(text, terms)] == marked


@pytest.mark.parametrize(
    ("search", "has"),
    [
        ("0801", True),
        ("order 12345", True),
        ("+234 80 12", True),
        ("٠٨٠١", True),
        ("90 days", True),
        ("b2b", True),
        ("五 days", False),
    ],
)
def test_a_search_for_a_number_is_recognized(search: str, has: bool) -> None:
    terms = parse_terms(search.replace("80 12", "8012"))
    assert has_digits(terms) is has
