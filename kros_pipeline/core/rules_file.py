"""Read the rules file that an operator writes. Each mistake becomes a sentence with its line, its rule and its key."""

import difflib
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from .located_yaml import BadYaml, Located, Place, read_yaml
from .patterns import MAX_PATTERNS, compile_pattern
from .rule import FORMS, Rule

_MAX_SENTENCES = 20
_TRANSCRIPT_DETAILS = {"confidence_below": "confidence", "languages": "language"}
_PROBE_TEXTS = ("", "\ue000")  # a pattern that matches both matches every text


class BadRules(ValueError):
    """The rules file cannot be used; the message names the line, the rule and the key of each mistake."""


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    rules: list[Rule]


def read_rules(text: str, *, confidence_is_known: bool) -> tuple[Rule, ...]:
    """Read the rules of a YAML text, in its order. Raises `BadRules` with every mistake.

    `confidence_is_known` says whether the settings ask upstream for confidence and language of every transcript. If
    they do not, a rule about either would hold for few calls, by chance, and is refused.
    """
    try:
        located = read_yaml(text)
    except BadYaml as error:
        raise BadRules(str(error)) from None
    if sum(len(place) > 2 and str(place[2]).startswith("text_matches") for place in located.lines) > MAX_PATTERNS:
        raise BadRules(f"there are more than {MAX_PATTERNS:,} patterns in the file")
    rules: list[Rule] = []
    problems: list[tuple[Place, str]] = []
    try:
        rules = _File.model_validate(located.value).rules
    except ValidationError as error:
        problems += [(item["loc"], _explain(item)) for item in error.errors(include_url=False)]
    seen: dict[str, int] = {}
    for index, rule in enumerate(rules):
        first = seen.setdefault(rule.id, index)
        if first != index:
            problems.append((("rules", index, "id"), f"rule {first + 1} has this id already"))
        problems += [
            (("rules", index, key), why) for key, why in _find_impossible_conditions(rule, confidence_is_known)
        ]
    if problems:
        problems.sort(key=lambda problem: located.find_line(problem[0]))
        sentences = [_format_mistake(located, *problem) for problem in problems[:_MAX_SENTENCES]]
        more = len(problems) - len(sentences)
        raise BadRules("; ".join([*sentences, f"and {more} more"] if more else sentences))
    return tuple(rules)


def _find_impossible_conditions(rule: Rule, confidence_is_known: bool) -> Iterator[tuple[str, str]]:
    """Find the keys of a rule that no call can satisfy under the present settings, and say why."""
    about_text = rule.patterns
    if not confidence_is_known:
        for key, what in _TRANSCRIPT_DETAILS.items():
            if getattr(rule, key) is not None:
                yield key, f"needs KROS_TRANSCRIPT_DETAILS=always, or few calls have a {what}"
    if rule.no_transcript:
        others = [key for key in ("speaker", *_TRANSCRIPT_DETAILS) if getattr(rule, key) is not None] + list(about_text)
        if others:
            yield "no_transcript", f"a call without a transcript never satisfies {' and '.join(others)}"
    if rule.across_turns and not about_text:
        yield "across_turns", "has no meaning without a condition about text, like text_matches"
    excluded = set(about_text.pop("text_matches_none", ()))
    if any(all(compile_pattern(pattern).is_in(text) for text in _PROBE_TEXTS) for pattern in excluded):
        yield "text_matches_none", "one of its patterns matches every text, so no call can satisfy it"
    for key, patterns in about_text.items():
        clashes = set(patterns) <= excluded if key == "text_matches_any" else set(patterns) & excluded
        if clashes:
            yield key, "text_matches_none forbids what must match here; no call can satisfy both"


def _explain(item: Any) -> str:
    """Explain a mistake that pydantic found to somebody who knows the rules and not Python."""
    kind, given, limits = item["type"], item["input"], item.get("ctx", {})
    in_a_rule = len(item["loc"]) > 1
    if kind == "missing":
        return "is missing; " + ("every rule needs an id and extend_days" if in_a_rule else "the rules stand below it")
    if kind == "extra_forbidden":
        return _explain_unknown_key(str(item["loc"][-1]), list((Rule if in_a_rule else _File).model_fields))
    if kind == "literal_error":
        return f"must be {limits['expected']}".replace("'", "")
    if kind == "string_pattern_mismatch":
        return f"must be {FORMS[limits['pattern']]}"
    if kind in _MUST_BE:
        return f"must be {_MUST_BE[kind].format(**limits)}{_hint(kind, given)}"
    return str(item["msg"]).removeprefix("Value error, ")


def _explain_unknown_key(key: str, allowed: list[str]) -> str:
    near = difflib.get_close_matches(key[:64].lower(), allowed, 1)
    return "unknown key; " + (f"did you mean {near[0]}?" if near else f"the keys are {', '.join(allowed)}")


_MUST_BE = {
    "model_type": "a mapping of keys and values",
    "list_type": "a list, like [one, another]",
    "string_type": "a text",
    "bool_type": "true, or left out",
    "int_type": "a whole number",
    "int_parsing_size": "a smaller number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than_equal": "at most {le}",
    "too_short": "a list that is not empty; no call can satisfy an empty one",
    "string_too_short": "a text that is not empty",
}


def _hint(kind: str, given: object) -> str:
    """Say how YAML read a value. The value itself is not shown: it may be a phone number."""
    if kind == "string_type":
        if isinstance(given, bool):
            return "; YAML reads yes, no, on, off, true and false as truth values: write it in quotes"
        if isinstance(given, int | float):
            return "; YAML reads it as a number: write it in quotes"
        if given is None:
            return "; the value is missing"
        return "; it is a list or a mapping" if isinstance(given, list | dict) else "; it reads as a date: use quotes"
    if kind in ("int_type", "float_type") and isinstance(given, str):
        return ", without quotes"
    return ""


def _format_mistake(located: Located, place: Place, mistake: str) -> str:
    """Return a sentence like `line 12, rule 2 ('legal-threat'), extend_days: is missing`."""
    parts = [f"line {located.find_line(place)}"]
    keys = list(place)
    if len(place) > 1 and isinstance(place[1], int):
        rule = located.value["rules"][place[1]]
        name = f" ({rule['id'][:64]!r})" if isinstance(rule, dict) and isinstance(rule.get("id"), str) else ""
        parts.append(f"rule {place[1] + 1}{name}")
        keys = keys[2:]
    parts += [str(key + 1) if isinstance(key, int) else str(key)[:64] for key in keys]
    return f"{', '.join(parts)}: {mistake}"
