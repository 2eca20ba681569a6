"""Apply the rules that flag calls, and say why each call was flagged.

All conditions of one rule must hold. An unknown value satisfies no condition: a call without a duration is not long,
and a call without turns satisfies no condition about text, not even `text_matches_none`.

- A condition about text is applied to the turns of `speaker`, or to all turns where `speaker` is left out. A turn of
  unknown speaker counts for every speaker, and the reason says so. `text_matches`: a turn matches. `_any`: a turn
  matches one of the patterns. `_all`: each pattern matches a turn, not always the same one. `_none`: no turn matches
  any pattern.
- Patterns are RE2, and match anywhere in a turn: linear time on any text, no lookaround; `\\b` knows ASCII letters
  only. Case is compared as written; `(?i)` ignores it, in every script. Accents are compared as written too, in
  whichever of Unicode's forms: pattern and text are normalized to NFC before the comparison.
- `numbers` and `number_prefixes` apply to either side. `languages` ignore case, and `pt` matches `pt-BR`.
- `no_transcript` holds once upstream was asked after the grace days and had no transcript, not while one may still
  come.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from unicodedata import normalize

from .rule import Rule, compile_pattern
from .rules_file import BadRules, read_rules
from .statuses import Speaker, TranscriptStatus
from .transcripts import Turn

__all__ = ["BadRules", "Flag", "Rules", "parse_rules"]


@dataclass(frozen=True, slots=True)
class Flag:
    """Why one rule flags one call.

    `turn_index` is the first turn that satisfied the rule, or None where the rule is about the call. `extend_days` is
    how long the rule wants the recording kept upstream. `reason` contains no speech and no phone number.
    """

    rule_id: str
    reason: str
    turn_index: int | None
    extend_days: int


@dataclass(frozen=True)
class Rules:
    """The rules in the file's order. `version` is the start of the file's SHA-256; `none` where there is no file."""

    rules: tuple[Rule, ...] = ()
    version: str = "none"

    def find_flags(self, call: Any, transcript: Any, turns: Sequence[Turn]) -> list[Flag]:
        """Find the flags of one call, in the order of the rules.

        `call` has the columns of the table `calls` as attributes, and `transcript` those of `transcripts`; `transcript`
        is None where the call has no row there.
        """
        normalized = [_NormalizedTurn(turn, normalize("NFC", turn.text)) for turn in turns]
        flags = (_apply_rule(rule, call, transcript, normalized) for rule in self.rules)
        return [flag for flag in flags if flag is not None]


def parse_rules(text: str, *, confidence_is_known: bool) -> Rules:
    """Parse the YAML of a rules file. Raises `BadRules` with every mistake in it; see `read_rules`."""
    version = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:12]
    return Rules(read_rules(text, confidence_is_known=confidence_is_known), version)


@dataclass(frozen=True, slots=True)
class _NormalizedTurn:
    """A turn, and its text in NFC, as patterns are compared with it."""

    turn: Turn
    text: str


def _apply_rule(rule: Rule, call: Any, transcript: Any, turns: Sequence[_NormalizedTurn]) -> Flag | None:
    reasons = []
    for key, find_reason in _CALL_CONDITIONS.items():
        if getattr(rule, key) is not None:
            reason = find_reason(rule, call, transcript)
            if reason is None:
                return None
            reasons.append(reason)
    turn_index = None
    if rule.speaker is not None or rule.patterns:
        matched = _match_turns(rule, turns)
        if matched is None:
            return None
        turn_reasons, turn_index = matched
        reasons += turn_reasons
    reason = "; ".join(reasons) or "every call satisfies this rule"
    return Flag(rule.id, f"{rule.description}: {reason}" if rule.description else reason, turn_index, rule.extend_days)


# Conditions about the call. Each function returns the reason where the condition holds, and None where it does not.


def _match_call_ids(rule: Rule, call: Any, _: Any) -> str | None:
    return "the call is named" if call.call_id in rule.call_id_set else None


def _match_numbers(rule: Rule, call: Any, _: Any) -> str | None:
    return _match_either_number(call, "is listed", lambda number: number in rule.number_set)


def _match_number_prefixes(rule: Rule, call: Any, _: Any) -> str | None:
    prefixes = tuple(rule.number_prefixes or ())
    return _match_either_number(call, "begins with a listed prefix", lambda number: number.startswith(prefixes))


def _match_either_number(call: Any, what: str, holds: Callable[[str], bool]) -> str | None:
    for side in ("from_number", "to_number"):
        number = getattr(call, side)
        if number is not None and holds(number):
            return f"{side} {what}"
    return None


def _match_direction(rule: Rule, call: Any, _: Any) -> str | None:
    return f"the call is {rule.direction}" if call.direction == rule.direction else None


def _match_endpoint_ids(rule: Rule, call: Any, _: Any) -> str | None:
    return "the endpoint is listed" if call.endpoint_id in (rule.endpoint_ids or ()) else None


def _match_duration(rule: Rule, call: Any, _: Any) -> str | None:
    seconds, minimum = call.duration_seconds, rule.duration_seconds_at_least
    if seconds is None or minimum is None or seconds < minimum:
        return None
    return f"{seconds:g} s are at least {minimum:g} s"


def _match_confidence(rule: Rule, _: Any, transcript: Any) -> str | None:
    confidence = transcript.confidence if transcript is not None else None
    if confidence is None or rule.confidence_below is None or confidence >= rule.confidence_below:
        return None
    return f"confidence {confidence:g} is below {rule.confidence_below:g}"


def _match_languages(rule: Rule, _: Any, transcript: Any) -> str | None:
    tag = (transcript.language if transcript is not None else None) or ""
    found = tag.replace("_", "-").lower()
    for wanted in rule.languages or ():
        if found == wanted.lower() or found.startswith(f"{wanted.lower()}-"):  # RFC 4647, basic filtering
            return f"the language is {wanted}"
    return None


def _match_no_transcript(_: Rule, __: Any, transcript: Any) -> str | None:
    has_none = transcript is not None and transcript.status == TranscriptStatus.NONE
    return "upstream has no transcript" if has_none else None


_CALL_CONDITIONS: dict[str, Callable[[Rule, Any, Any], str | None]] = {
    "call_ids": _match_call_ids,
    "numbers": _match_numbers,
    "number_prefixes": _match_number_prefixes,
    "direction": _match_direction,
    "endpoint_ids": _match_endpoint_ids,
    "duration_seconds_at_least": _match_duration,
    "confidence_below": _match_confidence,
    "languages": _match_languages,
    "no_transcript": _match_no_transcript,
}


# Conditions about the turns.


def _match_turns(rule: Rule, turns: Sequence[_NormalizedTurn]) -> tuple[list[str], int | None] | None:
    """Return the reasons and the first turn that satisfied one of them, or None where a condition does not hold."""
    speakers = (rule.speaker, Speaker.UNKNOWN)
    candidates = [item for item in turns if rule.speaker is None or item.turn.speaker in speakers]
    if not turns or not (candidates or rule.patterns):
        return None
    if not rule.patterns:
        return [f"{_describe_turn(rule, candidates[0].turn)} is there"], candidates[0].turn.turn_index
    reasons: list[str] = []
    found: dict[int, Turn] = {}
    for key, patterns in rule.patterns.items():
        alternatives = [patterns] if key == "text_matches_any" else [[pattern] for pattern in patterns]
        firsts = [_find_first_match(any_of, candidates) for any_of in alternatives]
        matches = {turn.turn_index: turn for turn in firsts if turn is not None}
        if key == "text_matches_none":
            if matches:
                return None
            reasons.append(f"no turn{f' of speaker {rule.speaker}' if rule.speaker else ''} matches {key}")
        elif None in firsts:
            return None
        else:
            described = " and ".join(_describe_turn(rule, matches[index]) for index in sorted(matches))
            verb = "matches" if len(matches) == 1 else "match"
            reasons.append(f"{described} {verb}" if key == "text_matches" else f"{described} {verb} {key}")
            found |= matches
    return reasons, min(found, default=None)


def _find_first_match(patterns: Sequence[str], turns: Sequence[_NormalizedTurn]) -> Turn | None:
    searches = [compile_pattern(pattern).search for pattern in patterns]
    return next((item.turn for item in turns if any(search(item.text) for search in searches)), None)


def _describe_turn(rule: Rule, turn: Turn) -> str:
    unsure = ", who may be anyone" if rule.speaker is not None and turn.speaker == Speaker.UNKNOWN else ""
    return f"turn {turn.turn_index} of speaker {turn.speaker}{unsure}"
