"""A rules file is read as written, or refused by line, rule and key. A flag says why, and shows no speech or number."""

import re
import unicodedata
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from kros_pipeline.core.flags import BadRules, Flag, Rules, parse_rules
from kros_pipeline.core.rule import Rule
from kros_pipeline.core.text_folding import fold_text, map_back
from kros_pipeline.core.transcripts import split_turns
from kros_pipeline.source.call_parsing import parse_listed_call

EXAMPLE = r"""
rules:
  - id: legal-threat
    description: the caller names a lawyer
    speaker: caller
    text_matches: '(?i)\b(lawyer|solicitor|sue)\b'
    duration_seconds_at_least: 60
    confidence_below: 0.9
    numbers: ["+2348012345678"]
    call_ids: ["call_abc123"]
    extend_days: 365
"""


def rules_of(*rules: dict[str, Any], confidence_is_known: bool = True) -> Rules:
    text = yaml.safe_dump({"rules": [{"id": "r", "extend_days": 30} | rule for rule in rules]}, allow_unicode=True)
    return parse_rules(text, confidence_is_known=confidence_is_known)


def find_flags(
    rule: dict[str, Any],
    text: str = "",
    confidence: float | None = None,
    language: str | None = None,
    status: str | None = "kept",
    **row: Any,
) -> list[Flag]:
    listed = {"id": "call_abc123", "created_at": "2025-01-10T10:00:00Z", **row}
    call = parse_listed_call(listed, organization_id=None, now=datetime.now(UTC)).call
    transcript = SimpleNamespace(status=status, confidence=confidence, language=language) if status else None
    return rules_of(rule).find_flags(call, transcript, split_turns(text))


def refusal(text: str, *, confidence_is_known: bool = True) -> str:
    with pytest.raises(BadRules) as refused:
        parse_rules(text, confidence_is_known=confidence_is_known)
    return str(refused.value)


# Reading a file.


def test_a_rule_is_read_with_every_key() -> None:
    (rule,) = parse_rules(EXAMPLE, confidence_is_known=True).rules
    assert rule.model_dump(exclude_none=True) == yaml.safe_load(EXAMPLE)["rules"][0]


def test_a_rule_needs_only_an_id_and_the_days() -> None:
    (rule,) = rules_of({}).rules
    assert {name: value for name, value in rule.model_dump().items() if value is not None} == {
        "id": "r",
        "extend_days": 30,
    }


def test_a_file_may_have_no_rules() -> None:
    assert parse_rules("rules: []", confidence_is_known=False).rules == ()


def test_equal_texts_have_equal_versions_and_different_texts_different_ones() -> None:
    versions = {parse_rules(text, confidence_is_known=True).version for text in (EXAMPLE, EXAMPLE, EXAMPLE + "# x")}
    assert len(versions) == 2
    assert all(len(version) == 12 for version in versions)
    assert Rules().version == "none"


def test_rules_keep_their_order_and_integers_are_numbers() -> None:
    rules = rules_of({"id": "z", "duration_seconds_at_least": 60}, {"id": "a", "confidence_below": 1}).rules
    assert [rule.id for rule in rules] == ["z", "a"]


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        # what every rule needs
        ("{extend_days: 30}", "rule 1, id: is missing"),
        ("{id: r}", "rule 1 ('r'), extend_days: is missing"),
        ("5", "rule 1: "),
        # ids are plain
        *((f"{{id: {id_}, extend_days: 1}}", "rule 1 (") for id_ in ("''", "a b", "é", "'a\n'", '"a\\n"', "x" * 65)),
        *((f"{{id: {id_}, extend_days: 1}}", "rule 1, id: ") for id_ in ("7", "null", "[a]", "2025-01-10", "yes")),
        # days are whole and some
        *(
            (f"{{id: r, extend_days: {days}}}", "rule 1 ('r'), extend_days: ")
            for days in ("0", "-1", "36501", "30.0", "'30'", "yes", "null", ".inf", "1" + "0" * 400)
        ),
        # unknown keys, in either case
        *(
            (f"{{id: r, extend_days: 1, {key}: 1}}", f"rule 1 ('r'), {key}: ")
            for key in ("extends_days", "Speaker", "7", "speakers")
        ),
        # conditions
        *(
            (f"{{id: r, extend_days: 1, {key}: {value}}}", f"rule 1 ('r'), {key}")
            for key, values in {
                "speaker": ("unknown", "Agent", "anyone", "[agent]", "1"),
                "duration_seconds_at_least": ("-1", ".inf", "'60'", "yes", ".nan", "[60]", "2025-01-10"),
                "confidence_below": ("0", "-0.1", "1.1", "'0.9'", ".nan", "yes"),
                "direction": ("inwards", "in", "[inbound]", "both", "yes"),
                "numbers": ("[]", "'+2348012345678'", "[2348012345678]", "['+1', 7]", "[[x]]", "{a: b}", "[' ']"),
                "number_prefixes": ("[]", "'+234'", "[+234]", "['']", "[' ']"),
                "endpoint_ids": ("[]", "ep", "['']", "[7]"),
                "languages": ("[]", "en", "[no]", "[english language]", "['']", "[xx]", "[e]"),
                "no_transcript": ("false", "no", "1", "'true'", "[true]"),
                "call_ids": ("[]", "call_abc123", "[1]", "[null]", "['']"),
                "description": ("7", "[x]"),
                "text_matches": ("7", "['a']", "[a]", "''"),
                "text_matches_any": ("a", "[]", "['']", "[a, '(']", "[7]"),
                "text_matches_all": ("a", "[]", "['']", "[a, '(']", "[7]"),
                "text_matches_none": ("a", "[]", "['']", "[a, '(']", "[7]"),
            }.items()
            for value in values
        ),
        # a key without a value is a mistake, not a condition that always holds
        *(
            (f"{{id: r, extend_days: 1, {key}: {nothing}}}", f"rule 1 ('r'), {key}: the value is missing; write one")
            for key in Rule.model_fields
            if key not in ("id", "extend_days")
            for nothing in ("null", "", "~")
        ),
        # patterns that nobody can search for in linear time, or at all
        *(
            (f"{{id: r, extend_days: 1, text_matches: '{pattern}'}}", "rule 1 ('r'), text_matches: ")
            for pattern in (
                r"(?=a)",
                r"(?<!a)b",
                r"(a)\1",
                "(",
                "a**b(",
                "[z-a]",
                r"\p{Nope}",
                r"\C",
                "(?m)^a",
                r"\p{Lu}",
                "a^b",
                "((a{1000}){1000}){1000}",
                r"\y",
            )
        ),
    ],
)
def test_a_mistake_names_its_rule_and_its_key(rule: str, sentence: str) -> None:
    assert refusal(f"rules:\n- {rule}").startswith(f"line 2, {sentence}")


def test_every_mistake_is_reported_in_the_files_order_with_its_own_line() -> None:
    said = refusal("""# a comment
rules:
  - id: a
    extend_days: 0

    spekaer: agent
  - {id: b, extend_days: 1}
  - extend_days: 7
    numbers:
      - "+1"
      - +2348012345678
  - id: c
    text_matches_any: ['fine', '(']
""")
    assert [sentence.split(": ")[0] for sentence in said.split("; line ")] == [
        "line 4, rule 1 ('a'), extend_days",
        "6, rule 1 ('a'), spekaer",
        "8, rule 3, id",
        "11, rule 3, numbers, 2",
        "12, rule 4 ('c'), extend_days",
        "13, rule 4 ('c'), text_matches_any, 2",
    ]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("spekaer: agent", "spekaer: unknown key; did you mean speaker?"),
        ("Text_Matches: x", "Text_Matches: unknown key; did you mean text_matches?"),
        ("colour: red", "colour: unknown key; the keys are id, description, speaker, text_matches, "),
        ("numbers: [+2348012345678]", "numbers, 1: must be a text; YAML reads it as a number: write it in quotes"),
        ("numbers: [' ']", "numbers, 1: must be a phone number, with + and its country code"),
        ("numbers: ['+']", "numbers, 1: must be a phone number, with + and its country code"),
        ("number_prefixes: ['-']", "number_prefixes, 1: must be a phone number, with + and its country code"),
        ("endpoint_ids: ['ep 1']", "endpoint_ids, 1: must be written as KrosAI shows it, without spaces"),
        ("languages: [xx]", "languages, 1: must be a language of ISO 639, like en, eng or pt-BR"),
        ("across_turns: true", "across_turns: has no meaning without a condition about text, like text_matches"),
        # what YAML, or a keyboard, has made of a pattern
        *(
            (f"text_matches: {written}", f"text_matches: {sentence}")
            for written, sentence in (
                (
                    r'"(?i)\brefund\b"',
                    r"has a backspace where \b was meant: YAML replaces \b in double quotes. "
                    r"Write the pattern in single quotes: '(?i)\brefund\b'",
                ),
                (r'"it\twas"', "has a tab where \\t was meant: YAML replaces \\t in double quotes. "),
                (r'"a\fb"', "has the control character U+000C where \\f was meant"),
                (r'"\x01"', "has the control character U+0001, which nobody says: remove it"),
                (">\n      refund now\n", "has a line end, which > and | in YAML add"),
                (
                    "|\n      refund\n      now\n",
                    "has a line end, which > and | in YAML add, and \\n in double quotes. Write the pattern",
                ),
                (r'"refund\nnow"', "has a line end, which > and | in YAML add"),
                (r'"refund\L"', r"has the line end U+2028: YAML makes it of \L in double quotes"),
                (
                    r'"\P{L}x"',
                    r"has the line end U+2029: YAML makes it of \P in double quotes. "
                    r"Write the pattern in one line, in single quotes: '\P{L}x'",
                ),
                (r"'^\s+refund'", "can never match: a turn has no blank at its begin or end"),
                ("'refund $'", "can never match: a turn has no blank at its begin or end"),
                ("'refund '", "has a blank at its begin or end: write it without: 'refund'"),
                ("' refund'", "has a blank at its begin or end: write it without: 'refund'"),
                ("'refund\u00a0'", "has a blank at its begin or end: write it without: 'refund'"),
                ("'\u200b\u00ad'", "has only characters that show nothing; every text would match it"),
            )
        ),
        ("description: 2025-01-10", "description: must be a text; it reads as a date: use quotes"),
        ("description: [a]", "description: must be a text; it is a list or a mapping"),
        (
            "languages: [no]",
            "languages, 1: must be a text; YAML reads yes, no, on, off, true and false as truth values",
        ),
        ("speaker: anyone", "speaker: must be agent, caller or other"),
        ("no_transcript: false", "no_transcript: must be true, or left out"),
        ("duration_seconds_at_least: '60'", "duration_seconds_at_least: must be a number, without quotes"),
        ("duration_seconds_at_least: -1", "duration_seconds_at_least: must be at least 0"),
        ("call_ids: call_1", "call_ids: must be a list, like [one, another]"),
        ("call_ids: []", "call_ids: must be a list that is not empty; no call can satisfy an empty one"),
        ("text_matches: ''", "text_matches: the pattern is empty; every text would match it"),
        ("id: again", "the key 'id' occurs twice, first in line 2"),
        ("'id': again", "the key 'id' occurs twice, first in line 2"),
        ('text_matches: "\\uD800"', "a text contains half a character (a lone surrogate)"),
    ],
)
def test_a_mistake_is_explained_without_programming_terms(line: str, sentence: str) -> None:
    said = refusal(f"rules:\n  - id: r\n    extend_days: 1\n    {line}\n")
    where, _, words = said.partition(": ")
    assert where.startswith("line 4")
    assert sentence in f"{where.removeprefix('line 4, rule 1 (').partition('), ')[2]}: {words}"
    assert "2348012345678" not in said  # it may be somebody's number


def test_a_file_with_hundreds_of_mistakes_is_refused_with_twenty_sentences() -> None:
    said = refusal("rules:\n" + "  - {id: r, extend_days: 0}\n" * 500)
    assert said.startswith("line 2, rule 1 ('r')") and said.endswith("and 480 more")


def test_a_file_with_more_than_1000_patterns_is_refused() -> None:
    many = ", ".join(f"'{number}'" for number in range(1_001))
    assert refusal(f"rules: [{{id: r, extend_days: 1, text_matches_any: [{many}]}}]") == (
        "there are more than 1,000 patterns in the file"
    )


def test_a_second_rule_with_the_same_id_is_refused() -> None:
    assert refusal("rules: [{id: a, extend_days: 1}, {id: b, extend_days: 1},\n {id: a, extend_days: 2}]") == (
        "line 2, rule 3 ('a'), id: rule 1 has this id already"
    )


@pytest.mark.parametrize("key", ["confidence_below: 0.9", "languages: [en]"])
def test_a_rule_about_confidence_or_language_is_refused_unless_the_settings_ask_for_them(key: str) -> None:
    text = f"rules:\n  - {{id: quiet, extend_days: 1, {key}}}"
    assert len(parse_rules(text, confidence_is_known=True).rules) == 1
    assert refusal(text, confidence_is_known=False).startswith(
        f"line 2, rule 1 ('quiet'), {key.split(':')[0]}: needs KROS_TRANSCRIPT_DETAILS=always"
    )


@pytest.mark.parametrize(
    ("conditions", "key"),
    [
        *(
            (f"no_transcript: true, {other}", "no_transcript")
            for other in (
                "speaker: agent",
                "text_matches: a",
                "text_matches_any: [a]",
                "text_matches_all: [a]",
                "text_matches_none: [a]",
                "confidence_below: 0.5",
                "languages: [en]",
            )
        ),
        ("text_matches: a, text_matches_none: [a, b]", "text_matches"),
        ("text_matches_all: [a, c], text_matches_none: [a, b]", "text_matches_all"),
        ("text_matches_any: [a, b], text_matches_none: [a, b]", "text_matches_any"),
        *((f"text_matches_none: [a, '{every}']", "text_matches_none") for every in (".*", "x?", "^", "(?i)|a")),
    ],
)
def test_a_rule_that_no_call_can_satisfy_is_refused(conditions: str, key: str) -> None:
    assert refusal(f"rules: [{{id: r, extend_days: 1, {conditions}}}]").startswith(f"line 1, rule 1 ('r'), {key}: ")


@pytest.mark.parametrize(
    "conditions",
    ["text_matches_any: [a, c], text_matches_none: [a]", "text_matches: '.*'", "text_matches_none: ['.', '^$']"],
)
def test_a_rule_that_some_call_can_satisfy_is_accepted(conditions: str) -> None:
    assert parse_rules(f"rules: [{{id: r, extend_days: 1, {conditions}}}]", confidence_is_known=False).rules


@pytest.mark.parametrize(
    "text",
    [
        # no mapping, no rules
        *(
            "",
            "# nothing",
            "null",
            "rules",
            "[]",
            "- id: r",
            "rules: 5",
            "rules: null",
            "rules: {id: r}",
            "rule: []",
            "1: 2",
        ),
        # no YAML
        *(
            "rules: [",
            "rules:\n\t- x",
            "a: b: c",
            "'",
            "--- 1\n--- 2",
            "\x00",
            "\ud800",
            "rules: []\nrules",
            "%YAML 9.9\n---\nrules: []x",
        ),
        # tags that would build something else
        *(
            "!!python/object/apply:os.system ['true']",
            "rules: !!python/name:os.system",
            "!unknown x",
            "!!set {a}",
            "!!binary é",
        ),
        *(
            "rules: !!int ''",
            "rules: !!float ''",
            "rules: !!bool maybe",
            "rules: !!timestamp x",
            "rules: 2025-13-45",
            "? [a]\n: b",
        ),
        # texts that would fill the memory or take hours
        "a: &a [x, x]\nb: &b [*a, *a]\nrules: [*b, *b]",
        "rules: &r\n- *r",
        "rules: [{id: a, extend_days: &days 30}, {id: b, extend_days: *days}]",
        "a: &a {id: r}\nrules: [{<<: *a, extend_days: 1}]",
        *(opening * 300_000 for opening in ("[", "{", "- ", "? ", "[{a: ")),
        "rules: [" + "9" * 100_000 + "]",
        "rules: [1" + ":1" * 300_000 + "]",
        "#" * 1_000_001,
    ],
    ids=lambda text: ascii(text[:30]),
)
def test_any_other_text_is_refused_in_one_short_line(text: str) -> None:
    said = refusal(text)
    assert said and len(said) < 300 and "\n" not in said


@given(
    st.text()
    | st.lists(st.sampled_from([*"[]{}:-?!&*'\"\n |>%@`#,", "rules:", "- id: r", "!!int", "1", "\t"])).map("".join)
)
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        assert parse_rules(text, confidence_is_known=True).rules is not None
    except BadRules as refused:
        assert str(refused)


def test_an_escape_that_yaml_does_not_know_is_refused_with_its_line_and_the_correction() -> None:
    said = refusal('rules:\n- id: r\n  extend_days: 1\n  text_matches: "\\srefund"')
    assert said.startswith("line 4: not YAML: found unknown escape character 's'; write patterns in single quotes")


# When a rule holds.

TALK = "Welcome.\n[Agent]: I will not sue you.\n[Caller]: My lawyer will.\n[System]: lawyer\n[Caller]:"


@pytest.mark.parametrize(
    ("rule", "turn_index"),
    [
        # the first turn that satisfies it, whoever speaks
        ({"text_matches": "lawyer"}, 2),
        ({"text_matches": "(?i)LAWYER"}, 2),
        ({"text_matches": "^lawyer$"}, 3),
        ({"text_matches": r"\bsue\b"}, 1),
        ({"text_matches": "Welcome"}, 0),
        ({"text_matches": ".*"}, 0),
        # speaker and text hold of one and the same turn
        ({"speaker": "other", "text_matches": "lawyer"}, 3),
        ({"speaker": "caller", "text_matches": "lawyer"}, 2),
        ({"speaker": "agent", "text_matches": "not"}, 1),
        ({"speaker": "agent", "text_matches": "lawyer"}, None),
        ({"speaker": "caller", "text_matches": "^$"}, 4),
        # labels are no speech, nor is what stands in another turn
        ({"text_matches": "Caller"}, None),
        ({"text_matches": "(?s)sue.*lawyer"}, None),
        # a turn of unknown speaker satisfies any
        *(({"speaker": speaker, "text_matches": "Welcome"}, 0) for speaker in ("agent", "caller", "other")),
        *(({"speaker": speaker}, 0) for speaker in ("agent", "caller", "other")),
        # one of several patterns
        ({"text_matches_any": ["lawyer", "sue"]}, 1),
        ({"text_matches_any": ["judge", "lawyer"]}, 2),
        ({"text_matches_any": ["judge", "jury"]}, None),
        ({"speaker": "other", "text_matches_any": ["sue", "lawyer"]}, 3),
        # each of several patterns, in any turns of the speaker
        ({"text_matches_all": ["lawyer", "sue"]}, 1),
        ({"text_matches_all": ["lawyer", "My"]}, 2),
        ({"text_matches_all": ["lawyer", "judge"]}, None),
        ({"speaker": "caller", "text_matches_all": ["lawyer", "sue"]}, None),
        ({"speaker": "caller", "text_matches_all": ["lawyer", "Welcome"]}, 0),
        # with others
        ({"text_matches": "lawyer", "text_matches_any": ["sue", "judge"]}, 1),
        ({"text_matches": "judge", "text_matches_any": ["sue"]}, None),
        ({"text_matches": "lawyer", "text_matches_none": ["judge"]}, 2),
        ({"text_matches": "lawyer", "text_matches_none": ["judge", "sue"]}, None),
        ({"speaker": "caller", "text_matches": "lawyer", "text_matches_none": ["sue"]}, 2),
        ({"speaker": "caller", "text_matches": "lawyer", "text_matches_none": ["Welcome"]}, None),
    ],
)
def test_a_rule_about_a_turn_flags_the_first_that_satisfies_it(rule: dict[str, Any], turn_index: int | None) -> None:
    assert [flag.turn_index for flag in find_flags(rule, TALK)] == ([] if turn_index is None else [turn_index])


@pytest.mark.parametrize(
    ("rule", "row", "confidence", "holds"),
    [
        ({}, {}, None, True),
        # at least: the border counts; unknown is not enough
        *(
            ({"duration_seconds_at_least": 60}, {"duration": seconds}, None, seconds >= 60)
            for seconds in (59.9, 60, 61)
        ),
        ({"duration_seconds_at_least": 0}, {}, None, False),
        # below: the border does not count; unknown is not below
        *(({"confidence_below": 0.9}, {}, confidence, confidence < 0.9) for confidence in (0.0, 0.89, 0.9, 1.0)),
        ({"confidence_below": 0.9}, {}, None, False),
        # either side, written alike
        ({"numbers": ["+1", "+2"]}, {"from_number": "+2"}, None, True),
        ({"numbers": ["+1", "+2"]}, {"to_number": "+1"}, None, True),
        ({"numbers": ["+1"]}, {"from_number": "1", "to_number": "+11"}, None, False),
        ({"numbers": ["+1"]}, {}, None, False),
        # how they begin, on either side
        ({"number_prefixes": ["+1", "+2"]}, {"from_number": "+234"}, None, True),
        ({"number_prefixes": ["+1", "+2"]}, {"to_number": "+1"}, None, True),
        ({"number_prefixes": ["+234"]}, {"from_number": "234", "to_number": "+23"}, None, False),
        ({"number_prefixes": ["+234"]}, {}, None, False),
        # where, and in which direction
        ({"direction": "inbound"}, {"direction": "inbound"}, None, True),
        ({"direction": "inbound"}, {"direction": "outbound"}, None, False),
        ({"direction": "outbound"}, {"direction": "outbound"}, None, True),
        ({"direction": "outbound"}, {}, None, False),
        ({"endpoint_ids": ["ep_1", "ep_2"]}, {"endpoint_id": "ep_2"}, None, True),
        ({"endpoint_ids": ["ep_1"]}, {"endpoint_id": "ep_11"}, None, False),
        ({"endpoint_ids": ["ep_1"]}, {}, None, False),
        # languages, whatever their case
        *(
            ({"languages": ["de", "pt"]}, {"language": language}, None, holds)
            for language, holds in {
                "pt": True,
                "PT": True,
                "pt-BR": True,
                "pt_BR": True,
                "de": True,
                "ptx": False,
                "en": False,
                None: False,
            }.items()
        ),
        ({"languages": ["PT-br"]}, {"language": "pt-BR"}, None, True),
        ({"languages": ["pt-BR"]}, {"language": "pt"}, None, False),
        ({"languages": ["pt"]}, {"status": None}, None, False),
        # none: neither one that may still come, nor one that nobody has asked for
        *(
            ({"no_transcript": True}, {"status": status}, None, status == "none")
            for status in ("none", "pending", "kept")
        ),
        ({"no_transcript": True}, {"status": None}, None, False),
        # ids are whole
        ({"call_ids": ["x", "call_abc123"]}, {}, None, True),
        ({"call_ids": ["call_abc", "CALL_ABC123"]}, {}, None, False),
    ],
)
def test_a_rule_about_the_call_holds_or_not(
    rule: dict[str, Any], row: dict[str, Any], confidence: float | None, holds: bool
) -> None:
    flags = find_flags(rule, confidence=confidence, **row)
    assert [(flag.turn_index, flag.extend_days) for flag in flags] == ([(None, 30)] if holds else [])


CONDITIONS: dict[str, Any] = {
    "speaker": "caller",
    "text_matches": "lawyer",
    "text_matches_any": ["my", "your"],
    "text_matches_all": ["my", "law"],
    "text_matches_none": ["doctor"],
    "across_turns": True,
    "duration_seconds_at_least": 60,
    "confidence_below": 0.9,
    "languages": ["en"],
    "direction": "inbound",
    "numbers": ["+1"],
    "number_prefixes": ["+1"],
    "endpoint_ids": ["ep_1"],
    "call_ids": ["call_abc123"],
}
NOT_SO: dict[str, Any] = {
    "speaker": {"text": "[Agent]: my lawyer"},
    "text_matches": {"text": "[Caller]: my law yer"},
    "text_matches_any": {"text": "[Caller]: lawyer"},
    "text_matches_all": {"text": "[Caller]: your lawyer"},
    "text_matches_none": {"text": "[Caller]: my lawyer\n[Caller]: my doctor"},
    "across_turns": {"text": "[Caller]: my law yer"},
    "duration_seconds_at_least": {"duration": 59},
    "confidence_below": {"confidence": 0.95},
    "languages": {"language": "de"},
    "direction": {"direction": "outbound"},
    "numbers": {"to_number": "+12"},
    "number_prefixes": {"to_number": "+2"},
    "endpoint_ids": {"endpoint_id": "ep_2"},
    "call_ids": {"id": "call_other"},
}
A_CALL: dict[str, Any] = {
    "text": "[Caller]: my lawyer",
    "confidence": 0.5,
    "language": "en",
    "duration": 60,
    "direction": "inbound",
    "to_number": "+1",
    "endpoint_id": "ep_1",
}


@pytest.mark.parametrize("missing", [None, *CONDITIONS])
def test_all_conditions_of_a_rule_must_hold(missing: str | None) -> None:
    assert bool(find_flags(CONDITIONS, **A_CALL | NOT_SO.get(missing or "", {}))) == (missing is None)


def test_every_condition_is_tested_above() -> None:
    assert {*CONDITIONS, "no_transcript", "id", "description", "extend_days"} == set(Rule.model_fields)


@pytest.mark.parametrize(
    ("rule", "text", "holds"),
    [
        # what was said by somebody else does not count, what was said by anyone does
        ({"speaker": "agent", "text_matches_none": ["paused"]}, "[Agent]: Hello.\n[Caller]: It is paused.", True),
        ({"speaker": "agent", "text_matches_none": ["paused"]}, "[Agent]: It is paused.", False),
        ({"speaker": "agent", "text_matches_none": ["paused"]}, "It is paused.\n[Agent]: Hello.", False),
        ({"speaker": "agent", "text_matches_none": ["paused"]}, "[Caller]: Nobody there?", True),
        ({"text_matches_none": ["paused", "stopped"]}, "[Agent]: It has stopped.", False),
        ({"text_matches_none": ["paused", "stopped"]}, "[Agent]: Hello.", True),
        # a call without turns satisfies no condition about text
        ({"text_matches_none": ["paused"]}, "", False),
        ({"speaker": "agent", "text_matches_none": ["paused"]}, "", False),
    ],
)
def test_text_matches_none_holds_only_where_there_are_turns_and_no_turn_matches(
    rule: dict[str, Any], text: str, holds: bool
) -> None:
    assert [flag.turn_index for flag in find_flags(rule, text)] == ([None] if holds else [])


@pytest.mark.parametrize(
    ("pattern", "said", "matches"),
    [
        # case: ignored in every script, unless the pattern says otherwise
        ("lawyer", "Lawyer", True),
        ("Better Business", "better business", True),
        ("(?-i)lawyer", "Lawyer", False),
        ("(?-i)[A-Z]{2}", "it", False),
        ("(?i)lawyer", "LAWYER", True),
        ("адвокат", "АДВОКАТ", True),
        ("straße", "STRASSE", True),
        ("STRASSE", "Straße", True),
        ("iptal", "İPTAL", True),
        # accents: as they are written, in whichever form
        ("café", "cafe", False),
        ("cafe", "café", False),
        ("(?i)CAFÉ", "café", True),
        ("caf.$", "café", True),
        ("^[é]$", "é", True),
        ("Ọ̀rẹ́", "Ọ̀rẹ́", True),
        # \\b, \\w and \\d know every script
        (r"caf\bé", "café", False),
        (r"\bсуд\b", "в суд подам", True),
        (r"\bcongé\b", "mon congé.", True),
        (r"\bsu\b", "suédois", False),
        (r"^\w+$", "congé", True),
        (r"\d{3}", "٣٤٥", True),
    ],
)
@pytest.mark.parametrize("form_of_the_pattern", ["NFC", "NFD"])
@pytest.mark.parametrize("form_of_the_text", ["NFC", "NFD"])
def test_case_and_accents_are_compared_as_documented(
    pattern: str, said: str, matches: bool, form_of_the_pattern: Any, form_of_the_text: Any
) -> None:
    rule = {"text_matches": unicodedata.normalize(form_of_the_pattern, pattern)}
    assert bool(find_flags(rule, f"[Agent]: {unicodedata.normalize(form_of_the_text, said)}")) == matches


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        # quotes, dashes, blanks, wrapped lines
        *(("I don't want", f"I don{quote}t want") for quote in "’‘ʼ′´`＇"),
        ("I don’t want", "I don't want"),
        *(('say "no"', f"say {quotes[0]}no{quotes[1]}") for quotes in ("“”", "„“", "«»", "＂＂")),
        *(("e-mail", f"e{dash}mail") for dash in "‐‑–—−－"),
        *(
            ("card number", f"card{blank}number")
            for blank in ("  ", "\u00a0", "\u3000", "\n", " \r\n ", "\u2009", "\t", "\u2028")
        ),
        ("card  number", "card number"),
        (r"card\s+number", "card number"),
        (r"card\nnumber", "card number"),
        (r"card \s*number", "card number"),
        # compatibility forms, and what shows nothing
        ("finance", "ﬁnance"),
        ("ﬁnance", "finance"),
        ("refund", "ｒｅｆｕｎｄ"),
        ("ガギ", "ｶﾞｷﾞ"),
        *(("refund", f"re{char}fund") for char in ("\u00ad", "\u200b", "\u2060", "\ufeff", "\u200d", "\u00ad\n")),
        ("re\u00adfund\u200b", "refund"),
        ("مرحبا", "مرحـــبا"),
        # digits, entities
        ("card 4111", "card ४१११"),
        ("card ４１１１", "card 4111"),
        ("I don't", "I don&#39;t"),
        ("R&D", "R&amp;D"),
        ("R&D", "R&amp;amp;D"),
        # classes and repetitions
        ("[“”]no", '"no'),
        ("[ﬁ]nance", "finance"),
        ("ﬁ+nance", "ﬁﬁnance"),
        ("[٠-٩]{4}", "4111"),
        (r"\x{2019}s", "it's"),
        (r"[^\n]+end", "to the end"),
    ],
)
def test_speech_and_patterns_are_folded_alike(pattern: str, said: str) -> None:
    assert [flag.turn_index for flag in find_flags({"text_matches": pattern}, f"[Agent]: a\n[Caller]: {said}")] == [1]


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("[a&&b]", "&", "c"),
        ("[a[b]]", "[]", "a"),
        (r"\<a\>", "<a>", "a"),
        (r"\b{start}", "x{start}", "start"),
        ("x{a", "x{a", "xa"),
        ("a{,2}b", "a{,2}b", "aab"),
        (r"\Qa.b\E", "a.b", "axb"),
        (r"\101\x42", "AB", "A"),
        ("[+--]", ",", "x"),
        ("[]x]", "]", "y"),
        ("(?i-s:a.b)", "A-B", "ab c"),
        ("(?U)^a+$", "aaa", "ab"),
    ],
)
def test_a_pattern_of_re2_keeps_its_meaning(pattern: str, matching: str, other: str) -> None:
    assert find_flags({"text_matches": pattern}, matching)
    assert not find_flags({"text_matches": pattern}, other)


LETTERS = [
    *"ab \n-'",
    "é",
    "e\u0301",
    "ﬁ",
    "\u00ad",
    "“",
    "٣",
    "ß",
    "\u3000",
    "&#39;",
    "ｶﾞ",
    "한",
    "\u1112\u1161\u11ab",
    "\u200b",
]


@given(st.lists(st.sampled_from(LETTERS), min_size=1, max_size=20).map("".join), st.data())
@settings(max_examples=60)
def test_a_place_in_folded_speech_is_mapped_back_to_the_turns_own_characters(text: str, data: st.DataObject) -> None:
    folded = fold_text(text)
    assert fold_text(folded) == folded
    if not folded:
        return
    begin = data.draw(st.integers(0, len(folded) - 1))
    end = data.draw(st.integers(begin + 1, len(folded)))
    at, until = map_back(text, begin, end)
    assert folded[begin:end].strip() in fold_text(text[at:until])
    assert len(fold_text(text[at:until])) <= end - begin + 3  # never more than the character that an end stands in


@pytest.mark.parametrize(
    ("pattern", "said", "place"),
    [
        ("refund", "I want a REFUND, now", "REFUND"),
        (r"\brefund\b", "no refunds, a  refund please", "refund"),
        ("finance", "my ﬁ\u00adnance is", "ﬁ\u00adnance"),
        ("退款", "我要退款吗", "退款"),
        ("^so", "so it is", "so"),
        ("now$", "now or now", "now"),
    ],
)
def test_the_reason_names_the_place_in_the_turns_own_text(pattern: str, said: str, place: str) -> None:
    (flag,) = find_flags({"text_matches": pattern}, f"[Caller]: {said}")
    begin, end = (int(number) for number in re.findall(r"characters (\d+) to (\d+)", flag.reason)[0])
    assert said[begin:end] == place


@pytest.mark.parametrize(
    ("rule", "text", "turn_index"),
    [
        ({"text_matches": "card number is"}, "[Caller]: my card number\n[Caller]: is 4111", 0),
        ({"text_matches": "card number is"}, "[Caller]: my card number\n[Agent]: yes?\n[Caller]: is 4111", 0),
        ({"text_matches": "card number is"}, "[Caller]: my card number\n[Agent]: is", None),
        ({"text_matches": "a b c"}, "[Caller]: a\n[Caller]: b\n[Caller]: c", None),
        ({"text_matches": "x", "text_matches_none": ["we record"]}, "[Agent]: x\n[Agent]: We\n[Agent]: record", None),
    ],
)
def test_a_rule_spans_two_turns_of_one_speaker_by_option(
    rule: dict[str, Any], text: str, turn_index: int | None
) -> None:
    expected = [] if turn_index is None else [turn_index]
    assert [flag.turn_index for flag in find_flags({"across_turns": True} | rule, text)] == expected
    assert bool(find_flags(rule, text)) == ("text_matches_none" in rule)


def test_ten_rules_of_a_compliance_officer_flag_what_a_person_would() -> None:
    speech = {
        "refund": (r"(?i)\brefund\b", "I want a Re\u00adfund."),
        "court": (r"\bсуд\b", "Я подам в суд!"),
        "leave": (r"\bcongé\b", "Je suis en Congé, merci"),
        "contraction": ("I don't consent", "No, I don’t\nconsent"),
        "card": (r"card[ -]number", "the card\u2011number, please"),
        "digits": (r"\b\d{4} \d{4}\b", "it is ४१११  １２３４"),
        "entity": ("it's illegal", "it&#39;s illegal"),
        "width": ("ｃａｎｃｅｌ", "Cancel it"),
        "kana": ("キャンセル", "ｷｬﾝｾﾙして"),
        "quote": ('called me a "liar"', "you called me a “liar”"),
    }
    innocent = "Vi är su\u00e9dois; рассудок, congés, no funds; the cardinal numbers of a card; 41112 123; its legal."
    rules = rules_of(*({"id": name, "text_matches": pattern} for name, (pattern, _) in speech.items()))
    call = parse_listed_call({"id": "c", "created_at": "2025-01-10"}, organization_id=None, now=datetime.now(UTC)).call
    for name, (_, said) in speech.items():
        flags = rules.find_flags(call, None, split_turns(f"[Agent]: Hello.\n[Caller]: {said}"))
        assert [(flag.rule_id, flag.turn_index) for flag in flags] == [(name, 1)]
    assert rules.find_flags(call, None, split_turns(f"[Caller]: {innocent}")) == []


def test_numbers_are_compared_as_numbers_and_languages_as_languages() -> None:
    for written in (
        "+2348012345678",
        "+234 801 234 5678",
        "002348012345678",
        "＋２３４８０１２３４５６７８",
        "2348012345678",
    ):
        assert find_flags({"numbers": [written]}, from_number="+2348012345678")
        assert find_flags({"numbers": ["+2348012345678"]}, from_number=written)
    for prefix in ("+234", "+234 801", "00234", "234", "＋２３４"):
        assert find_flags({"number_prefixes": [prefix]}, to_number="+2348012345678")
        assert not find_flags({"number_prefixes": [prefix]}, to_number="+4915112345678")
    for direction in ("Inbound", "INBOUND", " inbound "):
        assert find_flags({"direction": "inbound"}, direction=direction)
    assert find_flags({"direction": "Inbound"}, direction="inbound")
    for wanted, language in (
        ("en", "eng"),
        ("eng", "en-GB"),
        ("de", "ger"),
        ("deu", "de"),
        ("English", "en_US"),
        ("zh", "cmn"),
    ):
        assert find_flags({"languages": [wanted]}, language=language)
        assert not find_flags({"languages": [wanted]}, language="fr")


def test_national_numbers_of_rules_are_read_with_the_default_country() -> None:
    row = {"id": "c", "created_at": "2025-01-10", "from_number": "+2348031234567"}
    call = parse_listed_call(row, organization_id=None, now=datetime.now(UTC)).call
    text = """
rules:
  - {id: a, extend_days: 1, numbers: ['0803 123 4567']}
  - {id: b, extend_days: 1, number_prefixes: ['0803']}
"""
    rules = [parse_rules(text, confidence_is_known=False, country=country) for country in (None, "NG")]
    assert [[flag.rule_id for flag in each.find_flags(call, None, [])] for each in rules] == [[], ["a", "b"]]


def test_every_rule_that_holds_flags_the_call_in_the_order_of_the_file() -> None:
    rules = rules_of({"id": "z"}, {"id": "never", "call_ids": ["x"]}, {"id": "a", "extend_days": 365})
    call = parse_listed_call({"id": "c", "created_at": "2025-01-10"}, organization_id=None, now=datetime.now(UTC)).call
    assert [(flag.rule_id, flag.extend_days) for flag in rules.find_flags(call, None, [])] == [("z", 30), ("a", 365)]


def test_a_pattern_that_would_hang_a_backtracking_engine_runs_in_linear_time() -> None:
    assert find_flags({"text_matches": "(a*)*(a|aa)+$b"}, "a" * 100_000) == []


# The reason.


@pytest.mark.parametrize(
    ("rule", "text", "reason"),
    [
        ({}, "", "every call satisfies this rule"),
        ({"description": "all of them"}, "", "all of them: every call satisfies this rule"),
        ({"call_ids": ["call_abc123"]}, "", "the call is named"),
        ({"numbers": ["+2"]}, "", "to_number is listed"),
        ({"duration_seconds_at_least": 60}, "", "90.5 s are at least 60 s"),
        ({"confidence_below": 0.9}, "", "confidence 0.5 is below 0.9"),
        ({"text_matches": "x"}, "[Agent]: a\n[Caller]: x", "turn 1 of speaker caller, HERE matches"),
        ({"text_matches": "x"}, "x", "turn 0 of speaker unknown, HERE matches"),
        ({"speaker": "agent"}, "[Agent]: a", "turn 0 of speaker agent is there"),
        (
            {"speaker": "agent", "text_matches": "x"},
            "x",
            "turn 0 of speaker unknown, who may be anyone, HERE matches",
        ),
        (
            {"numbers": ["+2"], "text_matches": "x"},
            "[A]: x",
            "to_number is listed; turn 0 of speaker other, HERE matches",
        ),
        ({"number_prefixes": ["+"]}, "", "to_number begins with a listed prefix"),
        ({"direction": "inbound"}, "", "the call is inbound"),
        ({"endpoint_ids": ["ep_1"]}, "", "the endpoint is listed"),
        ({"languages": ["en"]}, "", "the language is en"),
        (
            {"text_matches_any": ["y", "x"]},
            "[Agent]: x",
            "turn 0 of speaker agent, HERE matches text_matches_any",
        ),
        (
            {"text_matches_all": ["y", "x"]},
            "[Agent]: xy",
            "turn 0 of speaker agent, THERE matches text_matches_all",
        ),
        (
            {"text_matches_all": ["y", "x"], "speaker": "agent"},
            "x\n[Agent]: y",
            "turn 0 of speaker unknown, who may be anyone, HERE and turn 1 of speaker agent, "
            "HERE match text_matches_all",
        ),
        ({"text_matches_none": ["y"]}, "[Agent]: x", "no turn matches text_matches_none"),
        ({"text_matches_none": ["y"], "speaker": "agent"}, "x", "no turn of speaker agent matches text_matches_none"),
    ],
)
def test_the_reason_says_which_conditions_held(rule: dict[str, Any], text: str, reason: str) -> None:
    known: dict[str, Any] = {"duration": 90.5, "to_number": "+2", "direction": "inbound", "endpoint_id": "ep_1"}
    (flag,) = find_flags(rule, text, confidence=0.5, language="en-GB", **known)
    assert flag.reason == reason.replace("THERE", "characters 1 to 2,").replace("HERE", "characters 0 to 1,")


def test_the_reason_says_that_there_is_no_transcript() -> None:
    (flag,) = find_flags({"no_transcript": True}, status="none")
    assert flag.reason == "upstream has no transcript"


@given(
    st.from_regex(r"\A[xyz]{5,20}\Z"),
    st.from_regex(r"\A\+[2-9]{8,15}\Z"),  # no prefix that normalisation leaves out
    st.sampled_from(["", "[Caller]: ", "[Xyzzyx]: "]),
)
def test_a_reason_contains_no_speech_label_or_number(word: str, number: str, label: str) -> None:
    rule = {
        "text_matches": word,
        "text_matches_any": [word],
        "text_matches_all": [word],
        "text_matches_none": [f"not {word}"],
        "numbers": [number],
        "number_prefixes": [number[:4]],
        "duration_seconds_at_least": 1,
    }
    (flag,) = find_flags(rule, f"{label}{word}", from_number=number, duration=2)
    assert word not in flag.reason and number[:4] not in flag.reason and "Xyzzyx" not in flag.reason
