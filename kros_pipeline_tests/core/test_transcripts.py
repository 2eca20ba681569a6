"""A transcript is split into turns without losing a character."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kros_pipeline.core.transcripts import (
    Turn,
    clean_text,
    count_words,
    is_labelled,
    is_shortened,
    is_whole,
    parse_speaker,
    split_turns,
)

PIECES = [
    "[Agent]:",
    "[Caller]: ",
    "[Supervisor 2]:",
    "[5:00]",
    "[]:",
    "[",
    "]:",
    "note:",
    " ",
    "\t",
    "\n",
    "\r",
    "\r\n",
]
PIECES += [
    "\n\n",
    "\u2028",
    "\x85",
    "hello",
    "ọ̀rẹ́ mi",
    "[Ọ̀gá]:",
    "[الوكيل]:",
    "你好",
    "🙂",
    "e\u0301",
    "...",
    "\ufeff",
    "\x00",
]
texts = st.one_of(st.text(st.characters(codec="utf-8")), st.lists(st.sampled_from(PIECES)).map("".join))
labels = st.from_regex(r"\A[A-Za-z][A-Za-z0-9 _.'-]{0,63}\Z")


def speech(text: str) -> list[tuple[str, str]]:
    return [(turn.speaker_label or turn.speaker, turn.text) for turn in split_turns(text)]


# True for any text.


@given(texts)
@example("")
@example(" \r\n\t")
@example("\r[Agent]: a\r\r\n[Caller]:\n\n")
def test_the_spans_of_all_turns_joined_are_the_text(text: str) -> None:
    turns = split_turns(text)
    assert "".join(text[turn.char_start : turn.char_end] for turn in turns) == text
    assert all(turn.char_start < turn.char_end for turn in turns)


@given(texts)
def test_every_word_is_in_exactly_one_turn(text: str) -> None:
    for turn in split_turns(text):
        span = text[turn.char_start : turn.char_end].strip()
        if turn.speaker_label is not None:
            label, mark, span = span.partition("]:")
            assert mark and label.removeprefix("[").strip() == turn.speaker_label
        assert turn.text.split() == span.split()


@given(texts)
def test_turns_are_numbered_from_zero_and_only_the_first_may_have_no_label(text: str) -> None:
    turns = split_turns(text)
    assert [turn.turn_index for turn in turns] == list(range(len(turns)))
    assert all((turn.speaker == "unknown") == (turn.speaker_label is None) for turn in turns)
    assert all(turn.speaker_label is not None for turn in turns[1:])


@given(texts)
def test_a_turn_cut_out_of_its_text_is_the_same_turn(text: str) -> None:
    for turn in split_turns(text):
        span = text[turn.char_start : turn.char_end]
        assert split_turns(span) == [Turn(0, turn.speaker, turn.speaker_label, turn.text, 0, len(span))]


@given(texts)
def test_a_text_is_labelled_if_and_only_if_a_turn_has_a_label(text: str) -> None:
    assert is_labelled(text) == any(turn.speaker_label is not None for turn in split_turns(text))
    assert is_whole(text) == (is_labelled(text) and not is_shortened(text))


@given(
    st.lists(
        st.tuples(labels, st.from_regex(r"\A[a-z]*( [a-z]+){0,3}\Z"), st.sampled_from(["\n", "\r", "\r\n", "\n\n"]))
    )
)
def test_a_script_of_turns_is_split_into_the_same_turns(script: list[tuple[str, str, str]]) -> None:
    text = "".join(f"[{label}]: {said}{ending}" for label, said, ending in script)
    assert speech(text) == [(label.strip(), said.strip()) for label, said, _ in script]


# Labels and speech.


@pytest.mark.parametrize(
    "label",
    [
        *("Agent", "Caller", "Supervisor", "System", "X"),
        # every sign that may stand in one
        *("Agent 2", "agent_2", "Mary-Jane", "Dr. O'Neil", "A" * 64),
        # other languages, and letters written with combining marks
        *("Opérateur", "Клиент", "客服", "الوكيل", "Ọ̀gá", "ग्राहक", "ลูกค้า", "e\u0301lan", "Kund\u0308in"),
    ],
)
def test_a_label_at_the_start_of_a_line_begins_a_turn(label: str) -> None:
    assert speech(f"[{label}]: hello\n[{label}]:there") == [(label, "hello"), (label, "there")]


@pytest.mark.parametrize(
    "line",
    [
        # brackets and colons in speech
        *(
            "[5:00] is fine",
            "note: this",
            "see [note]: later",
            "Agent: hello",
            "[laughs] hello",
            "[Agent] hello",
            "[Agent] : hi",
        ),
        # not at the line's start
        *(" [Agent]: hi", "\t[Agent]: hi", "so [Agent]: hi", "\u2028[Agent]: hi", "\x0b[Agent]: hi", "\x85[Agent]: hi"),
        # not a letter first
        *(
            "[5]: hi",
            "[2nd agent]: hi",
            "[ Agent]: hi",
            "[_a]: hi",
            "[-]: hi",
            "[²]: hi",
            "[Ⅷ]: hi",
            "[\u0301a]: hi",
            "[]: hi",
        ),
        # a sign that no label has, or too many
        *(
            f"[{'A' * 65}]: hi",
            "[a@b]: hi",
            "[a/b]: hi",
            "[a:b]: hi",
            "[a[b]: hi",
            "[A\nB]: hi",
            "[A\tB]: hi",
            "[🙂]: hi",
            "[a,b]: hi",
        ),
        # not ours
        *("(Agent): hi", "【Agent】: hi", "[Agent]：hi", "{Agent}: hi", "<Agent>: hi"),
    ],
)
def test_a_line_that_begins_with_no_label_is_speech(line: str) -> None:
    assert not is_labelled(line)
    assert speech(line) == [("unknown", line.strip())]
    assert speech(f"[Agent]: a\n{line}\n[Caller]: b") == [("Agent", f"a\n{line}".strip()), ("Caller", "b")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # the documented form, and every line ending
        ("[Agent]: Hello\n[Caller]: Hi", [("Agent", "Hello"), ("Caller", "Hi")]),
        ("[Agent]: Hello\r\n[Caller]: Hi\r\n", [("Agent", "Hello"), ("Caller", "Hi")]),
        ("[Agent]: Hello\r[Caller]: Hi", [("Agent", "Hello"), ("Caller", "Hi")]),
        # a turn over several lines, and a label in mid-line
        ("[Agent]: one\ntwo\n\nthree\n[Caller]: x", [("Agent", "one\ntwo\n\nthree"), ("Caller", "x")]),
        ("[Agent]: he said [Caller]: no\n[Caller]: yes", [("Agent", "he said [Caller]: no"), ("Caller", "yes")]),
        ("[Agent]: [Caller]: x", [("Agent", "[Caller]: x")]),
        # empty turns are turns
        ("[Agent]:\n[Caller]:", [("Agent", ""), ("Caller", "")]),
        ("[Agent]: \n\n[Agent]:\n", [("Agent", ""), ("Agent", "")]),
        # words before the first label are a turn; blank lines before it are not
        ("Welcome.\n[Agent]: Hi", [("unknown", "Welcome."), ("Agent", "Hi")]),
        ("\n \r\n[Agent]: Hi", [("Agent", "Hi")]),
        # no labels, no words, nothing
        ("Hello. Hi there.", [("unknown", "Hello. Hi there.")]),
        (" \n\t ", [("unknown", "")]),
        ("", []),
    ],
)
def test_a_transcript_is_split_where_lines_begin_with_labels(text: str, expected: list[tuple[str, str]]) -> None:
    assert speech(text) == expected


def test_spans_count_code_points_and_include_label_and_line_ending() -> None:
    turns = split_turns("\n[Agent]: 🙂é\r\n[Caller]: x")
    assert [(turn.char_start, turn.char_end) for turn in turns] == [(0, 14), (14, 25)]


@pytest.mark.parametrize(
    ("label", "speaker"),
    [
        *((label, "agent") for label in ("Agent", "agent", "AGENT")),
        *((label, "caller") for label in ("Caller", "cAlLeR")),
        *((label, "other") for label in ("Supervisor", "System", "Agent 2", "Agents", "The Caller", "unknown", "客服")),
    ],
)
def test_agent_and_caller_are_recognized_in_any_case_and_every_other_label_is_other(label: str, speaker: str) -> None:
    assert parse_speaker(label) == speaker
    assert split_turns(f"[{label}]: x")[0].speaker == speaker


# The list's text.


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("[Agent]: Hello.", True),
        ("[Agent]:", True),
        ("Hello.\n[Agent]: Hi.", True),
        # shortened, with or without white space behind
        *((f"[Agent]: Hello{end}", False) for end in ("...", "…", "....", "...\n", "… \r\n")),
        # dots in the middle shorten nothing
        ("[Agent]: Well... yes.", True),
        # unlabelled, empty, absent
        *((text, False) for text in ("Hello.", "note: [5:00]", " ", "", None)),
    ],
)
def test_a_text_is_whole_if_it_is_labelled_and_not_shortened(text: str | None, whole: bool) -> None:
    assert is_whole(text) is whole


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 0),
        (" \n", 0),
        ("one", 1),
        ("one  two\nthree", 3),
        ("don't stop", 2),
        ("你好吗", 1),
        ("a\u00a0b", 2),
        ("- 5 %", 3),
    ],
)
def test_words_are_separated_by_white_space(text: str, words: int) -> None:
    assert count_words(text) == words


@given(st.text())
def test_clean_text_can_be_encoded_and_changes_only_surrogates(text: str) -> None:
    cleaned = clean_text(text)
    cleaned.encode()
    assert len(cleaned) == len(text)
    assert clean_text(cleaned) == cleaned
    assert all(
        before == after for before, after in zip(text, cleaned, strict=True) if not "\ud800" <= before <= "\udfff"
    )


def test_each_lone_surrogate_becomes_one_replacement_character() -> None:
    assert clean_text("a\ud83d b\ude00\udfff 🙂") == "a\ufffd b\ufffd\ufffd 🙂"
