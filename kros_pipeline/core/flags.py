"""The rules that flag calls: what an operator may write, what it means, and why a call was flagged.

All conditions of one rule must hold. Conditions about a turn (`speaker`, `text_matches`) must hold of one same turn.
Patterns are RE2: linear time whatever the text, no lookaround, `\\b` knows ASCII letters alone, `(?i)` folds case, and
accents are compared as they are written.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import re2
import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator

from .transcripts import UNKNOWN, Turn

_MAX_FILE_CHARS = 1_000_000
_MAX_DEPTH = 16  # a rule is four deep; PyYAML's time grows with the square of the depth, or worse
_RE2_OPTIONS = re2.Options()
_RE2_OPTIONS.log_errors = False  # a bad pattern is said in an exception, not on stderr


class BadRules(ValueError):
    """The rules file cannot be used; the message names the rule and the key."""


class Rule(BaseModel):
    """One rule of the file. A condition that is left out always holds."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    description: str | None = None
    speaker: Literal["agent", "caller", "other"] | None = None
    text_matches: str | None = None
    duration_seconds_at_least: Annotated[float, Field(ge=0)] | None = None
    confidence_below: Annotated[float, Field(gt=0, le=1)] | None = None
    numbers: Annotated[list[str], Field(min_length=1)] | None = None
    call_ids: Annotated[list[str], Field(min_length=1)] | None = None
    extend_days: Annotated[int, Field(ge=1, le=36_500)]

    @field_validator("text_matches")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                re2.compile(pattern, _RE2_OPTIONS)
            except re2.error as error:
                what = error.args[0] if error.args else "not RE2"
                text = what.decode(errors="replace") if isinstance(what, bytes) else str(what)
                raise ValueError(f"not a pattern that RE2 reads: {text}") from None
        return pattern

    @property
    def is_about_a_turn(self) -> bool:
        """Whether a turn must satisfy it; otherwise it is about the call alone."""
        return self.speaker is not None or self.text_matches is not None


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    rules: list[Rule]


@dataclass(frozen=True, slots=True)
class Flag:
    """Why one rule flags one call. `turn_index` is the first turn that satisfied it; None if it is about the call."""

    rule_id: str
    reason: str
    turn_index: int | None
    extend_days: int


@dataclass(frozen=True)
class Rules:
    """The rules in the file's order. `version` is the start of the file's SHA-256; `none` where there is no file."""

    rules: tuple[Rule, ...] = ()
    version: str = "none"

    def flags_of(self, call: Any, confidence: float | None, turns: Sequence[Turn]) -> list[Flag]:
        """The flags of one call. `call` has the columns of the table `calls` as attributes."""
        flags = (_flag_of(rule, call, confidence, turns) for rule in self.rules)
        return [flag for flag in flags if flag is not None]


def parse_rules(text: str, *, confidence_is_known: bool) -> Rules:
    """Reads the YAML of a rules file. Raises `BadRules` with every mistake in it.

    `confidence_is_known`: whether the settings ask upstream for the confidence of every call. Without that a rule
    about it would hold for few calls, by chance, and is refused.
    """
    if len(text) > _MAX_FILE_CHARS:
        raise BadRules(f"the file is larger than {_MAX_FILE_CHARS:,} characters")
    try:
        _check_shape(text)
        raw = yaml.safe_load(text)
    except BadRules:
        raise
    except (yaml.YAMLError, ValueError, LookupError, AttributeError) as error:  # some for `!!int ''` alone
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        raise BadRules(f"not YAML: {where}{getattr(error, 'problem', None) or 'cannot be read'}") from None
    try:
        rules = _File.model_validate(raw).rules
    except ValidationError as error:
        raise BadRules("; ".join(_sentence(raw, item["loc"], item["msg"]) for item in error.errors())) from None
    problems = [f"rule {rule_id!r} is there more than once" for rule_id in _repeated(rule.id for rule in rules)]
    if not confidence_is_known:
        problems += [
            f"rule {rule.id!r}: confidence_below needs KROS_TRANSCRIPT_DETAILS=always, or few calls have a confidence"
            for rule in rules
            if rule.confidence_below is not None
        ]
    if problems:
        raise BadRules("; ".join(problems))
    return Rules(tuple(rules), hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:12])


def _check_shape(text: str) -> None:
    """Refuses what would cost memory or time, before anything is built of it."""
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise BadRules("YAML aliases (*name) are not allowed: a few lines of them can fill the memory")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            raise BadRules(f"lists and mappings are nested more than {_MAX_DEPTH} deep")


def _flag_of(rule: Rule, call: Any, confidence: float | None, turns: Sequence[Turn]) -> Flag | None:
    reasons = []
    if rule.call_ids is not None:
        if call.call_id not in rule.call_ids:
            return None
        reasons.append("the call is named")
    if rule.numbers is not None:
        sides = [side for side in ("from_number", "to_number") if getattr(call, side) in rule.numbers]
        if not sides:
            return None
        reasons.append(f"{sides[0]} is listed")
    if rule.duration_seconds_at_least is not None:
        if call.duration_seconds is None or call.duration_seconds < rule.duration_seconds_at_least:
            return None
        reasons.append(f"{call.duration_seconds:g} s are at least {rule.duration_seconds_at_least:g} s")
    if rule.confidence_below is not None:
        if confidence is None or confidence >= rule.confidence_below:
            return None
        reasons.append(f"confidence {confidence:g} is below {rule.confidence_below:g}")
    turn = None
    if rule.is_about_a_turn:
        turn = next((turn for turn in turns if _turn_satisfies(rule, turn)), None)
        if turn is None:
            return None
        what = "matches" if rule.text_matches is not None else "is there"
        unsure = ", who may be anyone" if rule.speaker is not None and turn.speaker == UNKNOWN else ""
        reasons.append(f"turn {turn.turn_index} of speaker {turn.speaker}{unsure} {what}")
    reason = "; ".join(reasons) or "every call satisfies this rule"
    return Flag(
        rule.id,
        f"{rule.description}: {reason}" if rule.description else reason,
        turn.turn_index if turn else None,
        rule.extend_days,
    )


def _turn_satisfies(rule: Rule, turn: Turn) -> bool:
    if rule.speaker is not None and turn.speaker not in (rule.speaker, UNKNOWN):
        return False
    return rule.text_matches is None or re2.search(rule.text_matches, turn.text, _RE2_OPTIONS) is not None


def _repeated(ids: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    return sorted({name for name in ids if name in seen or seen.add(name)})  # type: ignore[func-returns-value]


def _sentence(raw: Any, place: tuple[int | str, ...], message: str) -> str:
    """`rule 2 ('legal-threat'), extend_days: Field required`."""
    where = ", ".join(str(part) for part in place if part != "rules") or "the file"
    if len(place) > 1 and place[0] == "rules" and isinstance(place[1], int):
        rule = raw["rules"][place[1]]
        name = f" ({rule['id']!r})" if isinstance(rule, dict) and isinstance(rule.get("id"), str) else ""
        where = ", ".join([f"rule {place[1] + 1}{name}", *(str(part) for part in place[2:])])
    return f"{where}: {message.removeprefix('Value error, ')}"
