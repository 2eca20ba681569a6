"""A transcript is split into turns without losing a character, and nobody's words get into another one's mouth."""

import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kros_pipeline.core.speaker_roles import USUAL_ROLES
from kros_pipeline.core.spoken_events import is_event
from kros_pipeline.core.transcript_changes import is_longer
from kros_pipeline.core.transcript_cuts import find_cut_lengths, is_shortened, lacks_words
from kros_pipeline.core.transcripts import (
    clean_text,
    count_words,
    is_labelled,
    is_whole,
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
# `[CRY]` is no label: it says what is heard.
labels = st.from_regex(r"\A[A-Za-z][A-Za-z0-9 _.'-]{0,63}\Z").filter(lambda label: not is_event(label))


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
def test_turns_are_numbered_from_zero_and_only_the_first_may_have_no_label(text: str) -> None:
    turns = split_turns(text)
    assert [turn.turn_index for turn in turns] == list(range(len(turns)))
    assert all(turn.speaker == "unknown" for turn in turns if turn.speaker_label is None)
    assert all(turn.speaker_label is not None for turn in turns[1:])
    assert all(turn.text in text for turn in turns)


@given(texts)
def test_a_text_is_labelled_if_and_only_if_a_turn_has_a_label(text: str) -> None:
    assert is_labelled(text) == any(turn.speaker_label is not None for turn in split_turns(text))
    assert is_whole(text) == (is_labelled(text) and not is_shortened(text))


@given(
    st.lists(
        st.tuples(labels, st.from_regex(r"\A[a-z]*( [a-z]+){0,3}\Z"), st.sampled_from(["\n", "\r", "\r\n", "\n\n"])),
        max_size=6,
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
        *("Agent 2", "agent_2", "Mary-Jane", "Dr. O'Neil", "O’Brien", "Agent #2", "Caller (Maria)", "A" * 64),
        # other languages, and letters written with combining marks
        *("Opérateur", "Клиент", "客服", "الوكيل", "Ọ̀gá", "ग्राहक", "ลูกค้า", "e\u0301lan", "Kund\u0308in"),
    ],
)
def test_a_label_at_the_start_of_a_line_begins_a_turn(label: str) -> None:
    assert speech(f"[{label}]: hello\n[{label}]:there") == [(label, "hello"), (label, "there")]


CALLER_LABELS = [
    # blanks, and characters that show nothing, anywhere
    *("[Caller] :", " [Caller]:", "\t[Caller]:", "\u00a0[Caller]:", "\u3000[Caller]:", "[ Caller ]:", "[Caller]:"),
    *(
        "\u200b[Caller]:",
        "\u200e[Caller]:",
        "\ufeff[Caller]:",
        "[\u202aCaller\u202c]:",
        "[Caller]\u200b:",
        "\u00ad[Caller]:",
    ),
    # decorations
    *("**[Caller]:**", "**[Caller]**:", "_[Caller]_:", "`[Caller]`:", '"[Caller]":', "<b>[Caller]:</b>", "# [Caller]:"),
    *("- [Caller]:", "> [Caller]:", "* [Caller]:", "1. [Caller]:", "• [Caller]:", "—[Caller]:", "👤 [Caller]:"),
    # other brackets, other colons, none, and one too many or too few
    *(
        "［Caller］：",
        "【Caller】：",
        "(Caller):",
        "{Caller}:",
        "<Caller>:",
        "[Caller]﹕",
        "[Caller]∶",
        "[[Caller]]:",
        "「Caller」:",
        "(Caller]:",
        "\\[Caller\\]:",
    ),
    *("7 [Caller]:", "#3 [Caller]:", "[Caller] [angry]:", "&nbsp;[Caller]:", "&lt;Caller&gt;:", "&#91;Caller&#93;:"),
    *("[Caller]", "[Caller] -", "[Caller] =>", "[Caller]::", "[Caller:", "Caller]:", "[Caller}:", "Caller:", "CALLER:"),
    # a time before, within and behind
    *("[00:12] [Caller]:", "[00:00:12] [Caller]:", "(00:12) [Caller]:", "00:12 - [Caller]:", "[00:12][Caller]:"),
    *(
        "[Caller 00:12]:",
        "[00:12 Caller]:",
        "[Caller, 00:12]:",
        "[Caller @ 0:12]:",
        "[Caller | 00:12.0]:",
        "[Caller 12s]:",
    ),
    *(
        "[Caller] [00:12]:",
        "[Caller] (00:12):",
        "[Caller] 00:12:",
        "[00:12] Caller:",
        "Caller (00:12):",
        "Caller 00:12:",
    ),
    *(
        "[00:12 - 00:15] [Caller]:",
        "[00:00:12.000 --> 00:00:15.000] [Caller]:",
        "[00:12]: [Caller]:",
        "[00:12]\n[Caller]:",
        "[Caller] 00:12\n",
        "[Caller] - 00:12 -",
    ),
    # what else stands in brackets before it
    *("[Channel 1] [Caller]:", "[crosstalk] [Caller]:", "[2025-01-10 10:00:05] [Caller]:", "[10:03:05 AM] [Caller]:"),
    # the usual names of the role
    *(
        "[Caller\u00a01]:",
        "[Caller 2]:",
        "[Caller (Maria)]:",
        "[Maria (Caller)]:",
        "[The Caller]:",
        "[Customer]:",
        "[User]:",
    ),
    *(
        "[Cliente]:",
        "[Kunde]:",
        "[Client]:",
        "[Клиент]:",
        "[العميل]:",
        "[客户]：",
        "[ग्राहक]:",
        "[Oníbàárà]:",
        "[Ｃａｌｌｅｒ]:",
    ),
]


@pytest.mark.parametrize("label", CALLER_LABELS)
@pytest.mark.parametrize(
    "separator",
    ["\n", "\r\n", "\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1e", "<br>", "<br/>", "</p><p>", "&lt;br&gt;", r"\n"],
)
def test_a_label_in_any_spelling_ends_the_agents_turn_and_begins_the_callers(label: str, separator: str) -> None:
    text = f"[Agent]: how are you{separator}{label} my lawyer knows{separator}[Agent]: I see"
    turns = split_turns(text)
    assert [(turn.speaker, turn.text) for turn in turns] == [
        ("agent", "how are you"),
        ("caller", "my lawyer knows"),
        ("agent", "I see"),
    ]
    has_time = "12" in label
    assert [turn.start_seconds for turn in turns] == [None, 12.0 if has_time else None, None]
    assert "".join(text[turn.char_start : turn.char_end] for turn in turns) == text


names = st.sampled_from(["Caller", "caller", "CUSTOMER", "User 1", "Cliente", "Caller (Ann)", "客户", "المتصل"])
invisible = st.text("\u200b\u200e\u202a\u2060\ufeff \t\u00a0\u2009", max_size=3)
times = st.sampled_from(["00:12", "0:12", "00:00:12", "00:00:12.5"])


@st.composite
def spellings(draw: st.DrawFn) -> str:
    """A label of the caller, with whatever was seen around labels."""
    brackets = draw(st.sampled_from(["[]", "［］", "【】", "()", "{}", "<>", "〔〕"]))
    decoration = draw(st.sampled_from(["", "**", "__", "- ", "> ", "# ", "• ", "3. ", "“"]))
    before, within, behind = draw(st.permutations([True, False, False]))
    parts = [draw(invisible), decoration, draw(invisible)]
    if before and draw(st.booleans()):
        parts += [
            draw(st.sampled_from("[(")).replace("[", "[{}]").replace("(", "({})").format(draw(times)),
            draw(invisible),
        ]
    name = draw(invisible) + draw(names) + draw(invisible)
    parts += [brackets[0], f"{name} {draw(times)}" if within and draw(st.booleans()) else name, brackets[1]]
    parts += [f" [{draw(times)}]" if behind and draw(st.booleans()) else "", draw(invisible)]
    return "".join(
        [*parts, draw(st.sampled_from([":", "：", "﹕", " :"])), decoration if decoration in ("**", "__") else ""]
    )


@given(
    spellings(),
    st.sampled_from(["\n", "\r\n", "\u2028", "\x85", "<br />"]),
    st.sampled_from(["hello", "[5:00] yes", "note: this"]),
)
@settings(max_examples=60)
def test_no_drawn_spelling_leaves_the_callers_speech_to_the_agent(label: str, separator: str, said: str) -> None:
    text = f"[Agent]: a{separator}{label} {said}{separator}[Agent]: b"
    turns = split_turns(text)
    assert "".join(text[turn.char_start : turn.char_end] for turn in turns) == text
    assert [(turn.speaker, turn.text) for turn in turns] == [("agent", "a"), ("caller", said), ("agent", "b")]


@pytest.mark.parametrize(
    ("line", "speaker", "label"),
    [
        # somebody of another role
        *((f"[{name}]: hi", "other", name) for name in ("Supervisor", "Speaker 2", "Maria", "note", "a@b")),
        ("(Maria): hi", "other", "Maria"),
        # what looks like a label, and nobody can say whose
        *((f"[{name}]: hi", "unknown", name) for name in ("5", "2nd agent", "a/b?", "A" * 65, "1=2")),
        ("(maria): hi", "unknown", "maria"),
        ("[Maria Lopez] hi", "unknown", "Maria Lopez"),
        ("[00:12] Maria: hi", "unknown", "Maria"),
        ("[]: hi", "unknown", "[]"),
        # without the brackets that the others have
        *((f"{name}: hi", "unknown", name) for name in ("Maria", "Maria Lopez", "Dr. O’Neil", "李明", "राहुल")),
        ("Speaker 2: hi", "other", "Speaker 2"),
        ("&lt;Maria&gt;: hi", "unknown", "Maria"),
    ],
)
def test_what_looks_like_a_label_and_is_not_understood_is_nobodys_speech(line: str, speaker: str, label: str) -> None:
    turns = split_turns(f"[Agent]: a\n{line}\n[Caller]: b")
    expected = [("agent", "Agent", "a"), (speaker, label, "hi"), ("caller", "Caller", "b")]
    assert [(turn.speaker, turn.speaker_label, turn.text) for turn in turns] == expected


@pytest.mark.parametrize(
    "line",
    [
        # brackets and colons in speech
        *("[5:00] is fine", "[5:00]: is fine", "note: this", "Note: this", "see [note]: later", "at 5:00: call me"),
        *("Monday: closed", "My Address: here", "At [5:00]: yes", "10 [5:00] yes"),
        *("https://example.com/a?b=c", "it was: good", "the total is 5: no more", "(not really) yes", "[sic] yes"),
        # what speech recognition writes beside speech
        *(f"[{event}] hello" for event in ("inaudible", "crosstalk", "laughs", "Laughter", "inaudible 00:12", "music")),
        *(
            f"[{event}]: hello"
            for event in ("inaudible", "crosstalk", "background noise", "INAUDIBLE", "risas", "听不清")
        ),
        # a label in the middle of a line
        *("so [Caller]: hi", "he said, [Caller]: no", "and Caller: hi"),
    ],
)
def test_a_line_that_begins_with_no_label_is_speech(line: str) -> None:
    assert not is_labelled(line)
    assert speech(line) == [("unknown", line.strip())]
    assert speech(f"[Agent]: a\n{line}\n[Caller]: b") == [("Agent", f"a\n{line}".strip()), ("Caller", "b")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # names and colons without brackets
        (
            "Agent: Hi\nCaller: Yes\nnote: no\nAgent: Bye",
            [("agent", "Hi"), ("caller", "Yes\nnote: no"), ("agent", "Bye")],
        ),
        ("user: hi\nassistant: yes", [("caller", "hi"), ("agent", "yes")]),
        ("Agent: Hi\nSupervisor: Stop\nCaller: Yes", [("agent", "Hi"), ("unknown", "Stop"), ("caller", "Yes")]),
        ("Speaker 1: hi\nSpeaker 2: yes", [("other", "hi"), ("other", "yes")]),
        ("Agent 0:01\nHi there\n\nCaller 0:05\nYes", [("agent", "Hi there"), ("caller", "Yes")]),
        ("[agent] hi\n[caller] yes\n[supervisor] no", [("agent", "hi"), ("caller", "yes"), ("unknown", "no")]),
        # not unmistakable: one turn
        *((text, [("unknown", text)]) for text in ("Agent: Hi", "Tom: hi\nAnn: yes", "Well,\nAgent: Hi\nCaller: Yes")),
        # subtitles
        (
            "WEBVTT\n\n1\n00:00:01.000 --> 00:00:04.000\n<v Agent>Hello &amp; <i>hi</i></v>\n\n"
            "2\n00:05.500 --> 00:06.000 align:start\n<v.loud Caller>Yes\n\n00:07.000 --> 00:08.000\n(noise)\n",
            [("agent", "Hello & hi"), ("caller", "Yes"), ("unknown", "(noise)")],
        ),
        (
            "1\r\n00:00:01,000 --> 00:00:04,000\r\nAgent: Hello\r\n\r\n"
            "2\r\n00:00:05,000 --> 00:00:06,000\r\n[Caller]: Yes\r\n",
            [("agent", "Hello"), ("caller", "Yes")],
        ),
        ("WEBVTT\n\n00:01.000 --> 00:04.000\nHello", [("unknown", "WEBVTT\n\n00:01.000 --> 00:04.000\nHello")]),
        # JSON turns
        (
            '[{"speaker": "agent", "text": "Hi [Caller]: x", "start": 0.5}, {"role": "user", "content": " Yes\\n"}]',
            [("agent", "Hi [Caller]: x"), ("caller", "Yes")],
        ),
        ('{"turns": [{"speaker": 0, "text": "a"}, {"text": "b"}], "n": 1}', [("other", "a"), ("unknown", "b")]),
        *(
            (text, [("unknown", text)])
            for text in ('[{"a": 1}]', '{"text": "abc"}', "[1, 2]", '[{"text": "a"}', "[{}]")
        ),
    ],
)
def test_other_formats_are_read_where_they_are_unmistakable(text: str, expected: list[tuple[str, str]]) -> None:
    turns = split_turns(text)
    assert [(turn.speaker, turn.text) for turn in turns] == expected
    assert "".join(text[turn.char_start : turn.char_end] for turn in turns) == text


def test_the_times_of_subtitles_and_json_turns_are_kept() -> None:
    subtitles = "WEBVTT\n\n00:00:01.250 --> 00:00:04.000\n<v Agent>Hello\n\n01:00:05.5 --> 01:00:06.000\n<v Caller>Yes"
    turns = (
        '[{"role": "agent", "text": "a", "start_ms": 1500}, {"role": "user", "text": "b", "time": "1:02"}, '
        '{"text": "c", "timestamp": 1736503205}]'
    )
    assert [turn.start_seconds for turn in split_turns(subtitles)] == [1.25, 3605.5]
    assert [turn.start_seconds for turn in split_turns(turns)] == [1.5, 62.0, None]


def test_labels_of_a_setting_name_a_role_and_weigh_more_than_the_usual_names() -> None:
    roles = USUAL_ROLES.with_labels(["Maria", "Customer"], ["Frau Müller"])
    text = "[MARIA]: a\n[Customer]: b\n[Frau  Müller]: c\n[Caller]: d\n[Agent (Maria)]: e"
    assert [turn.speaker for turn in split_turns(text, roles)] == ["agent", "agent", "caller", "caller", "agent"]
    assert [turn.speaker for turn in split_turns(text)] == ["other", "caller", "other", "caller", "agent"]


@pytest.mark.parametrize(
    "text",
    [
        *(
            "[Agent]: a" + filler * 50_000 + end
            for filler in (" ", "(", "[00:00] ", "*", "<br>", r"\n")
            for end in ("", "[Caller]: b")
        ),
        *(
            filler * 20_000
            for filler in ("[A\n", "[Agent] ", "1. ", "[{", '{"a":', "Aa 1:", "<b>", "00:01.000 --> 00:02.000\n")
        ),
    ],
    ids=lambda text: ascii(text[:24]),
)
def test_a_hostile_text_is_split_in_linear_time(text: str) -> None:
    began = time.perf_counter()
    turns = split_turns(text)
    assert time.perf_counter() - began < 5
    assert "".join(text[turn.char_start : turn.char_end] for turn in turns) == text


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
        *(
            (label, "agent")
            for label in ("Agent", "agent", "AGENT", "Agent 1", "Agent #2", "agent_2", "Bot", "Voice Agent")
        ),
        *(
            (label, "agent")
            for label in ("Customer Service", "Servicio al Cliente", "Opérateur", "客服", "AI-Agent", "Rep.")
        ),
        *(
            (label, "caller")
            for label in ("Caller", "Customer", "User", "Cliente", "Caller, Maria", "Patient 3", "MÜŞTERİ", "Musteri")
        ),
        *(
            (label, "other")
            for label in ("Supervisor", "System", "Speaker 2", "Agents", "unknown", "Caller's wife", "Ọ̀gá")
        ),
        *((label, "other") for label in ("Agent Caller", "Agent/Caller", "Client Lawyer", "Patient Mother", "")),
    ],
)
def test_the_usual_names_of_the_roles_are_recognized_and_every_other_label_is_other(label: str, speaker: str) -> None:
    assert USUAL_ROLES.speaker_of(label) == speaker


# The list's text.


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("[Agent]: Hello.", True),
        ("[Agent]:", True),
        ("Hello.\n[Agent]: Hi.", True),
        # shortened, with or without white space behind
        *((f"[Agent]: Hello{end}", False) for end in ("...", "…", "....", "...\n", "… \r\n", "…\u200b", ". . .")),
        *(
            (f"[Agent]: Hello{end}", False)
            for end in (
                "... [truncated]",
                " [...]",
                "[…]",
                " (truncated)",
                "… (cut off)",
                " [+123 chars]",
                "… read more",
            )
        ),
        *((f"[Agent]: Hello{end}", True) for end in (" [inaudible]", " (more or less)", ". Call me more", " [1]")),
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


def test_a_length_that_different_texts_share_and_none_exceeds_is_a_cut() -> None:
    texts = [f"[Agent]: {number} {'x' * number}" for number in range(150)]
    cut = [f"[Agent]: {number}".ljust(437, "y") for number in range(3)]
    assert find_cut_lengths([*texts, *cut]).is_suspicious(cut[0])
    assert not find_cut_lengths([*texts, cut[0]]).is_suspicious(cut[0])
    assert not find_cut_lengths([*texts, cut[0], cut[0]]).is_suspicious(cut[0])  # one announcement, heard twice
    assert not find_cut_lengths([*cut, cut[0] + "longer" * 9]).is_suspicious(cut[1])
    assert not find_cut_lengths(["[Agent]: a", "[Agent]: b"]).is_suspicious("[Agent]: a")
    between_words = [f"[Agent]: {number}".ljust(480 + 5 * number, "z") for number in range(4)]
    assert all(find_cut_lengths([*texts[:110], *between_words]).is_suspicious(text) for text in between_words)
    assert not find_cut_lengths([*texts[:110], *between_words]).is_suspicious(texts[-1].ljust(333, "z"))
    in_bytes = ["é" * 150 + "x" * 137, "x" * 437, "é" * 200 + "y" * 37]
    assert all(find_cut_lengths(in_bytes).is_suspicious(text) for text in in_bytes)


@pytest.mark.parametrize("length", [500, 499, 255, 1024, 8000])
def test_a_single_longest_text_of_a_length_that_limits_usually_have_is_suspicious(length: int) -> None:
    assert find_cut_lengths(["x" * 101, "x" * length]).is_suspicious("x" * length)
    assert not find_cut_lengths(["x" * 101, "x" * (length + 5)]).is_suspicious("x" * (length + 5))
    assert not find_cut_lengths(["x" * length, "y" * (length + 50)]).is_suspicious("x" * length)


@pytest.mark.parametrize(
    ("text", "word_count", "lacks"),
    [
        ("one two three", None, False),
        ("[Agent]: " + "word " * 100, 200, True),
        ("[Agent]: " + "word " * 100, 104, False),  # upstream counts in its own way
        ("[Agent]: " + "word " * 100, 20, False),
        ("[Agent]: 你好吗 我很好 谢谢 再见", 100, False),  # no spaces between words: nobody knows
        ("", 50, True),
    ],
)
def test_a_text_with_clearly_fewer_words_than_upstream_counts_lacks_some(
    text: str, word_count: int | None, lacks: bool
) -> None:
    assert lacks_words(text, word_count) is lacks


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


@pytest.mark.parametrize("mark", ["", "...", " [...]", "... [truncated]", "… (more)", "…&nbsp;", "...` "])
def test_a_text_that_goes_on_where_the_kept_one_was_cut_is_longer(mark: str) -> None:
    assert is_longer("[Agent]: Hello, who is there?", f"[Agent]: Hello{mark}")
    assert not is_longer("[Agent]: Goodbye, who is there?", f"[Agent]: Hello{mark}")
