"""A rules file means what it says, or is refused by the rule and the key; and a flag says why without saying what."""

from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kros_pipeline.core.flags import BadRules, Flag, Rules, parse_rules
from kros_pipeline.core.models import parse_listed_call
from kros_pipeline.core.transcripts import split_turns

DESIGNED = r"""
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


def flags_of(rule: dict[str, Any], text: str = "", confidence: float | None = None, **row: Any) -> list[Flag]:
    listed = {"id": "call_abc123", "created_at": "2025-01-10T10:00:00Z", **row}
    call = parse_listed_call(listed, organization_id=None, now=datetime.now(UTC)).call
    return rules_of(rule).flags_of(call, confidence, split_turns(text))


def refusal(text: str, *, confidence_is_known: bool = True) -> str:
    with pytest.raises(BadRules) as refused:
        parse_rules(text, confidence_is_known=confidence_is_known)
    return str(refused.value)


# Reading a file.


def test_the_rule_of_the_design_is_read_with_every_key():
    (rule,) = parse_rules(DESIGNED, confidence_is_known=True).rules
    assert rule.model_dump() == yaml.safe_load(DESIGNED)["rules"][0]


def test_an_id_and_the_days_are_all_that_a_rule_needs():
    (rule,) = rules_of({}).rules
    assert {name: value for name, value in rule.model_dump().items() if value is not None} == {
        "id": "r",
        "extend_days": 30,
    }


def test_a_file_may_hold_no_rule():
    assert parse_rules("rules: []", confidence_is_known=False).rules == ()


def test_every_text_of_the_file_has_its_own_version_and_always_the_same():
    versions = {parse_rules(text, confidence_is_known=True).version for text in (DESIGNED, DESIGNED, DESIGNED + "# x")}
    assert len(versions) == 2
    assert all(len(version) == 12 for version in versions)
    assert Rules().version == "none"


def test_order_is_kept_and_integers_are_numbers_too():
    rules = rules_of({"id": "z", "duration_seconds_at_least": 60}, {"id": "a", "confidence_below": 1}).rules
    assert [rule.id for rule in rules] == ["z", "a"]


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        # what every rule needs
        ("{extend_days: 30}", "rule 1, id: Field required"),
        ("{id: r}", "rule 1 ('r'), extend_days: Field required"),
        ("5", "rule 1: "),
        # ids are plain
        *((f"{{id: {id_}, extend_days: 1}}", "rule 1 (") for id_ in ("''", "a b", "é", "'a\n'", '"a\\n"', "x" * 65)),
        *((f"{{id: {id_}, extend_days: 1}}", "rule 1, id: ") for id_ in ("7", "null", "[a]", "2025-01-10", "yes")),
        # days are whole and some
        *(
            (f"{{id: r, extend_days: {days}}}", "rule 1 ('r'), extend_days: ")
            for days in ("0", "-1", "36501", "30.0", "'30'", "yes", "null", ".inf", "1" + "0" * 400)
        ),
        # keys nobody knows, in either case
        *(
            (f"{{id: r, extend_days: 1, {key}: 1}}", f"rule 1 ('r'), {key}: ")
            for key in ("extends_days", "Speaker", "7", "speakers")
        ),
        # conditions
        *(
            (f"{{id: r, extend_days: 1, {key}: {value}}}", f"rule 1 ('r'), {key}")
            for key, values in {
                "speaker": ("unknown", "Agent", "anyone", "[agent]", "1"),
                "duration_seconds_at_least": ("-1", "'60'", "yes", ".nan", "[60]", "2025-01-10"),
                "confidence_below": ("0", "-0.1", "1.1", "'0.9'", ".nan", "yes"),
                "numbers": ("[]", "'+2348012345678'", "[2348012345678]", "['+1', 7]", "[[x]]", "{a: b}"),
                "call_ids": ("[]", "call_abc123", "[1]", "[null]"),
                "description": ("7", "[x]"),
                "text_matches": ("7", "['a']", "[a]"),
            }.items()
            for value in values
        ),
        # patterns that RE2 does not read
        *(
            (
                f"{{id: r, extend_days: 1, text_matches: '{pattern}'}}",
                "rule 1 ('r'), text_matches: not a pattern that RE2 reads: ",
            )
            for pattern in (
                r"(?=a)",
                r"(?<!a)b",
                r"(a)\1",
                "(",
                "a**b(",
                "[z-a]",
                r"\p{Nope}",
                "a{1001}",
                "((a{1000}){1000}){1000}",
                r"\y",
            )
        ),
        ('{id: r, extend_days: 1, text_matches: "\\uD800"}', "rule 1 ('r'), text_matches: "),
    ],
)
def test_a_mistake_is_named_by_its_rule_and_its_key(rule: str, sentence: str):
    assert refusal(f"rules:\n- {rule}").startswith(sentence)


def test_every_mistake_is_named_and_each_by_its_own_rule():
    said = refusal("rules: [{id: a, extend_days: 0, spekaer: agent}, {id: b, extend_days: 1}, {id: c, numbers: []}]")
    assert [sentence.split(":")[0] for sentence in said.split("; ")] == [
        "rule 1 ('a'), extend_days",
        "rule 1 ('a'), spekaer",
        "rule 3 ('c'), numbers",
        "rule 3 ('c'), extend_days",
    ]


def test_two_rules_of_one_id_are_refused_by_it():
    assert refusal("rules: [{id: a, extend_days: 1}, {id: b, extend_days: 1}, {id: a, extend_days: 2}]") == (
        "rule 'a' is there more than once"
    )


def test_a_rule_about_confidence_is_refused_by_name_unless_the_settings_ask_for_it():
    said = refusal(DESIGNED, confidence_is_known=False)
    assert "rule 'legal-threat': confidence_below needs KROS_TRANSCRIPT_DETAILS=always" in said


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
        # what would fill the memory, or the day
        "a: &a [x, x]\nb: &b [*a, *a]\nrules: [*b, *b]",
        "rules: &r\n- *r",
        "rules: [{id: a, extend_days: &days 30}, {id: b, extend_days: *days}]",
        "a: &a {id: r}\nrules: [{<<: *a, extend_days: 1}]",
        *(opening * 300_000 for opening in ("[", "{", "- ", "? ", "[{a: ")),
        "rules: [" + "9" * 100_000 + "]",
        "#" * 1_000_001,
    ],
    ids=lambda text: ascii(text[:30]),
)
def test_what_is_no_rules_file_is_refused_in_one_short_line(text: str):
    said = refusal(text)
    assert said and len(said) < 300 and "\n" not in said


@given(
    st.text()
    | st.lists(st.sampled_from([*"[]{}:-?!&*'\"\n |>%@`#,", "rules:", "- id: r", "!!int", "1", "\t"])).map("".join)
)
def test_any_text_is_rules_or_is_refused(text: str):
    try:
        assert parse_rules(text, confidence_is_known=True).rules is not None
    except BadRules as refused:
        assert str(refused)


# What a rule means.

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
        ({"text_matches": ""}, 0),
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
    ],
)
def test_a_rule_about_a_turn_flags_the_first_that_satisfies_it(rule: dict[str, Any], turn_index: int | None):
    assert [flag.turn_index for flag in flags_of(rule, TALK)] == ([] if turn_index is None else [turn_index])


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
        # ids are whole
        ({"call_ids": ["x", "call_abc123"]}, {}, None, True),
        ({"call_ids": ["call_abc", "CALL_ABC123"]}, {}, None, False),
    ],
)
def test_a_rule_about_the_call_holds_or_not(
    rule: dict[str, Any], row: dict[str, Any], confidence: float | None, holds: bool
):
    flags = flags_of(rule, confidence=confidence, **row)
    assert [(flag.turn_index, flag.extend_days) for flag in flags] == ([(None, 30)] if holds else [])


CONDITIONS: dict[str, Any] = {
    "speaker": "caller",
    "text_matches": "lawyer",
    "duration_seconds_at_least": 60,
    "confidence_below": 0.9,
    "numbers": ["+1"],
    "call_ids": ["call_abc123"],
}
NOT_SO: dict[str, Any] = {
    "speaker": {"text": "[Agent]: my lawyer"},
    "text_matches": {"text": "[Caller]: my doctor"},
    "duration_seconds_at_least": {"duration": 59},
    "confidence_below": {"confidence": 0.95},
    "numbers": {"to_number": "+2"},
    "call_ids": {"id": "call_other"},
}


@pytest.mark.parametrize("missing", [None, *CONDITIONS])
def test_all_conditions_of_a_rule_must_hold(missing: str | None):
    call = {"text": "[Caller]: my lawyer", "confidence": 0.5, "duration": 60, "to_number": "+1"}
    assert bool(flags_of(CONDITIONS, **call | NOT_SO.get(missing or "", {}))) == (missing is None)


def test_every_rule_that_holds_flags_the_call_in_the_files_order():
    rules = rules_of({"id": "z"}, {"id": "never", "call_ids": ["x"]}, {"id": "a", "extend_days": 365})
    call = parse_listed_call({"id": "c", "created_at": "2025-01-10"}, organization_id=None, now=datetime.now(UTC)).call
    assert [(flag.rule_id, flag.extend_days) for flag in rules.flags_of(call, None, [])] == [("z", 30), ("a", 365)]


def test_a_pattern_that_would_hang_a_backtracking_reader_is_answered():
    assert flags_of({"text_matches": "(a*)*(a|aa)+$b"}, "a" * 100_000) == []


# Why.


@pytest.mark.parametrize(
    ("rule", "text", "reason"),
    [
        ({}, "", "every call satisfies this rule"),
        ({"description": "all of them"}, "", "all of them: every call satisfies this rule"),
        ({"call_ids": ["call_abc123"]}, "", "the call is named"),
        ({"numbers": ["+2"]}, "", "to_number is listed"),
        ({"duration_seconds_at_least": 60}, "", "90.5 s are at least 60 s"),
        ({"confidence_below": 0.9}, "", "confidence 0.5 is below 0.9"),
        ({"text_matches": "x"}, "[Agent]: a\n[Caller]: x", "turn 1 of speaker caller matches"),
        ({"text_matches": "x"}, "x", "turn 0 of speaker unknown matches"),
        ({"speaker": "agent"}, "[Agent]: a", "turn 0 of speaker agent is there"),
        ({"speaker": "agent", "text_matches": "x"}, "x", "turn 0 of speaker unknown, who may be anyone matches"),
        ({"numbers": ["+2"], "text_matches": "x"}, "[A]: x", "to_number is listed; turn 0 of speaker other matches"),
    ],
)
def test_the_reason_says_which_conditions_held(rule: dict[str, Any], text: str, reason: str):
    (flag,) = flags_of(rule, text, confidence=0.5, duration=90.5, to_number="+2")
    assert flag.reason == reason


@given(
    st.from_regex(r"\A[xyz]{5,20}\Z"),
    st.from_regex(r"\A\+[0-9]{8,15}\Z"),
    st.sampled_from(["", "[Caller]: ", "[Xyzzyx]: "]),
)
def test_no_speech_label_or_number_is_in_a_reason(word: str, number: str, label: str):
    rule = {"text_matches": word, "numbers": [number], "duration_seconds_at_least": 1}
    (flag,) = flags_of(rule, f"{label}{word}", from_number=number, duration=2)
    assert word not in flag.reason and number not in flag.reason and "Xyzzyx" not in flag.reason
